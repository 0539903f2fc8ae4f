//! The Rust builder: queries written as programs give what their SQL gives; sinks made of functions; handles and listeners.

mod handles;
mod program;
mod sinks;
mod streams;

use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use tempfile::TempDir;
use tidegate_api::{OutputMode, Registry};
use tidegate_builder::{Session, Stream, StreamWriter, StreamingQuery, Trigger};
use tidegate_formats::ddl;
use tidegate_testkit::MemoryConnectors;

use crate::harness::{as_json, rows};

/// A session, and what stays when its program starts again.
struct Program {
    folder: TempDir,
    memory: MemoryConnectors,
    session: Session,
}

impl Program {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let memory = MemoryConnectors::new();
        let session = Self::session(&memory, folder.path());
        Self { folder, memory, session }
    }

    fn session(memory: &MemoryConnectors, folder: &Path) -> Session {
        let registry = memory.register(Registry::new());
        let checkpoints = folder.display().to_string();
        Session::builder(registry).checkpoints(&checkpoints).build()
    }

    /// The same program in a new process.
    fn again(&mut self) {
        self.session = Self::session(&self.memory, self.folder.path());
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
