#![doc = include_str!("../README.md")]
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod expressions;
mod functions;
mod lineage;
mod manager;
mod read;
mod running;
mod session;
mod stream;
mod write;

pub use expressions::{offset_window, session_window, sliding_window, window, window_time};
pub use functions::ForeachWriter;
pub use manager::{Listener, ListenerId, Started, Terminated};
pub use read::StreamReader;
pub use running::StreamingQuery;
pub use session::{Session, SessionBuilder};
pub use stream::{Grouped, JoinType, Stream};
pub use write::StreamWriter;

pub use tidegate_api::{
    BatchSink, CommitOutcome, Epoch, EpochRows, Error, ErrorKind, OutputMode, RecordBatch, Registry, Result,
    async_trait,
};
pub use tidegate_engine::user::{
    GroupKey, GroupState, GroupStateTimeout, ListState, MapState, StateHandle, StateType, StateValue, StateVariables,
    StatefulProcessor, TimeMode, ValueState,
};
pub use tidegate_engine::{QueryOptions, ValueFormat, ValueMode};
pub use tidegate_epoch::{QueryProgress, QueryStatus, Trigger, WatermarkPolicy};
