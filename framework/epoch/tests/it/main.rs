//! The loop over fake sources, sinks and a small windowed program.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod branches;
mod crash;
mod damage;
mod errors;
mod folder;
mod inspect;
mod kill;
mod order;
mod ownership;
mod progress;
mod retention;
mod sources;
mod staging;
mod triggers;
mod watermarks;
mod world;
