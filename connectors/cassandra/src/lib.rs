#![doc = include_str!("../README.md")]

mod cells;
mod codec;
mod config;
mod connector;
mod future_cells;
mod held;
mod rows;
mod session;
mod sink;
mod source;
mod statements;
mod table;
mod values;
mod writer;

pub use config::{CassandraConfig, ConsistencyLevel, ContactPoint, Delivery, FutureCells, Nulls};
pub use connector::Cassandra;
pub use sink::CassandraSink;
pub use source::config::CassandraTableConfig;
pub use source::{CassandraTable, TableSource};
pub use writer::{CassandraWriter, Part};

/// Adds the sink, and the source of static tables.
#[must_use]
pub fn register(registry: tidegate_api::Registry) -> tidegate_api::Registry {
    registry.source::<CassandraTable>().sink::<Cassandra>()
}
