#![doc = include_str!("../README.md")]

mod cli;
mod clock;
pub mod config;
mod progress;
mod registry;
pub mod scenario;
mod screen;
mod spark;
mod supervisor;

pub use cli::run;
pub use registry::built_in;
