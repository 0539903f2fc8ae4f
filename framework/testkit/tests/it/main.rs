//! The suites on the memory connectors, wrong connectors that they must find, and the crash matrix.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and prints its cases")]

mod clock;
mod matrix;
mod suites;
