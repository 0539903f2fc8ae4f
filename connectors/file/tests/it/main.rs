//! Tests of the `file` source and sink on real folders.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say what it saw")]

mod lines;
mod log;
mod plan;
mod refused;
mod sink_commit;
mod sink_faults;
mod sink_manifest;
mod sink_pause;
mod sink_random;
mod sink_refused;
mod sink_suite;
mod sink_support;
mod suite;
mod support;
