#![doc = include_str!("../README.md")]

mod config;
mod source;

pub use config::{RateConfig, Seconds};
pub use source::{Rate, RateSource};

/// Adds this crate's connector.
#[must_use]
pub fn register(registry: tidegate_api::Registry) -> tidegate_api::Registry {
    registry.source::<Rate>()
}
