#![doc = include_str!("../README.md")]

mod batch;
mod clean;
mod commit;
mod config;
mod connector;
mod entry;
mod file;
mod leftovers;
mod maintain;
mod names;
mod open;
mod restore;
mod schema;
mod sink;
mod stats;
mod store;
mod table;
mod writer;

pub use config::DeltaConfig;
pub use connector::Delta;
pub use sink::DeltaSink;
pub use writer::{DeltaWriter, Prepared};
