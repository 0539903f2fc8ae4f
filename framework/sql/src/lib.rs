#![doc = include_str!("../README.md")]

mod analyse;
mod arithmetic;
mod check;
mod clock;
mod dialect;
mod error;
pub mod event_time;
mod functions;
mod grouping_sets;
mod join_nulls;
mod nodes;
mod optimize;
mod panes;
mod planner;
mod retract;
mod rewrite;
mod session;
mod stream_join;
mod table;
mod used_fields;
mod wide;

pub use check::{Extensions, Refusal, check, check_with, reads_stream};
pub use clock::EpochClock;
pub use nodes::{Changelog, Deduplicate, KeepColumns, UserCode, UserState, UserStep, WatermarkNode};
pub use panes::{Panes, by_panes};
pub use planner::Planner;
pub use retract::{CHANGE_COLUMN, retracted, several_aggregates};
pub use rewrite::{StateCall, state_calls};
pub use stream_join::{JoinKey, StreamJoin, TimeBound};
pub use table::{SourceTable, TableKind};
