//! One side of a join: where its columns are, when its rows are over, and which of them a row of the other side looks for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use tidegate_api::{Error, Result};
use tidegate_epoch::state::StateLayout;

use crate::error::from_datafusion;

/// A side of a join; also the port by which its rows come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Left,
    Right,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    pub(crate) fn port(self) -> usize {
        match self {
            Self::Left => 0,
            Self::Right => 1,
        }
    }

    pub(crate) fn of<T>(self, [left, right]: &[T; 2]) -> &T {
        match self {
            Self::Left => left,
            Self::Right => right,
        }
    }

    pub(crate) fn of_mut<T>(self, [left, right]: &mut [T; 2]) -> &mut T {
        match self {
            Self::Left => left,
            Self::Right => right,
        }
    }
}

/// When the rows of a side are over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Eviction {
    Never,
    /// When their key is: it has an event time, or a window.
    ByKey,
    /// When the watermark has passed their event time by this much: (microseconds to add to the watermark, strictly), the
    /// least of all.
    ByTime(Vec<(i64, bool)>),
}

impl Eviction {
    /// Rows at or before this are over, given the watermark (Spark: the state watermark). Milliseconds, as Spark counts.
    pub(crate) fn through(&self, watermark_us: Option<i64>) -> Option<i64> {
        let watermark_us = watermark_us?;
        match self {
            Self::Never => None,
            Self::ByKey => Some(watermark_us),
            Self::ByTime(bounds) => {
                let through = bounds.iter().map(|(shift_us, strict)| {
                    let ms = watermark_us.saturating_add(*shift_us).div_euclid(1000);
                    ms.saturating_sub(i64::from(!strict)).saturating_mul(1000)
                });
                through.min()
            }
        }
    }
}

impl fmt::Display for Eviction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = |us: i64| std::time::Duration::from_micros(us.unsigned_abs());
        match self {
            Self::Never => f.write_str("for ever"),
            Self::ByKey => f.write_str("until the watermark passes their key"),
            Self::ByTime(bounds) => match bounds.iter().map(|it| it.0).min().unwrap_or(0) {
                us if us > 0 => write!(f, "until {:?} before the watermark passes them", after(us)),
                us => write!(f, "until {:?} after the watermark passes them", after(us)),
            },
        }
    }
}

/// Which times of a side a row of the other looks for: from `from_us` to `to_us` behind its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Within {
    /// The time in rows of the other side's port.
    pub(crate) time: usize,
    pub(crate) from_us: Option<i64>,
    pub(crate) to_us: Option<i64>,
}

/// One side of a join as planned. Columns are those of its port: the query's first, then what is made of them.
pub(crate) struct SidePlan {
    /// How many are the query's.
    pub(crate) columns: usize,
    /// How many are kept in state.
    pub(crate) stored: usize,
    pub(crate) keys: Vec<usize>,
    /// By which time rows lie in the state.
    pub(crate) pane: Option<usize>,
    /// By which time rows are late.
    pub(crate) late: Option<usize>,
    /// What a row must fulfil by itself.
    pub(crate) only: Option<Arc<dyn PhysicalExpr>>,
    pub(crate) evicts: Eviction,
    pub(crate) looked_for: Option<Within>,
    /// The state says of each row whether it has met one.
    pub(crate) has_flag: bool,
}

impl SidePlan {
    /// The state of this side: its columns, a number for each row, and whether it has met one.
    pub(super) fn layout(&self, operator: &str, port: &SchemaRef) -> Result<StateLayout> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut fields: Vec<Field> = Vec::with_capacity(self.stored + 2);
        for field in port.fields().iter().take(self.stored) {
            // A join of joins may have a name twice.
            let times = seen.entry(field.name().clone()).or_default();
            *times += 1;
            let name = if *times == 1 { field.name().clone() } else { format!("{}_{times}", field.name()) };
            fields.push(Field::new(name, field.data_type().clone(), true));
        }
        if fields.len() != self.stored {
            return Err(Error::internal(format!("a join's input has {} columns of {}", fields.len(), self.stored)));
        }
        fields.push(Field::new("__row", DataType::Int64, false));
        if self.has_flag {
            fields.push(Field::new("__met", DataType::Boolean, false));
        }
        let columns: Vec<_> = fields.iter().map(|it| format!("{}: {}", it.name(), it.data_type())).collect();
        let layout = format!("join/1 keys {:?} time {:?}; {}", self.keys, self.pane, columns.join(", "));
        Ok(StateLayout {
            operator: operator.into(),
            layout: layout.into(),
            schema: Arc::new(Schema::new(fields)),
            key_columns: self.keys.clone(),
            pane_column: self.pane,
            row_column: Some(self.stored),
        })
    }

    /// The state's column that says whether a row has met one.
    pub(super) fn flag(&self) -> usize {
        self.stored + 1
    }

    /// The query's columns.
    pub(super) fn own(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        rows.columns().iter().take(self.columns).cloned().collect()
    }

    pub(super) fn key_columns(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.keys.iter().filter_map(|it| rows.columns().get(*it).cloned()).collect()
    }

    /// Which rows fulfil what they must by themselves; none: all.
    pub(super) fn passes(&self, rows: &RecordBatch) -> Result<Option<BooleanArray>> {
        self.only.as_ref().map(|it| holds(it, rows)).transpose()
    }

    /// Which rows have all keys that may not be null; none: all.
    pub(super) fn with_keys(&self, rows: &RecordBatch, null_safe: &[bool]) -> Option<BooleanArray> {
        let keys = self.keys.iter().zip(null_safe).filter(|it| !it.1);
        let nulls: Vec<_> = keys.filter_map(|(at, _)| rows.columns().get(*at)?.logical_nulls()).collect();
        let valid =
            nulls.iter().filter(|it| it.null_count() > 0).map(|it| it.inner().clone()).reduce(|a, b| &a & &b)?;
        Some(BooleanArray::new(valid, None))
    }

    /// Which rows are over at the watermark; none: it evicts nothing.
    pub(super) fn over(&self, rows: &RecordBatch, watermark_us: Option<i64>) -> Option<BooleanArray> {
        let through_us = self.evicts.through(watermark_us)?;
        let times = times(rows, self.pane?)?;
        Some(times.iter().map(|it| Some(it.is_some_and(|time| time <= through_us))).collect())
    }

    /// From which to which time of this side rows of the other look.
    pub(super) fn within(&self, other: &RecordBatch) -> Result<Option<(Int64Array, Int64Array)>> {
        let Some(within) = self.looked_for else { return Ok(None) };
        let times = times(other, within.time).ok_or_else(|| Error::internal("a join's time is no TIMESTAMP"))?;
        let shifted = |by: Option<i64>, open: i64| -> Int64Array {
            times.iter().map(|time| time.map(|it| by.map_or(open, |by| it.saturating_add(by)))).collect()
        };
        Ok(Some((shifted(within.from_us, i64::MIN), shifted(within.to_us, i64::MAX))))
    }
}

/// Where a condition is true.
pub(super) fn holds(condition: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Result<BooleanArray> {
    let value = condition.evaluate(rows).and_then(|it| it.into_array(rows.num_rows())).map_err(from_datafusion)?;
    let value = value.as_boolean_opt().ok_or_else(|| Error::internal("a join's condition is no BOOLEAN"))?;
    let held = match value.nulls() {
        Some(nulls) => value.values() & nulls.inner(),
        None => value.values().clone(),
    };
    Ok(BooleanArray::new(held, None))
}

fn times(rows: &RecordBatch, column: usize) -> Option<&TimestampMicrosecondArray> {
    rows.columns().get(column)?.as_primitive_opt::<TimestampMicrosecondType>()
}
