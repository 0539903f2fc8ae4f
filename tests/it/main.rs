//! Tests over real processes and servers, and of the tree itself.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic and say what it saw"
)]

mod bad_input;
mod cassandra;
mod clicks;
mod files;
mod kafka;
mod kill_matrix;
mod pair;
mod process;
mod socket;
mod stand;
mod take_over;
mod tidy;
