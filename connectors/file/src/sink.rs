//! The `file` sink: files that are written out of sight, put into place and named by a manifest.
//!
//! ```text
//! writer   rows → _staging/part-<writer>-<epoch>-…       encoder.rs, writer.rs
//! commit   _staging/x → x, then the manifest's entry     spark.rs; the other way round: bounded.rs
//! open     which epoch is there, what does not count     file_sink.rs, manifest.rs, clean.rs
//! ```
//! Fault points: `file.open`, `file.stage`, `file.staged`, `file.place` (each file), `file.placed`, on the local disk
//! `file.draft` and `file.linked` (each new entry), `file.committed`.

mod bounded;
mod bucket;
mod clean;
mod columns;
mod config;
mod connector;
mod disk;
mod encoder;
mod entry;
mod file_sink;
mod folder;
mod manifest;
mod names;
mod spark;
mod writer;

pub use config::{Compression, FileSinkConfig, ManifestFormat, SinkFormat};
pub use file_sink::FileSink;
pub use writer::{FileSinkWriter, Prepared};
