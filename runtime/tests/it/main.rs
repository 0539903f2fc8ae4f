//! The runtime from outside: the built binary as a user runs it, and the scenarios through the library.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checkpoints;
mod command_line;
mod examples;
mod going_back;
mod letters;
mod process;
mod recorded;
mod refusals;
mod running;
mod scenario_files;
mod scenarios;
mod state_tables;
