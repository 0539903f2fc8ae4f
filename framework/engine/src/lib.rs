#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod ask;
mod decode;
mod error;
mod exec;
mod late;
mod operators;
mod plan;
mod program;
pub mod spec;
mod split_task;
mod start;
mod state_table;
mod statics;
pub mod user;

pub use ask::ask_columns;
pub use error::failed;
pub use late::late_rows_schema;
pub use plan::{Problem, QueryPlan, columns, plan};
pub use spec::{
    DeduplicateSpec, ErrorOptions, LetterSink, QueryOptions, QuerySpec, SinkInput, SinkPart, SourceSpec, ValueFormat,
    ValueMode, ViewSpec, WatermarkSpec,
};
pub use start::{Environment, MEMORY_BYTES};
pub use tidegate_sql::Extensions;
pub use user::ProcessSpec;
