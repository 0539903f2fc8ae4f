//! The Delta sink on real folders, read back through its log and its files.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on panics")]
#![expect(clippy::print_stdout, reason = "what was measured is shown")]

mod append;
mod bench;
mod cleaning;
mod conformance;
mod disk;
mod harness;
mod maintenance;
mod objects;
mod recovery;
mod refusals;
mod restores;
mod seeds;
mod stores;
