//! Tests of the public face of `tidegate-api`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod batch_sink;
mod config;
mod connector;
mod derive;
mod duration;
mod erased;
mod error;
mod registry;
mod size;
mod support;
