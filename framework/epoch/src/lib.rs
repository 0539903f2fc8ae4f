#![doc = include_str!("../README.md")]
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod ahead;
mod checkpoint;
pub mod fault;
mod handle;
pub mod inspect;
mod letters;
mod log;
mod manifest;
mod metadata_log;
mod owner;
pub mod pace;
mod program;
pub mod progress;
mod query;
mod recovery;
mod retry;
mod sink_task;
mod snapshot;
mod source_task;
mod stage;
pub mod state;
mod store;
mod trigger;
mod watermark;

pub use checkpoint::{Checkpoint, CheckpointOptions, ImportPoint};
pub use fault::Faults;
pub use handle::{QueryHandle, QueryListener, QueryStatus};
pub use letters::{DEAD_LETTERS, Errors, RowsToText, Tolerance, dead_letter_schema};
pub use program::*;
pub use progress::QueryProgress;
pub use query::{Query, QueryParts, QuerySettings, RewindReport, SinkMode, Step, StopSignal};
pub use retry::Retry;
pub use sink_task::{Collected, Outputs, SinkOutcome, SinkPart};
pub use source_task::SourcePart;
pub use trigger::Trigger;
pub use watermark::{GroupMark, WatermarkPolicy, Watermarks};
