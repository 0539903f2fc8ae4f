#![doc = include_str!("../README.md")]

mod base64;
pub mod datetime;
pub mod ddl;
pub mod interval;
pub mod json;
mod text;

pub use text::binary_to_string;
