//! Tests of the `console` sink against tables that Spark printed.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod frames;
mod golden;
mod sink;
mod suite;
mod support;
