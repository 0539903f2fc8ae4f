//! `Stream`: rows to come, and what can be made of them (Spark: a streaming `DataFrame`).

mod group;
mod join;
mod process;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use tidegate_api::Result;
use tidegate_engine::{DeduplicateSpec, WatermarkSpec};

use crate::lineage::{Lineage, Sql, Step, Tables, quoted};
use crate::session::{Session, refused};
use crate::write::StreamWriter;

pub use group::Grouped;
pub use join::JoinType;

/// The rows of a source, or what is made of them. Nothing is computed before a query over it starts; what is wrong with a
/// step is said then, with its SQL.
///
/// Expressions are SQL texts, as in `selectExpr` of Spark. Columns may be qualified with the stream's alias, which at first
/// is the source's name.
#[derive(Clone, Debug)]
pub struct Stream {
    session: Session,
    rows: Rows,
}

#[derive(Clone, Debug)]
enum Rows {
    /// A step with the name that its columns may be qualified with.
    Table { lineage: Arc<Lineage>, alias: Option<String> },
    /// Joined tables: until a step closes them, columns may be qualified with the alias of either.
    Joined { from: Sql, conditions: Vec<String> },
}

impl Stream {
    pub(crate) fn table(session: Session, lineage: Arc<Lineage>, alias: Option<String>) -> Self {
        Self { session, rows: Rows::Table { lineage, alias } }
    }

    /// The same rows under another name (Spark: `alias`). Joins need it if both sides have columns of one name.
    #[must_use]
    pub fn alias(&self, name: &str) -> Self {
        let lineage = self.lineage();
        Self::table(self.session.clone(), lineage, Some(name.to_owned()))
    }

    /// These expressions: `page`, `upper(page) AS page` (Spark: `selectExpr`).
    #[must_use]
    pub fn select<E: AsRef<str>>(&self, expressions: impl IntoIterator<Item = E>) -> Self {
        self.step("select", Sql::text(format!("SELECT {} ", listed(expressions))).and(self.from()))
    }

    /// The rows for which the condition holds (Spark: `filter`, `where`).
    #[must_use]
    pub fn filter(&self, condition: &str) -> Self {
        match &self.rows {
            Rows::Table { .. } => self.step("filter", self.all().then(format!(" WHERE {condition}"))),
            Rows::Joined { from, conditions } => {
                let conditions = conditions.iter().cloned().chain([format!("({condition})")]).collect();
                Self { session: self.session.clone(), rows: Rows::Joined { from: from.clone(), conditions } }
            }
        }
    }

    /// All columns and one more, or one of them replaced (Spark: `withColumn`).
    #[must_use]
    pub fn with_column(&self, name: &str, expression: &str) -> Self {
        let column = format!("{expression} AS {}", quoted(name));
        // If the columns can't be told, the same reason stops the query.
        let known = self.schema().map(|it| it.fields().iter().map(|it| it.name().clone()).collect::<Vec<_>>());
        let same = |it: &String| it.to_lowercase() == name.to_lowercase();
        let columns = match known {
            Ok(known) if known.iter().any(same) => {
                let columns = known.iter().map(|it| if same(it) { column.clone() } else { quoted(it) });
                columns.collect::<Vec<_>>().join(", ")
            }
            _ => format!("*, {column}"),
        };
        self.step("column", Sql::text(format!("SELECT {columns} ")).and(self.from()))
    }

    /// No row older than `delay` behind the newest one is awaited (Spark: `withWatermark`).
    #[must_use]
    pub fn with_watermark(&self, column: &str, delay: &str) -> Self {
        let watermark = WatermarkSpec { column: column.to_owned(), delay: delay.to_owned(), idle_timeout: None };
        self.made(Step { watermark: Some(watermark), ..Step::new("watermark", self.all()) }, true)
    }

    /// The first row of each key; no columns: of each distinct row (Spark: `dropDuplicates`).
    #[must_use]
    pub fn drop_duplicates<C: AsRef<str>>(&self, columns: impl IntoIterator<Item = C>) -> Self {
        self.deduplicated(columns, false)
    }

    /// The same, but a key is new again when the watermark has passed its first time plus the delay (Spark:
    /// `dropDuplicatesWithinWatermark`).
    #[must_use]
    pub fn drop_duplicates_within_watermark<C: AsRef<str>>(&self, columns: impl IntoIterator<Item = C>) -> Self {
        self.deduplicated(columns, true)
    }

    fn deduplicated<C: AsRef<str>>(&self, columns: impl IntoIterator<Item = C>, within_watermark: bool) -> Self {
        let mut columns: Vec<_> = columns.into_iter().map(|it| it.as_ref().to_owned()).collect();
        if columns.is_empty()
            && let Ok(schema) = self.schema()
        {
            columns = schema.fields().iter().map(|it| it.name().clone()).collect();
        }
        let deduplicate = Some(DeduplicateSpec { columns, within_watermark });
        self.made(Step { deduplicate, ..Step::new("deduplicate", self.all()) }, true)
    }

    /// The rows of both, columns by position (Spark: `union`).
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let step = Step::new("union", self.all().then(" UNION ALL ").and(other.all()));
        self.made(step, false)
    }

    /// The first rows of the query's whole life (Spark: `limit`).
    #[must_use]
    pub fn limit(&self, rows: u64) -> Self {
        self.step("limit", self.all().then(format!(" LIMIT {rows}")))
    }

    /// Sorted by these expressions: `n DESC`. Of a stream only a complete result can be sorted, and as the last step.
    #[must_use]
    pub fn order_by<E: AsRef<str>>(&self, expressions: impl IntoIterator<Item = E>) -> Self {
        self.step("sort", self.all().then(format!(" ORDER BY {}", listed(expressions))))
    }

    /// The columns; touches nothing outside.
    ///
    /// # Errors
    /// `Config` with all that is wrong up to here.
    pub fn schema(&self) -> Result<SchemaRef> {
        let mut tables = Tables::default();
        let name = tables.add(&self.lineage());
        tidegate_engine::columns(&tables.sources, &tables.views, &name, self.session.registry())
            .map_err(|problems| refused(&problems, &tables))
    }

    /// Where the rows go (Spark: `writeStream`).
    pub fn write_stream(&self) -> StreamWriter {
        StreamWriter::new(self.session.clone(), Some(self.lineage()))
    }

    /// The rows as a table of their own.
    pub(crate) fn lineage(&self) -> Arc<Lineage> {
        match &self.rows {
            Rows::Table { lineage, .. } => lineage.clone(),
            Rows::Joined { .. } => Arc::new(Lineage::Step(Step::new("join", self.all()))),
        }
    }

    /// `SELECT * FROM …`, to be followed by nothing that binds closer than a set operation.
    fn all(&self) -> Sql {
        Sql::text("SELECT * ").and(self.from())
    }

    /// `FROM … [WHERE …]`.
    fn from(&self) -> Sql {
        let from = Sql::text("FROM ").and(self.factor());
        match &self.rows {
            Rows::Joined { conditions, .. } if !conditions.is_empty() => {
                from.then(format!(" WHERE {}", conditions.join(" AND ")))
            }
            _ => from,
        }
    }

    /// The tables of the FROM clause.
    fn factor(&self) -> Sql {
        match &self.rows {
            Rows::Table { lineage, alias } => {
                let table = Sql::table(lineage);
                alias.as_ref().map_or_else(|| table.clone(), |it| table.clone().then(format!(" AS {}", quoted(it))))
            }
            Rows::Joined { from, .. } => from.clone(),
        }
    }

    /// A step over these rows, under the same alias.
    fn step(&self, does: &'static str, sql: Sql) -> Self {
        self.made(Step::new(does, sql), true)
    }

    fn made(&self, step: Step, keeps_alias: bool) -> Self {
        let alias = match &self.rows {
            Rows::Table { alias, .. } if keeps_alias => alias.clone(),
            _ => None,
        };
        Self::table(self.session.clone(), Arc::new(Lineage::Step(step)), alias)
    }
}

fn listed<E: AsRef<str>>(expressions: impl IntoIterator<Item = E>) -> String {
    expressions.into_iter().map(|it| it.as_ref().to_owned()).collect::<Vec<_>>().join(", ")
}
