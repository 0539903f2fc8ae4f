//! Groups of rows and what is computed over each.

use super::Stream;
use crate::lineage::{Sql, Step};

/// A stream in groups of equal keys (Spark: `RelationalGroupedDataset`).
#[derive(Clone, Debug)]
#[must_use = "groups alone are no rows: aggregate them"]
pub struct Grouped {
    pub(super) stream: Stream,
    pub(super) keys: Vec<String>,
}

impl Stream {
    /// Groups by these expressions, windows among them; none: one group of all rows (Spark: `groupBy`).
    pub fn group_by<E: AsRef<str>>(&self, keys: impl IntoIterator<Item = E>) -> Grouped {
        let keys = keys.into_iter().map(|it| it.as_ref().to_owned()).collect();
        Grouped { stream: self.clone(), keys }
    }

    /// Aggregates over all rows (Spark: `agg`).
    #[must_use]
    pub fn agg<E: AsRef<str>>(&self, aggregates: impl IntoIterator<Item = E>) -> Self {
        self.group_by::<&str>([]).agg(aggregates)
    }
}

impl Grouped {
    /// A row a group: its keys, then these aggregates: `count(*) AS n`, `max(price)`.
    #[must_use]
    pub fn agg<E: AsRef<str>>(&self, aggregates: impl IntoIterator<Item = E>) -> Stream {
        let columns =
            super::listed(self.keys.iter().cloned().chain(aggregates.into_iter().map(|it| it.as_ref().into())));
        let sql = Sql::text(format!("SELECT {columns} ")).and(self.stream.from());
        // By position: a key may bring an alias along.
        let positions: Vec<_> = (1..=self.keys.len()).map(|it| it.to_string()).collect();
        let sql = if positions.is_empty() { sql } else { sql.then(format!(" GROUP BY {}", positions.join(", "))) };
        self.stream.made(Step::new("aggregate", sql), false)
    }

    /// A row a group: its keys, and the number of its rows as `count`.
    #[must_use]
    pub fn count(&self) -> Stream {
        self.agg(["count(*) AS \"count\""])
    }
}
