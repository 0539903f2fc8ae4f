//! The Cassandra sink and source against a real node.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on panics")]
#![expect(clippy::print_stdout, reason = "skipped tests and seeds are shown")]

mod bench;
mod clock;
mod conformance;
mod keys;
mod outage;
mod refusals;
mod replay;
mod stand;
mod tables;
mod ties;
mod types;
