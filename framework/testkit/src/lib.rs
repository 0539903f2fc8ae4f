#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod chaos;
pub mod clock;
pub mod crash;
pub mod memory;
pub mod store;
pub mod suite;

pub use clock::ManualClock;
pub use memory::{MemoryConnectors, MemoryInput, MemoryKind, MemoryLog, MemorySink, MemorySource, MemoryTable};
pub use store::FlakyStore;
