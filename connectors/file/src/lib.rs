#![doc = include_str!("../README.md")]

mod config;
mod import;
mod lines;
mod listing;
mod log;
mod offset;
mod pattern;
mod pieces;
mod planner;
mod sink;
mod source;

pub use config::{FileConfig, FileFormat};
pub use offset::{FileOffset, Inside};
pub use sink::{Compression, FileSink, FileSinkConfig, FileSinkWriter, ManifestFormat, Prepared, SinkFormat};
pub use source::{File, FileSource};

/// Adds this crate's connectors: a source and a sink, both named `file`.
#[must_use]
pub fn register(registry: tidegate_api::Registry) -> tidegate_api::Registry {
    registry.source::<File>().sink::<File>()
}
