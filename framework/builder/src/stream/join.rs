//! Joins of streams with streams and with static tables.

use std::fmt;

use super::{Rows, Stream};
use crate::lineage::{Sql, quoted};

/// Which rows a join gives; which of them are possible between two streams, and in which output mode, is in
/// `docs/semantics.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JoinType {
    /// Pairs that match.
    #[default]
    Inner,
    /// And left rows without a match.
    LeftOuter,
    /// And right rows without a match.
    RightOuter,
    /// And rows of both sides without a match.
    FullOuter,
    /// Left rows that have a match, each once.
    LeftSemi,
    /// Left rows that have none.
    LeftAnti,
    /// Right rows that have a match, each once.
    RightSemi,
    /// Right rows that have none.
    RightAnti,
}

impl fmt::Display for JoinType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inner => "INNER JOIN",
            Self::LeftOuter => "LEFT JOIN",
            Self::RightOuter => "RIGHT JOIN",
            Self::FullOuter => "FULL JOIN",
            Self::LeftSemi => "LEFT SEMI JOIN",
            Self::LeftAnti => "LEFT ANTI JOIN",
            Self::RightSemi => "RIGHT SEMI JOIN",
            Self::RightAnti => "RIGHT ANTI JOIN",
        })
    }
}

impl Stream {
    /// Joins on a condition, whose columns are qualified with the aliases: `l.id = r.id AND r.ts >= l.ts` (Spark: `join`).
    /// They stay valid in the steps up to the next one that makes columns; if two columns bear one name, that must be a
    /// `select`, an aggregate, or another join.
    #[must_use]
    pub fn join(&self, other: &Self, join_type: JoinType, condition: &str) -> Self {
        self.joined(other, &join_type.to_string(), &format!(" ON {condition}"))
    }

    /// Joins on columns that both have; the result has each once.
    #[must_use]
    pub fn join_using<C: AsRef<str>>(
        &self,
        other: &Self,
        join_type: JoinType,
        columns: impl IntoIterator<Item = C>,
    ) -> Self {
        let columns: Vec<_> = columns.into_iter().map(|it| quoted(it.as_ref())).collect();
        self.joined(other, &join_type.to_string(), &format!(" USING ({})", columns.join(", ")))
    }

    /// Each row with each row of a static table.
    #[must_use]
    pub fn cross_join(&self, other: &Self) -> Self {
        self.joined(other, "CROSS JOIN", "")
    }

    fn joined(&self, other: &Self, operator: &str, constraint: &str) -> Self {
        let other = other.closed();
        let right = match &other.rows {
            Rows::Table { .. } => other.factor(),
            Rows::Joined { .. } => Sql::text("(").and(other.factor()).then(")"),
        };
        let from = self.closed().factor().then(format!(" {operator} ")).and(right).then(constraint);
        Self { session: self.session.clone(), rows: Rows::Joined { from, conditions: Vec::new() } }
    }

    /// What a condition has been put on is a table of its own below a further join.
    fn closed(&self) -> Self {
        match &self.rows {
            Rows::Joined { conditions, .. } if !conditions.is_empty() => {
                Self::table(self.session.clone(), self.lineage(), None)
            }
            _ => self.clone(),
        }
    }
}
