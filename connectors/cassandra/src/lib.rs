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
mod statements;
mod table;
mod writer;

pub use config::{CassandraConfig, ConsistencyLevel, ContactPoint, Delivery, FutureCells, Nulls};
pub use connector::Cassandra;
pub use sink::CassandraSink;
pub use writer::{CassandraWriter, Part};
