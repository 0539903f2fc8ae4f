#![doc = include_str!("../README.md")]

mod cell;
mod config;
mod number;
mod sink;
mod table;
mod time;

pub use config::{ConsoleConfig, Truncate};
pub use sink::{Console, ConsoleSink, ConsoleWriter, Output, register, register_to};
