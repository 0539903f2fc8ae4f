#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod consumer;
mod headers;
mod producing;
mod queue;
mod record;
mod rows;

pub use consumer::BulkConsumer;
pub use producing::send_now;
pub use queue::{PartitionQueue, Polled, Wake};
pub use record::{Header, Record};
pub use rows::{Column, Limits, Rows};
