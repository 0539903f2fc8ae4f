//! The loop over fake sources, sinks and a small windowed program.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic and prints its seed"
)]

mod branches;
mod copies;
mod crash;
mod damage;
mod errors;
mod folder;
mod fuzzed;
mod inspect;
mod kill;
mod letters;
mod order;
mod ownership;
mod progress;
mod retention;
mod sources;
mod staging;
mod state;
mod triggers;
mod watermarks;
mod world;
