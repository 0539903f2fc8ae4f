//! The suites on the memory connectors, wrong connectors that they must find, the crash matrix, and random runs.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and prints its cases")]

mod chaos;
mod clock;
mod letters;
mod matrix;
mod mistakes;
mod rewind;
mod suites;
