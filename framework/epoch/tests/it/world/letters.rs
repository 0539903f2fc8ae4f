//! Dead letters in the world of these tests: rows that a table rejects, and the table that gets them.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{RecordBatch, StringArray};
use tidegate_api::OutputMode;
use tidegate_epoch::{Errors, SinkPart, Tolerance};

use super::{Events, Store, Table};

/// What becomes of rejected rows.
#[derive(Clone, Default)]
pub(crate) struct Tolerated {
    pub(crate) all: bool,
    /// Where the letters go: it shows their rows.
    pub(crate) letters: Option<Store>,
}

impl Tolerated {
    pub(crate) fn to(letters: Store) -> Self {
        Self { all: true, letters: Some(letters) }
    }

    pub(super) fn make(&self, events: &Events) -> Errors {
        let sink = self.letters.clone().map(|store| SinkPart {
            name: "letters".into(),
            best_effort: store.is_best_effort(),
            sink: Box::new(Table::for_letters(store, events.clone())),
            mode: OutputMode::Append,
        });
        Errors {
            tolerance: if self.all { Tolerance::All } else { Tolerance::None },
            log: false,
            sink,
            to_text: Some(Arc::new(|rows| Ok(texts(rows)))),
        }
    }
}

fn texts(rows: &RecordBatch) -> StringArray {
    let (ends, counts) = (rows.column(0).as_primitive::<Int64Type>(), rows.column(1).as_primitive::<Int64Type>());
    let both = ends.values().iter().zip(counts.values());
    StringArray::from_iter_values(both.map(|(end, count)| format!("{end} {count}")))
}

/// The row of each letter.
pub(super) fn rows_of(letters: &RecordBatch) -> Vec<(i64, i64)> {
    let numbers = letters.column(6).as_string::<i32>().iter().map(|it| {
        let (end, count) = it.unwrap().split_once(' ').unwrap();
        (end.parse().unwrap(), count.parse().unwrap())
    });
    numbers.collect()
}
