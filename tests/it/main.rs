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
mod file_sink;
mod files;
mod full_disk;
mod import;
mod kafka;
mod kafka_sink;
mod kill_matrix;
mod logins;
mod pair;
mod process;
mod rewind;
mod s3;
mod socket;
mod stand;
mod take_over;
mod tidy;
