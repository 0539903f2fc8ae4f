//! JSON documents to columns and back, as Spark's `from_json` and `to_json` do it.

mod bytes;
mod column;
mod decoder;
mod encode;
mod names;
mod nested;
mod number;
mod root;
mod scanner;
mod string;

pub use decoder::{Decoded, Decoder, JsonOptions, Mode, RejectedDocument};
pub use encode::encode;

#[cfg(test)]
mod tests;
