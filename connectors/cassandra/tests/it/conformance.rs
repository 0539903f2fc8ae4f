//! The conformance suite of sinks.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use scylla::value::CqlValue;
use tidegate_api::{
    ConfigDef, ConnectorContext, DynSink, Error, QueryId, Result, Settings, SinkConnector, SinkSpec, async_trait,
};
use tidegate_cassandra::{Cassandra, CassandraConfig};
use tidegate_testkit::suite::{SinkBench, suite_schema};

use crate::bench::Bench;

struct TableBench(Bench);

#[async_trait]
impl SinkBench for TableBench {
    async fn sink(&self, spec: &SinkSpec) -> Result<Box<dyn DynSink>> {
        let settings = [
            ("contact.points", self.0.node.as_str()),
            ("keyspace", "it"),
            ("table", self.0.table.as_str()),
            ("username", "cassandra"),
            ("password", "cassandra"),
        ];
        let config = CassandraConfig::parse(&Settings::from_iter(settings)).expect("good settings");
        let ctx = ConnectorContext::new("suite", "out", QueryId("suite".into()), Arc::new(self.0.log.clone()));
        Ok(Box::new(Cassandra::build(config, spec, &ctx).await?))
    }

    async fn rows(&self) -> Result<Vec<RecordBatch>> {
        let rows = self.0.cql(&format!("SELECT id, word FROM it.{}", self.0.table)).await;
        let ids = rows.iter().map(|it| it.columns[0].as_ref().and_then(CqlValue::as_bigint));
        let words = rows.iter().map(|it| it.columns[1].as_ref().and_then(CqlValue::as_text).cloned());
        let columns: Vec<arrow_array::ArrayRef> =
            vec![Arc::new(Int64Array::from_iter(ids)), Arc::new(StringArray::from_iter(words))];
        let batch = RecordBatch::try_new(suite_schema(), columns);
        Ok(vec![batch.map_err(|e| Error::internal("rows").because(e))?])
    }
}

#[test]
fn suite() {
    let node = crate::node_or_skip!();
    let new = || async { Ok(TableBench(Bench::new(node, "id bigint PRIMARY KEY, word text").await)) };
    tidegate_testkit::suite::pass(tidegate_testkit::suite::sink_suite(new));
}
