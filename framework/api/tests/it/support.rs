//! What several tests share: a log in memory, a context, small batches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use tidegate_api::prelude::*;

#[derive(Default)]
pub(crate) struct MemoryLog(Mutex<BTreeMap<String, Vec<u8>>>);

#[async_trait]
impl MetadataLog for MemoryLog {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        let mut entries = self.0.lock().unwrap();
        let new = !entries.contains_key(key);
        entries.entry(key.to_owned()).or_insert_with(|| bytes.to_vec());
        Ok(new)
    }
    async fn list(&self) -> Result<Vec<String>> {
        Ok(self.0.lock().unwrap().keys().cloned().collect())
    }
    async fn remove(&self, key: &str) -> Result<()> {
        self.0.lock().unwrap().remove(key);
        Ok(())
    }
}

pub(crate) fn context() -> ConnectorContext {
    ConnectorContext::new("query", "part", QueryId("q-1".into()), Arc::new(MemoryLog::default()))
}

pub(crate) fn numbers(values: &[i64]) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("value", DataType::Int64, false)]));
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(values.to_vec()))]).unwrap()
}

pub(crate) fn spec() -> SinkSpec {
    let schema = numbers(&[]).schema();
    SinkSpec { schema, mode: OutputMode::Append, keys: vec![], changes: Changes::Append, tasks: 2 }
}

pub(crate) fn epoch(number: u64, generation: u64, n: u32) -> Epoch {
    let attempt = AttemptId { generation, n };
    Epoch { number, attempt, time_ms: 0, write_time_us: 0, watermark_ms: None }
}
