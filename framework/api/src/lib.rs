#![doc = include_str!("../README.md")]
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod batch_sink;
pub mod clock;
pub mod config;
pub mod connector;
pub mod erased;
pub mod error;
pub mod fault;
pub mod import;
pub mod offset;
pub mod predicate;
pub mod registry;
pub mod sink;
pub mod source;
pub mod table;

pub use arrow_array::RecordBatch;
pub use arrow_schema::{Schema, SchemaRef};
pub use async_trait::async_trait;
pub use tidegate_macros::ConfigDef;

pub use batch_sink::{BatchSink, EpochRows, foreach_batch};
pub use clock::{Clock, SystemClock};
pub use config::{ConfigDef, ConfigIssue, ConfigKey, ConfigValue, Importance, PassThrough, Secret, Settings};
pub use connector::{
    BatchSinkConnector, ConnectorContext, MemoryBudget, MetadataLog, Ownership, SinkConnector, SourceConnector,
};
pub use erased::{DynSink, DynSource, DynWriter};
pub use error::{Error, ErrorKind, Result};
pub use import::{Imported, SparkPosition};
pub use offset::{Offset, OffsetJson, OffsetRange, PartitionId, Split};
pub use predicate::{Comparison, Predicate};
pub use registry::Registry;
pub use sink::{
    AttemptId, Changes, CommitOutcome, Epoch, Guarantee, OutputMode, QueryId, Rejected, Sink, SinkSpec, SinkWriter,
    SourcePosition, Staging, WriterId,
};
pub use source::{BatchStream, Bound, FieldPath, Payload, Planned, ReadLimit, Replay, ScanRequest, Source};
pub use table::{Lookup, Table, TableVersion};

/// What an author of connectors needs: everything but the erased twins (`DynSource` …), whose methods bear the same
/// names as those of the traits they stand for.
pub mod prelude {
    pub use crate::{
        AttemptId, BatchSink, BatchSinkConnector, BatchStream, Bound, Changes, Clock, CommitOutcome, Comparison,
        ConfigDef, ConfigIssue, ConfigKey, ConfigValue, ConnectorContext, Epoch, EpochRows, Error, ErrorKind,
        FieldPath, Guarantee, Importance, Imported, Lookup, MemoryBudget, MetadataLog, Offset, OffsetJson, OffsetRange,
        OutputMode, Ownership, PartitionId, PassThrough, Payload, Planned, Predicate, QueryId, ReadLimit, RecordBatch,
        Registry, Rejected, Replay, Result, ScanRequest, Schema, SchemaRef, Secret, Settings, Sink, SinkConnector,
        SinkSpec, SinkWriter, Source, SourceConnector, SourcePosition, SparkPosition, Split, Staging, SystemClock,
        Table, TableVersion, WriterId, async_trait, foreach_batch,
    };
}
