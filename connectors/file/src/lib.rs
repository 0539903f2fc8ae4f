#![doc = include_str!("../README.md")]

mod config;
mod lines;
mod listing;
mod log;
mod offset;
mod pattern;
mod pieces;
mod planner;
mod source;

pub use config::{FileConfig, FileFormat};
pub use offset::{FileOffset, Inside};
pub use source::{File, FileSource};

/// Adds this crate's connector.
#[must_use]
pub fn register(registry: tidegate_api::Registry) -> tidegate_api::Registry {
    registry.source::<File>()
}
