//! The Rust builder: queries written as programs give what their SQL gives; sinks made of functions; handles and listeners.

mod group_state;
mod handles;
mod killed;
mod logins;
mod program;
mod sinks;
mod state;
mod state_model;
mod streams;
mod timers;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use tempfile::TempDir;
use tidegate_api::{OutputMode, Registry};
use tidegate_builder::{Session, Stream, StreamWriter, StreamingQuery, Trigger};
use tidegate_formats::ddl;
use tidegate_testkit::{ManualClock, MemoryConnectors};

use crate::harness::{as_json, rows};

/// A session, and what stays when its program starts again.
struct Program {
    folder: TempDir,
    memory: MemoryConnectors,
    session: Session,
    /// Absent: the system's.
    clock: Option<Arc<ManualClock>>,
}

impl Program {
    fn new() -> Self {
        Self::with_clock(None)
    }

    /// A program whose time begins in 1970 and stands still.
    fn at_rest() -> Self {
        Self::with_clock(Some(Arc::new(ManualClock::new(0))))
    }

    fn with_clock(clock: Option<Arc<ManualClock>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let memory = MemoryConnectors::new();
        let session = Self::session(&memory, folder.path(), clock.as_ref());
        Self { folder, memory, session, clock }
    }

    fn session(memory: &MemoryConnectors, folder: &Path, clock: Option<&Arc<ManualClock>>) -> Session {
        let registry = memory.register(Registry::new());
        let checkpoints = folder.display().to_string();
        let builder = Session::builder(registry).checkpoints(&checkpoints);
        match clock {
            Some(clock) => builder.clock(clock.clone()).build(),
            None => builder.build(),
        }
    }

    /// Moves the clock of a program at rest.
    fn wait(&self, ms: u64) {
        self.clock.as_ref().unwrap().advance(Duration::from_millis(ms));
    }

    /// The same program in a new process.
    fn again(&mut self) {
        self.session = Self::session(&self.memory, self.folder.path(), self.clock.as_ref());
    }

    fn stream(&self, name: &str, ddl: &str) -> Stream {
        self.session.read_stream(name).connector("memory").schema(ddl).load().unwrap()
    }

    /// Adds rows, a JSON document each, to a source of a query.
    fn add(&self, query: &str, source: &str, ddl: &str, documents: &[&str]) {
        let schema = Arc::new(ddl::parse_schema(ddl).unwrap());
        let input = self.memory.create_input(query, source, schema.clone()).unwrap();
        let documents: Vec<_> = documents.iter().map(|it| (*it).to_owned()).collect();
        input.add(vec![rows(&schema, &documents)]).unwrap();
    }

    /// What the memory sinks of a query have.
    fn rows(&self, query: &str) -> Vec<String> {
        as_json(&self.memory.tables(query).iter().flat_map(|(_, it)| it.rows()).collect::<Vec<RecordBatch>>())
    }

    /// Runs a query over all that is there.
    async fn run(&self, query: &str, stream: &Stream, mode: OutputMode) {
        ended(writer(query, stream).output_mode(mode)).await;
    }
}

/// A query over all that is there into a memory sink.
fn writer(query: &str, stream: &Stream) -> StreamWriter {
    stream.write_stream().query_name(query).connector("memory").trigger(Trigger::AvailableNow)
}

/// Runs a query to its end.
async fn ended(writer: StreamWriter) -> StreamingQuery {
    let query = writer.start().await.unwrap();
    query.await_termination().await.unwrap();
    query
}
