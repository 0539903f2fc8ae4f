//! Tests over real processes and servers, and of the tree itself.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod bad_input;
mod clicks;
mod files;
mod kafka;
mod process;
mod socket;
mod stand;
mod tidy;
