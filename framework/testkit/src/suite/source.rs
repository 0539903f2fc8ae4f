//! What every source must do.

use std::collections::BTreeMap;
use std::future::Future;

use arrow_array::RecordBatch;
use futures::TryStreamExt;
use tidegate_api::{
    DynSource, Error, ErrorKind, FieldPath, OffsetJson, OffsetRange, PartitionId, ReadLimit, Replay, Result,
    ScanRequest,
};

use super::rows::concat;
use super::{ensure, found};

/// What the suite must know of a source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceSuite {
    /// Rows by which an epoch may pass `max_rows`, since the source counts in larger units (a file, a partition's
    /// share).
    pub slack_rows: u64,
}

/// Checks a source: `make` gives a new one over the same data, of which there must be some.
///
/// The same range gives the same rows, from another instance too; splits cover the range in order; `plan` keeps the limit
/// and gets to the end; offsets survive their text; a projection gives the same values.
///
/// # Errors
/// `Internal`, saying what was found; or as the source.
pub async fn source_suite<F, S>(suite: SourceSuite, make: F) -> Result<()>
where
    F: Fn() -> S,
    S: Future<Output = Result<Box<dyn DynSource>>>,
{
    let mut source = make().await?;
    let all = scan_of(source.as_ref(), |names| names);
    bind(source.as_mut(), &all)?;
    let start = source.initial_offset().await?;
    let planned = source.plan(&start, &ReadLimit::NONE).await?;
    ensure!(planned.end != start, "the suite needs a source with rows: it starts at {start} and ends there");
    ensure!(planned.schema.is_none(), "plan tells of a new schema though bind has just told it");
    let range = OffsetRange { start: start.clone(), end: planned.end.clone() };
    let whole = read(source.as_ref(), &range, 1).await?;
    let rows = count(&whole);
    ensure!(rows > 0, "the suite needs a source with rows: {start} to {} has none", planned.end);
    ensure!(planned.rows.is_none_or(|it| it == rows), "plan says {:?} rows, {rows} came", planned.rows);
    let again = source.plan(&planned.end, &ReadLimit::NONE).await?;
    ensure!(again.end == planned.end, "plan moves from {} to {} without new data", planned.end, again.end);
    ensure!(!source.describe().is_empty(), "describe says nothing");

    replays(&make, &all, &range, &whole).await?;
    splits(source.as_ref(), &range, &whole).await?;
    limits(source.as_mut(), &range, &whole, suite.slack_rows).await?;
    let mut frozen = make().await?;
    bind(frozen.as_mut(), &all)?;
    let end = frozen.freeze(&start).await?;
    let planned = frozen.plan(&start, &ReadLimit::NONE).await?.end;
    ensure!(planned == end, "frozen at {end}, plan without a limit gives {planned}");
    projects(&make, &range, &whole).await
}

type ByPartition = BTreeMap<PartitionId, RecordBatch>;

fn count(rows: &ByPartition) -> u64 {
    rows.values().map(|it| it.num_rows() as u64).sum()
}

/// Asks for the columns that `choose` picks.
fn scan_of(source: &dyn DynSource, choose: impl Fn(Vec<String>) -> Vec<String>) -> ScanRequest {
    let names = source.payload().schema().fields().iter().map(|it| it.name().clone()).collect();
    let projection = choose(names).into_iter().map(FieldPath::column).collect();
    ScanRequest { projection, filters: Vec::new(), batch_rows: 8192 }
}

fn bind(source: &mut dyn DynSource, scan: &ScanRequest) -> Result<arrow_schema::SchemaRef> {
    let bound = source.bind(scan)?;
    ensure!(bound.filters_taken.is_empty(), "bind takes {} filters, none were given", bound.filters_taken.len());
    Ok(bound.schema)
}

/// The rows of a range, by partition, in order.
async fn read(source: &dyn DynSource, range: &OffsetRange<OffsetJson>, max: usize) -> Result<ByPartition> {
    let splits = source.splits(range.clone(), max)?;
    let partitions: Vec<_> = splits.iter().map(|it| it.partition.clone()).collect();
    ensure!(partitions.is_sorted(), "splits are not ordered by partition: {partitions:?}");
    let mut distinct = partitions.clone();
    distinct.dedup();
    let most = max.max(distinct.len());
    ensure!(splits.len() <= most, "{} splits of {} partitions, at most {most} asked for", splits.len(), distinct.len());
    let mut rows: BTreeMap<PartitionId, Vec<RecordBatch>> = BTreeMap::new();
    for split in splits {
        let batches: Vec<RecordBatch> = source.read(split.clone()).await?.try_collect().await?;
        rows.entry(split.partition).or_default().extend(batches);
    }
    let mut joined = ByPartition::new();
    for (partition, batches) in rows {
        let Some(first) = batches.first() else { continue };
        joined.insert(partition, concat(&first.schema(), &batches)?);
    }
    joined.retain(|_, rows| rows.num_rows() > 0);
    Ok(joined)
}

async fn replays<F, S>(make: &F, all: &ScanRequest, range: &OffsetRange<OffsetJson>, whole: &ByPartition) -> Result<()>
where
    F: Fn() -> S,
    S: Future<Output = Result<Box<dyn DynSource>>>,
{
    let mut other = make().await?;
    if other.replay() == Replay::None {
        return Ok(());
    }
    let schema = bind(other.as_mut(), all)?;
    // As from the checkpoint: through text.
    let reread = |offset: &OffsetJson| -> Result<OffsetJson> {
        let text = offset.to_string();
        serde_json::from_str(&text).map_err(|e| found(format!("offset {text} does not read back")).because(e))
    };
    let range = OffsetRange { start: reread(&range.start)?, end: reread(&range.end)? };
    for _ in 0..2 {
        let rows = read(other.as_ref(), &range, 1).await?;
        ensure!(rows == *whole, "{} to {} gives other rows to another instance", range.start, range.end);
    }
    let end = other.plan(&range.end, &ReadLimit::NONE).await?.end;
    ensure!(end == range.end, "another instance plans from {} to {end} without new data", range.end);
    let named = whole.values().all(|it| it.schema() == schema);
    ensure!(named, "the rows have other columns than bind told: {schema}");
    Ok(())
}

async fn splits(source: &dyn DynSource, range: &OffsetRange<OffsetJson>, whole: &ByPartition) -> Result<()> {
    for max in [2, 3, 8, 1000] {
        let rows = read(source, range, max).await?;
        ensure!(rows == *whole, "at most {max} splits do not give the rows of the range in order");
    }
    let empty = OffsetRange { start: range.end.clone(), end: range.end.clone() };
    let rows = count(&read(source, &empty, 4).await?);
    ensure!(rows == 0, "an empty range has {rows} rows");
    Ok(())
}

async fn limits(
    source: &mut dyn DynSource,
    range: &OffsetRange<OffsetJson>,
    whole: &ByPartition,
    slack: u64,
) -> Result<()> {
    let all = count(whole);
    for max_rows in [1, 2, all / 2, all.saturating_sub(1), all + 1] {
        let limit = ReadLimit { max_rows: Some(max_rows.max(1)), ..ReadLimit::NONE };
        let most = max_rows.max(1) + slack;
        let mut at = range.start.clone();
        let mut parts: BTreeMap<PartitionId, Vec<RecordBatch>> = BTreeMap::new();
        for step in 0.. {
            let planned = source.plan(&at, &limit).await?;
            if planned.end == at {
                break;
            }
            ensure!(step < all.saturating_add(1000), "a limit of {max_rows} rows never gets to the end");
            let rows = read(source, &OffsetRange { start: at, end: planned.end.clone() }, 2).await?;
            ensure!(count(&rows) <= most, "a limit of {max_rows} rows gives an epoch of {}", count(&rows));
            rows.into_iter().for_each(|(partition, rows)| parts.entry(partition).or_default().push(rows));
            at = planned.end;
        }
        ensure!(at == range.end, "a limit of {max_rows} rows ends at {at}, no limit at {}", range.end);
        for (partition, rows) in whole {
            let parts = parts.get(partition).map_or(&[][..], Vec::as_slice);
            let same = concat(&rows.schema(), parts)? == *rows;
            ensure!(same, "epochs of {max_rows} rows do not make up the rows of partition {partition:?}");
        }
    }
    Ok(())
}

async fn projects<F, S>(make: &F, range: &OffsetRange<OffsetJson>, whole: &ByPartition) -> Result<()>
where
    F: Fn() -> S,
    S: Future<Output = Result<Box<dyn DynSource>>>,
{
    let columns = make().await?.payload().schema().fields().len();
    for at in 0..columns {
        let mut source = make().await?;
        let scan = scan_of(source.as_ref(), |names| names.into_iter().rev().skip(at).collect());
        let schema = bind(source.as_mut(), &scan)?;
        if source.replay() == Replay::None {
            return Ok(());
        }
        for path in &scan.projection {
            let name = path.0.first().cloned().unwrap_or_default();
            ensure!(schema.index_of(&name).is_ok(), "column '{name}' was asked for, bind delivers {schema}");
        }
        let rows = read(source.as_ref(), range, 1).await?;
        for (partition, full) in whole {
            let some = rows.get(partition).ok_or_else(|| found("a projection loses a partition"))?;
            ensure!(some.schema() == schema, "a projection's rows have other columns than bind told");
            let columns = schema.fields().iter().map(|it| it.name());
            let differs = columns.into_iter().find(|it| some.column_by_name(it) != full.column_by_name(it));
            ensure!(differs.is_none(), "column '{}' has other values when projected", differs.map_or("", |it| it));
        }
    }
    let mut source = make().await?;
    let wrong = scan_of(source.as_ref(), |_| vec!["no such column".to_owned()]);
    let kind = source.bind(&wrong).err().as_ref().map(Error::kind);
    ensure!(
        kind.is_none_or(|it| it == ErrorKind::Config),
        "a column that does not exist is an error of kind {kind:?}, expected Config"
    );
    Ok(())
}
