//! Dates and times: what a cast reads, and what a Java pattern reads and writes. All in UTC microseconds.

mod civil;
mod cursor;
mod pattern;
mod text;

pub(crate) use civil::{Civil, civil_from_days};
pub use pattern::JavaPattern;
pub(crate) use pattern::{push_padded, push_year};
pub use text::{parse_date, parse_local_timestamp, parse_timestamp};

#[cfg(test)]
mod tests;
