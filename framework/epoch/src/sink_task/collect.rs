//! `Outputs` that keep their rows in memory: for tests of a `Program` alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use serde_json::Value;
use tidegate_api::{DynWriter, Rejected, Result};

use super::Outputs;
use super::outputs::{Output, Target};

/// The rows that a program wrote, by sink.
#[derive(Clone, Debug, Default)]
pub struct Collected(Arc<Mutex<Vec<Vec<RecordBatch>>>>);

impl Collected {
    /// Takes the rows written since the last call.
    pub fn take(&self) -> Vec<Vec<RecordBatch>> {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.iter_mut().map(std::mem::take).collect()
    }
}

struct Collector {
    at: usize,
    rows: Collected,
}

#[async_trait]
impl DynWriter for Collector {
    async fn write(&mut self, batch: RecordBatch) -> Result<Vec<Rejected>> {
        let mut rows = self.rows.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = rows.get_mut(self.at) {
            own.push(batch);
        }
        Ok(Vec::new())
    }

    fn is_shown(&self) -> bool {
        false
    }
    async fn prepare(self: Box<Self>) -> Result<Value> {
        Ok(Value::Null)
    }
}

impl Outputs {
    /// Outputs for `sinks` sinks, and where their rows go.
    pub fn collecting(sinks: usize) -> (Self, Collected) {
        let rows = Collected(Arc::new(Mutex::new(vec![Vec::new(); sinks])));
        let output = |at: usize| Output {
            name: format!("{at}").into(),
            target: Target::Writer(Box::new(Collector { at, rows: rows.clone() })),
            best_effort: false,
            rows: 0,
            dead: 0,
        };
        let outputs = (0..sinks).map(output).collect();
        let (rules, undecoded) = (Arc::default(), BTreeMap::new());
        (Self { outputs, letters: None, rules, epoch: None, undecoded }, rows)
    }
}
