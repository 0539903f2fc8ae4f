#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod arenas;
mod consumer;
mod headers;
mod producing;
mod queue;
mod record;
mod rows;

pub use arenas::limit_arenas;
pub use consumer::BulkConsumer;
pub use producing::send_now;
pub use queue::{PartitionQueue, Polled, Wake};
pub use record::{Header, Record, RecordView};
pub use rows::{Column, Limits, Rows};
