//! Tests of the `file` source on real folders.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod lines;
mod log;
mod plan;
mod refused;
mod suite;
mod support;
