//! The columns of the two states of user code.
//!
//! ```text
//! values: keys…, variable, a column of values for each variable, one of keys for each map, until, row
//! timers: keys…, time, row
//! ```
//! A row of `values` is a value, an element of a list or an entry of a map; of the columns of variables only its own is not
//! null. Variables are numbered by name, so that the order in which they are declared does not matter.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use tidegate_epoch::state::StateLayout;
use tidegate_sql::event_time::timestamp;

use crate::user::{Kind, Variable};

/// Where things are in a row of `values`.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    /// How many keys there are; the number of the variable follows.
    pub(super) keys: usize,
    /// By variable, in the order of declaration: its number in the state.
    pub(super) numbers: Vec<usize>,
    /// By variable: its column.
    pub(super) values: Vec<usize>,
    /// By variable: the column of its keys, if it is a map.
    pub(super) map_keys: Vec<Option<usize>>,
    pub(super) until: usize,
    pub(super) row: usize,
}

impl Columns {
    pub(super) fn new(keys: usize, variables: &[Variable]) -> Self {
        let order = by_name(variables);
        let number = |at: usize| order.iter().position(|it| *it == at).unwrap_or_default();
        let numbers: Vec<usize> = (0..variables.len()).map(number).collect();
        let values: Vec<usize> = numbers.iter().map(|it| keys + 1 + it).collect();
        let mut next = keys + 1 + variables.len();
        let mut map_keys = vec![None; variables.len()];
        for at in order {
            let is_map = variables.get(at).is_some_and(|it| matches!(it.kind, Kind::Map(_)));
            if let Some(column) = map_keys.get_mut(at).filter(|_| is_map) {
                *column = Some(next);
                next += 1;
            }
        }
        Self { keys, numbers, values, map_keys, until: next, row: next + 1 }
    }
}

/// Variables by name.
fn by_name(variables: &[Variable]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..variables.len()).collect();
    order.sort_by_key(|at| variables.get(*at).map(|it| it.name.clone()));
    order
}

/// The layout of `values`.
pub(super) fn values(name: Arc<str>, keys: &SchemaRef, variables: &[Variable], operation: &str) -> StateLayout {
    let order: Vec<&Variable> = by_name(variables).into_iter().filter_map(|at| variables.get(at)).collect();
    let mut fields = key_fields(keys);
    fields.push(Field::new("__variable", DataType::Int32, false));
    fields.extend(order.iter().map(|it| Field::new(&it.name, it.data_type.clone(), true)));
    fields.extend(order.iter().filter_map(|it| match &it.kind {
        Kind::Map(key) => Some(Field::new(format!("{} key", it.name), key.clone(), true)),
        Kind::Value | Kind::List => None,
    }));
    fields.push(Field::new("__until", timestamp(), true));
    fields.push(Field::new("__row", DataType::Int64, false));
    let described: Vec<_> = order.iter().map(|it| it.describe()).collect();
    let described = if described.is_empty() { "nothing".to_owned() } else { described.join(", ") };
    let layout = format!("user-state/1 {operation} by {}: {described}", described_keys(keys));
    several(name, layout, fields, keys.fields().len())
}

/// The layout of `timers`.
pub(super) fn timers(name: &str, keys: &SchemaRef, by: &str) -> StateLayout {
    let mut fields = key_fields(keys);
    fields.push(Field::new("__time", timestamp(), false));
    fields.push(Field::new("__row", DataType::Int64, false));
    let layout = format!("user-timers/1 by {}: {by}", described_keys(keys));
    several(format!("{name}-timers").into(), layout, fields, keys.fields().len())
}

/// A state of several rows a key, whose last columns are their time and their number.
fn several(operator: Arc<str>, layout: String, fields: Vec<Field>, keys: usize) -> StateLayout {
    StateLayout {
        operator,
        layout: layout.into(),
        key_columns: (0..keys).collect(),
        pane_column: fields.len().checked_sub(2),
        row_column: fields.len().checked_sub(1),
        schema: Arc::new(Schema::new(fields)),
    }
}

fn key_fields(keys: &SchemaRef) -> Vec<Field> {
    keys.fields().iter().map(|it| Field::new(it.name(), it.data_type().clone(), true)).collect()
}

fn described_keys(keys: &SchemaRef) -> String {
    let keys: Vec<_> = keys.fields().iter().map(|it| format!("{}: {}", it.name(), it.data_type())).collect();
    keys.join(", ")
}
