//! A table of cells with write times, as Cassandra keeps it: the newer cell wins, and of two of one time the larger.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_json::{LineDelimitedWriter, ReaderBuilder};
use arrow_schema::SchemaRef;
use serde_json::{Map, Value};
use tidegate_api::{Error, Result};

/// A cell: its write time in microseconds, and its value as JSON.
type Cell = (i64, String);

/// Rows by key.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Cells {
    rows: BTreeMap<String, BTreeMap<String, Cell>>,
}

impl Cells {
    /// Writes the first `most` rows of a batch, cell by cell.
    pub(super) fn write(&mut self, batch: &RecordBatch, keys: &[usize], time_us: i64, most: usize) -> Result<()> {
        let names: Vec<_> = keys.iter().filter_map(|at| batch.schema().fields().get(*at).cloned()).collect();
        for row in rows_of(batch)?.into_iter().take(most) {
            let key = names.iter().map(|it| row.get(it.name()).unwrap_or(&Value::Null).to_string());
            let cells = self.rows.entry(key.collect::<Vec<_>>().join(",")).or_default();
            for (name, value) in row {
                let new = (time_us, value.to_string());
                let cell = cells.entry(name).or_insert_with(|| new.clone());
                *cell = new.max(std::mem::take(cell));
            }
        }
        Ok(())
    }

    /// All rows, by key.
    pub(super) fn rows(&self, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
        let mut text = String::new();
        for cells in self.rows.values() {
            let fields = cells.iter().map(|(name, (_, value))| format!("{}:{value}", Value::from(name.as_str())));
            text += &format!("{{{}}}\n", fields.collect::<Vec<_>>().join(","));
        }
        let wrong = |e| Error::internal("cells of a memory table").because(e);
        let reader = ReaderBuilder::new(Arc::clone(schema)).build(text.as_bytes()).map_err(wrong)?;
        reader.collect::<Result<_, _>>().map_err(wrong)
    }
}

fn rows_of(batch: &RecordBatch) -> Result<Vec<Map<String, Value>>> {
    let wrong = |e| Error::internal("rows of a memory table").because(e);
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(batch).map_err(wrong)?;
    writer.finish().map_err(wrong)?;
    let text = writer.into_inner();
    let rows = serde_json::Deserializer::from_slice(&text).into_iter();
    rows.collect::<Result<_, _>>().map_err(|e| Error::internal("rows of a memory table").because(e))
}
