//! The `kafka` source against a real broker, which the first test starts.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

mod columns;
mod erased;
mod loss;
mod outage;
mod reading;
mod setup;
mod stand;
mod starting;
mod transactions;
