//! The conformance suite, with the printed tables read back.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use tidegate_api::{DynSink, Result, SinkSpec, async_trait};
use tidegate_console::ConsoleSink;
use tidegate_testkit::suite::{SinkBench, suite_schema};

use crate::support::{Screen, config};

struct Tables(Screen);

#[async_trait]
impl SinkBench for Tables {
    async fn sink(&self, spec: &SinkSpec) -> Result<Box<dyn DynSink>> {
        let config = config(&[("num.rows", "1000"), ("truncate", "false")]).unwrap();
        Ok(Box::new(ConsoleSink::new(&config, &spec.schema, self.0.0.clone())))
    }

    async fn rows(&self) -> Result<Vec<RecordBatch>> {
        let text = String::from_utf8(self.0.0.lock().unwrap().clone()).unwrap();
        let cells = |line: &str| line.trim_matches('|').split('|').map(|it| it.trim().to_owned()).collect::<Vec<_>>();
        let rows: Vec<_> =
            text.lines().filter(|it| it.starts_with('|')).map(cells).filter(|it| it[0] != "id").collect();
        let ids = Int64Array::from_iter_values(rows.iter().map(|it| it[0].parse::<i64>().unwrap()));
        let words = StringArray::from_iter(rows.iter().map(|it| (it[1] != "NULL").then_some(it[1].as_str())));
        let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(words)];
        Ok(vec![RecordBatch::try_new(suite_schema(), columns).unwrap()])
    }
}

async fn empty_screen() -> Result<Tables> {
    Ok(Tables(Screen::default()))
}

tidegate_testkit::sink_suite!(the_suite_passes, empty_screen);
