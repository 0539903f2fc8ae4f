//! The `kafka` source and sink against a real broker, which the first test starts.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

mod columns;
mod erased;
mod leaders;
mod loss;
mod old_brokers;
mod oracle;
mod outage;
mod reading;
mod secured;
mod setup;
mod sink_setup;
mod sink_suite;
mod sink_transactions;
mod sink_trouble;
mod stand;
mod starting;
mod transactions;
