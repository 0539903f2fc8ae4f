#![doc = include_str!("../README.md")]

mod buffer;
mod config;
mod reader;
mod source;

pub use config::SocketConfig;
pub use source::{Socket, SocketSource};

/// Adds this crate's connector.
#[must_use]
pub fn register(registry: tidegate_api::Registry) -> tidegate_api::Registry {
    registry.source::<Socket>()
}
