//! `Scan`: reads a table by ranges of tokens, several side by side, each page by page.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arrow_array::RecordBatch;
use futures::{StreamExt, stream};
use scylla::client::session::Session;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::statement::Statement;
use scylla::statement::prepared::PreparedStatement;
use tidegate_api::{BatchStream, Error, FieldPath, MemoryBudget, Result, SchemaRef};

use super::columns::TableColumns;
use super::ranges::{TokenRange, ranges};
use crate::session::{failed, unprepared};

/// How much is read at once.
#[derive(Clone)]
pub(crate) struct ScanLimits {
    /// Rows of a page.
    pub(crate) page_rows: NonZeroU32,
    /// Rows that a range is to have.
    pub(crate) split_rows: NonZeroU32,
    /// Ranges read side by side.
    pub(crate) in_flight: NonZeroU32,
    pub(crate) memory: MemoryBudget,
}

/// Reads a table.
pub(crate) struct Scan {
    session: Arc<Session>,
    columns: TableColumns,
    limits: ScanLimits,
    statement: OnceLock<PreparedStatement>,
    /// The rows of the last whole reading, which tell how many ranges the next one takes.
    rows: Arc<OnceLock<AtomicU64>>,
}

impl Scan {
    pub(crate) fn new(session: Session, columns: TableColumns, limits: ScanLimits) -> Self {
        Self { session: Arc::new(session), columns, limits, statement: OnceLock::new(), rows: Arc::default() }
    }

    /// The same, of these columns alone.
    ///
    /// # Errors
    /// `Config` if one is not there.
    pub(crate) fn narrowed(&self, wanted: &[FieldPath]) -> Result<Self> {
        let columns = self.columns.narrowed(wanted)?;
        let (session, limits, rows) = (self.session.clone(), self.limits.clone(), self.rows.clone());
        Ok(Self { session, columns, limits, statement: OnceLock::new(), rows })
    }

    /// The columns of each batch.
    pub(crate) fn schema(&self) -> SchemaRef {
        self.columns.schema.clone()
    }

    /// Keyspace and table.
    pub(crate) fn name(&self) -> &str {
        &self.columns.name
    }

    /// All rows, those of different ranges in no order.
    ///
    /// # Errors
    /// `Transient` if the cluster is away, `Config` if the table is gone; the stream's items fail alike.
    pub(crate) async fn read(scan: Arc<Self>) -> Result<BatchStream> {
        scan.prepare().await?;
        let in_flight = usize::try_from(scan.limits.in_flight.get()).unwrap_or(usize::MAX);
        let all = scan.ranges();
        let seen = Arc::new(AtomicU64::new(0));
        let pages = stream::iter(all).map({
            let scan = scan.clone();
            move |range| pages(scan.clone(), range)
        });
        let counted = pages.flatten_unordered(in_flight).inspect({
            let seen = seen.clone();
            move |page| {
                let rows = page.as_ref().map_or(0, RecordBatch::num_rows);
                seen.fetch_add(rows as u64, Ordering::Relaxed);
            }
        });
        // Comes after the last page, and is no page: a reading that is broken off tells nothing.
        let end = stream::once(async move { scan.note(seen.load(Ordering::Relaxed)) });
        Ok(counted.map(Some).chain(end.map(|()| None)).filter_map(std::future::ready).boxed())
    }

    fn note(&self, rows: u64) {
        self.rows.get_or_init(AtomicU64::default).store(rows, Ordering::Relaxed);
    }

    /// As many as the rows of the last reading call for; if there was none, as many as are read side by side.
    fn ranges(&self) -> Vec<TokenRange> {
        let of_rows = |rows: u64| rows.div_ceil(u64::from(self.limits.split_rows.get()));
        let last = self.rows.get().map(|it| of_rows(it.load(Ordering::Relaxed)));
        ranges(last.unwrap_or_else(|| u64::from(self.limits.in_flight.get())))
    }

    async fn prepare(&self) -> Result<()> {
        if self.statement.get().is_some() {
            return Ok(());
        }
        let mut statement = Statement::new(self.columns.statement());
        statement.set_is_idempotent(true);
        statement.set_page_size(i32::try_from(self.limits.page_rows.get()).unwrap_or(i32::MAX));
        let prepared = Box::pin(self.session.prepare(statement)).await.map_err(|e| self.about(unprepared(e)))?;
        // Another reading may have been faster: both are the same.
        let _ = self.statement.set(prepared);
        Ok(())
    }

    /// A page, and where the next one begins, if there is one.
    async fn page(&self, range: TokenRange, from: PagingState) -> Result<(RecordBatch, Option<PagingState>)> {
        let statement = self.statement.get().ok_or_else(|| Error::internal("a table is read before it is prepared"))?;
        let answer = self.session.execute_single_page(statement, (range.after, range.through), from);
        let (page, next) = Box::pin(answer).await.map_err(|e| self.about(failed(e)))?;
        let wrong = |e: String| Error::internal(format!("a page of table {}: {e}", self.name()));
        let page = page.into_rows_result().map_err(|e| wrong(e.to_string()))?;
        let bytes = page.rows_bytes_size() as u64;
        let _held = self.limits.memory.try_reserve(bytes).ok_or_else(|| self.too_large(bytes))?;
        let next = match next {
            PagingStateResponse::HasMorePages { state } => Some(state),
            PagingStateResponse::NoMorePages => None,
        };
        Ok((self.columns.batch(&page)?, next))
    }

    fn about(&self, error: Error) -> Error {
        error.within(format_args!("table {}", self.name()))
    }

    fn too_large(&self, bytes: u64) -> Error {
        let (name, rows) = (self.name(), self.limits.page_rows);
        let limit = self.limits.memory.limit();
        let text = format!("a page of {rows} rows of table {name} has {bytes} bytes, and the query has {limit} in all");
        Error::config(format!("{text}: set page.rows to less"))
    }
}

/// The pages of a range that have rows, one after the other.
fn pages(scan: Arc<Scan>, range: TokenRange) -> BatchStream {
    let next = move |from: Option<PagingState>| {
        let scan = scan.clone();
        async move {
            let Some(from) = from else { return Ok::<_, Error>(None) };
            Ok(Some(scan.page(range, from).await?))
        }
    };
    let pages = stream::try_unfold(Some(PagingState::start()), next);
    pages.filter(|it| std::future::ready(it.as_ref().map_or(true, |it| it.num_rows() > 0))).boxed()
}
