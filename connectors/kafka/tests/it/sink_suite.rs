//! The conformance suite of sinks.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use tidegate_api::{DynSink, Result, SinkSpec, async_trait};
use tidegate_testkit::suite::{SinkBench, pass, sink_suite, suite_schema};

use crate::broker_or_skip;
use crate::sink_setup::{Bench, read};

#[async_trait]
impl SinkBench for Bench {
    async fn sink(&self, spec: &SinkSpec) -> Result<Box<dyn DynSink>> {
        Ok(Box::new(self.build(spec).await?))
    }

    async fn rows(&self) -> Result<Vec<RecordBatch>> {
        let values = read(&self.broker, &self.topic).into_values().flatten().map(|(_, value)| value.unwrap());
        let rows: Vec<serde_json::Value> = values.map(|it| serde_json::from_str(&it).unwrap()).collect();
        let ids = Int64Array::from_iter(rows.iter().map(|it| it["id"].as_i64()));
        let words = StringArray::from_iter(rows.iter().map(|it| it["word"].as_str()));
        Ok(vec![RecordBatch::try_new(suite_schema(), vec![Arc::new(ids), Arc::new(words)]).unwrap()])
    }
}

#[test]
fn suite() {
    let broker = broker_or_skip!();
    pass(sink_suite(|| async { Ok(Bench::new(broker, "suite", 3).await.with("value.format", "json")) }));
}
