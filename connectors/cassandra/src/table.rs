//! `TablePlan`: which columns of the rows go where in the table; what is refused once the table is known.

use std::time::Duration;

use arrow_schema::{DataType, Schema};
use scylla::client::session::Session;
use scylla::cluster::metadata::{CollectionType, ColumnKind, ColumnType, NativeType, Table};
use tidegate_api::{Error, Result};

use crate::codec::{Codec, codec, cql_name, plain};
use crate::config::{CassandraConfig, Delivery};
use crate::statements::quoted;

/// The table as a query writes it.
#[derive(Debug)]
pub(crate) struct TablePlan {
    /// Names as the cluster has them.
    pub(crate) keyspace: String,
    pub(crate) table: String,
    /// The primary key, in its order.
    pub(crate) keys: Vec<Column>,
    /// How many of them make the partition key.
    pub(crate) partition_keys: usize,
    /// The other columns that are written.
    pub(crate) values: Vec<Column>,
    /// The place of `delete.column` in the rows.
    pub(crate) delete: Option<usize>,
    /// A table of counters.
    pub(crate) counter: bool,
    /// How long rows live.
    pub(crate) ttl: Option<Duration>,
}

/// A column of the table that the rows have.
#[derive(Debug)]
pub(crate) struct Column {
    /// Its name in the table.
    pub(crate) name: String,
    /// Its place in the rows.
    pub(crate) field: usize,
    /// What the rows are cast to before.
    pub(crate) plain: DataType,
    pub(crate) codec: Codec,
    /// Whether `WRITETIME` can be asked of it.
    pub(crate) one_cell: bool,
}

impl TablePlan {
    /// Keyspace and table, for people.
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.keyspace, self.table)
    }

    /// Keyspace and table, for statements.
    pub(crate) fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.keyspace), quoted(&self.table))
    }
}

/// The name in `known` that `name` means: the same, or the only one that differs in case alone.
pub(crate) fn named<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let exact = known.clone().find(|it| *it == name);
    exact.or_else(|| {
        let mut like = known.filter(|it| it.eq_ignore_ascii_case(name));
        like.next().filter(|_| like.next().is_none())
    })
}

/// Names, sorted, for an error.
pub(crate) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A table of the cluster.
pub(crate) struct Found {
    /// Names as the cluster has them.
    pub(crate) keyspace: String,
    pub(crate) name: String,
    pub(crate) table: Table,
}

/// The table that these names mean.
///
/// # Errors
/// `Config`, naming those that are there.
pub(crate) fn find(session: &Session, keyspace: &str, table: &str) -> Result<Found> {
    let state = session.get_cluster_state();
    let keyspaces = state.keyspaces_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let known = named(keyspace, keyspaces.iter().copied());
    let Some((keyspace, found)) = known.and_then(|it| Some((it, state.get_keyspace(it)?))) else {
        let own = keyspaces.into_iter().filter(|it| !it.starts_with("system"));
        return Err(Error::config(format!("there is no keyspace '{keyspace}', only {}", listed(own))));
    };
    let tables = found.tables.keys().map(String::as_str);
    let known = named(table, tables.clone()).and_then(|it| Some((it, found.tables.get(it)?)));
    let Some((name, table)) = known else {
        return Err(Error::config(format!("keyspace {keyspace} has no table '{table}', only {}", listed(tables))));
    };
    Ok(Found { keyspace: keyspace.to_owned(), name: name.to_owned(), table: table.clone() })
}

/// Where rows of `schema` go in `table`, whose rows live for `ttl` if nothing else is said.
///
/// # Errors
/// `Config`, naming all that does not fit.
pub(crate) fn plan(
    config: &CassandraConfig,
    schema: &Schema,
    (keyspace, name, table): (&str, &str, &Table),
    ttl: Option<Duration>,
) -> Result<TablePlan> {
    let mut wrong = Vec::new();
    let mut plan = TablePlan {
        keyspace: keyspace.to_owned(),
        table: name.to_owned(),
        keys: Vec::new(),
        partition_keys: table.partition_key.len(),
        values: Vec::new(),
        delete: config.delete_column.as_deref().and_then(|it| field(schema, it)),
        counter: table.columns.values().any(|it| it.typ == ColumnType::Native(NativeType::Counter)),
        ttl: config.ttl.or(ttl),
    };
    let has = listed(table.columns.keys().map(String::as_str));
    for (at, of) in schema.fields().iter().enumerate().filter(|(at, _)| plan.delete != Some(*at)) {
        let Some(target) = named(of.name(), table.columns.keys().map(String::as_str)) else {
            wrong.push(format!("the table has no column '{}' of the rows; its columns are {has}", of.name()));
            continue;
        };
        let Some(column) = table.columns.get(target) else { continue };
        let as_plain = plain(of.data_type());
        let Some(codec) = codec(&as_plain, &column.typ) else {
            let (from, to) = (of.data_type(), cql_name(&column.typ));
            wrong.push(format!("column '{}' of the rows is {from}, which does not fit {to} of the table", of.name()));
            continue;
        };
        wrong.extend(unrepeatable(config, target, &column.typ, &column.kind));
        let one_cell = !matches!(
            column.typ,
            ColumnType::Collection { frozen: false, .. } | ColumnType::UserDefinedType { frozen: false, .. }
        );
        let column = Column { name: target.to_owned(), field: at, plain: as_plain, codec, one_cell };
        let is_key = table.partition_key.iter().chain(&table.clustering_key).any(|it| it == target);
        if is_key { plan.keys.push(column) } else { plan.values.push(column) }
    }
    sort_keys(&mut plan, table, schema, &mut wrong);
    wrong.extend(counter_problems(config, &plan));
    wrong.extend(doubles(&plan));
    if wrong.is_empty() { Ok(plan) } else { Err(Error::config(format!("table {}: {}", plan.name(), wrong.join("; ")))) }
}

/// The place of a column in the rows.
pub(crate) fn field(schema: &Schema, name: &str) -> Option<usize> {
    let found = named(name, schema.fields().iter().map(|it| it.name().as_str()))?;
    schema.index_of(found).ok()
}

/// What an epoch that is written twice would do to a column, if that is not what one write does.
fn unrepeatable(config: &CassandraConfig, name: &str, of: &ColumnType<'_>, kind: &ColumnKind) -> Option<String> {
    if config.delivery == Delivery::AtLeastOnce {
        return None;
    }
    let why = match of {
        ColumnType::Native(NativeType::Counter) => "is a counter, which a repeated epoch would count twice",
        ColumnType::Collection { frozen: false, typ: CollectionType::List(_) } => {
            "is a list that is not frozen, which a repeated epoch would double"
        }
        _ if *kind == ColumnKind::Static => "is static, which several keys of one epoch would write at one time",
        _ => return None,
    };
    Some(format!("column '{name}' {why}: refused unless delivery is at-least-once"))
}

/// Puts the keys into the table's order, and says which are missing.
fn sort_keys(plan: &mut TablePlan, table: &Table, schema: &Schema, wrong: &mut Vec<String>) {
    let order: Vec<_> = table.partition_key.iter().chain(&table.clustering_key).collect();
    let rows = listed(schema.fields().iter().map(|it| it.name().as_str()));
    for key in order.iter().filter(|key| plan.keys.iter().all(|it| it.name != ***key)) {
        if schema.fields().iter().all(|it| !it.name().eq_ignore_ascii_case(key)) {
            wrong.push(format!("'{key}' of its primary key is not among the columns of the rows, which are {rows}"));
        }
    }
    plan.keys.sort_by_key(|it| order.iter().position(|key| **key == it.name));
}

fn counter_problems(config: &CassandraConfig, plan: &TablePlan) -> Vec<String> {
    let mut wrong = Vec::new();
    if plan.counter && config.ttl.is_some() {
        wrong.push("is a counter table, whose rows can't have a ttl".to_owned());
    }
    if plan.counter && plan.delete.is_some() {
        wrong.push("is a counter table, whose rows can't be deleted by delete.column".to_owned());
    }
    if plan.counter && plan.values.is_empty() {
        wrong.push("is a counter table, and the rows have none of its counters".to_owned());
    }
    wrong
}

/// Columns of the rows that mean the same column of the table.
fn doubles(plan: &TablePlan) -> Option<String> {
    let all: Vec<_> = plan.keys.iter().chain(&plan.values).map(|it| it.name.as_str()).collect();
    let double = all.iter().enumerate().find(|(at, it)| all.iter().take(*at).any(|other| other == *it));
    double.map(|(_, it)| format!("two columns of the rows are its column '{it}'"))
}
