use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, Int64Array, StringArray, StringViewArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseResult, TestRunner};

use super::*;
use crate::state::{
    Backwards, FileKind, StateMemory, encode_deltas, encode_keys, encode_snapshot, key_hash, open_part, virtual_node,
};

mod model;
mod rows;
mod spill;

type Row = (i64, Option<i64>, i64);

/// Runs a property on so many random cases. The seed is printed, `TIDEGATE_SEED` sets it.
fn random_cases<S: Strategy>(cases: u32, strategy: &S, property: impl Fn(S::Value) -> TestCaseResult) {
    let seed: u64 = std::env::var("TIDEGATE_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64
    });
    println!("TIDEGATE_SEED={seed}");
    let config = Config { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    if let Err(error) = TestRunner::new(config).run(strategy, property) {
        panic!("TIDEGATE_SEED={seed}: {error}");
    }
}

const S: i64 = 1_000_000;

/// The rows that files tell, read from the newest back; without their last column, the virtual node.
fn told(layout: &StateLayout, base: &OperatorSnapshot, deltas: &[OperatorDelta]) -> Vec<RecordBatch> {
    let deltas = deltas.iter().rev().map(|it| (FileKind::Deltas, encode_deltas(std::slice::from_ref(it)).unwrap()));
    let base = (FileKind::Snapshot, encode_snapshot(std::slice::from_ref(base)).unwrap());
    let mut backwards = Backwards::new(&layout.operator, layout.layout.clone(), &layout.shape()).unwrap();
    let mut told = Vec::new();
    for (kind, mut bytes) in deltas.chain([base]) {
        bytes.splice(..0, *b"head");
        let at = 4..bytes.len();
        assert!(open_part(bytes.clone(), at.clone(), kind, "another").unwrap().is_none());
        let mut part = open_part(bytes, at, kind, &layout.operator).unwrap().unwrap();
        for rows in part.by_ref() {
            let rows = backwards.rows(&rows.unwrap(), kind == FileKind::Snapshot).unwrap();
            let keys = layout.keys(&rows.project(&(0..rows.num_columns() - 1).collect::<Vec<_>>()).unwrap()).unwrap();
            let nodes = rows.column(rows.num_columns() - 1).as_primitive::<Int32Type>();
            (0..keys.len()).for_each(|it| assert_eq!(nodes.value(it), i32::from(virtual_node(keys.value(it)))));
            told.push(rows);
        }
        part.tombstones.iter().for_each(|it| backwards.remove(it).unwrap());
        part.evict_through_us.iter().for_each(|it| backwards.evict(*it));
    }
    told
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, false),
        Field::new("end", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("value", DataType::Int64, false),
    ]))
}

/// With the pane in the key or not.
fn layout(pane_in_key: bool) -> StateLayout {
    StateLayout {
        operator: "count".into(),
        layout: "key,end,value".into(),
        schema: schema(),
        key_columns: if pane_in_key { vec![0, 1] } else { vec![0] },
        pane_column: Some(1),
        row_column: None,
    }
}

fn state(pane_in_key: bool) -> KeyedState {
    KeyedState::new(layout(pane_in_key)).unwrap()
}

fn batch(rows: &[Row]) -> RecordBatch {
    let keys = Int64Array::from_iter_values(rows.iter().map(|it| it.0));
    let ends = TimestampMicrosecondArray::from_iter(rows.iter().map(|it| it.1));
    let values = Int64Array::from_iter_values(rows.iter().map(|it| it.2));
    RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(ends), Arc::new(values)]).unwrap()
}

/// Keys as text; null for 0.
fn texts_of(rows: &[Row]) -> RecordBatch {
    let batch = batch(rows);
    let keys = StringArray::from_iter(rows.iter().map(|it| (it.0 != 0).then(|| it.0.to_string())));
    let mut fields: Vec<_> = schema().fields().iter().cloned().collect();
    fields[0] = Arc::new(Field::new("key", DataType::Utf8, true));
    let columns = vec![Arc::new(keys), batch.column(1).clone(), batch.column(2).clone()];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// The keys of a batch, of numbers or of text.
fn numbers(keys: &ArrayRef) -> Int64Array {
    let Some(texts) = keys.as_string_opt::<i32>() else { return keys.as_primitive().clone() };
    texts.iter().map(|it| it.map_or(0, |it| it.parse().unwrap())).collect::<Vec<i64>>().into()
}

fn rows(batches: &[RecordBatch]) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in batches {
        let (keys, values) = (numbers(batch.column(0)), batch.column(2).as_primitive::<Int64Type>());
        let ends = batch.column(1).as_primitive::<TimestampMicrosecondType>();
        rows.extend(
            (0..batch.num_rows())
                .map(|it| (keys.value(it), ends.is_valid(it).then(|| ends.value(it)), values.value(it))),
        );
    }
    rows
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort();
    rows
}

/// The rows of a snapshot.
fn sealed(state: &KeyedState) -> Vec<Row> {
    rows(&snapshot_rows(state))
}

fn snapshot_rows(state: &KeyedState) -> Vec<RecordBatch> {
    state.snapshot().batches().collect::<Result<_>>().unwrap()
}

/// Budgets for random operations: none, nothing stays in memory, some does.
fn budgets() -> impl Strategy<Value = Option<u64>> {
    proptest::sample::select(vec![None, Some(0), Some(3000)])
}

/// A budget with its folder.
struct Budget {
    memory: StateMemory,
    limit: usize,
    folder: tempfile::TempDir,
}

impl Budget {
    fn new(limit: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let memory = StateMemory::open(limit, &folder.path().join("spill")).unwrap();
        Self { memory, limit: limit as usize, folder }
    }

    fn keep(&self, state: &mut KeyedState) {
        self.memory.keep_within(std::iter::once(&mut *state)).unwrap();
        assert!(state.held_bytes() <= self.limit, "{} of {}", state.held_bytes(), self.limit);
    }

    /// The files on disk.
    fn files(&self) -> Vec<std::path::PathBuf> {
        let files = std::fs::read_dir(self.folder.path().join("spill")).unwrap();
        files.map(|it| it.unwrap().path()).collect()
    }
}

fn all(state: &KeyedState) -> Vec<Row> {
    sorted(rows(&state.all().unwrap()))
}

#[test]
fn the_overlay_wins_and_discard_brings_the_sealed_rows_back() {
    for pane_in_key in [true, false] {
        let mut state = state(pane_in_key);
        state.put(batch(&[(1, Some(S), 10), (2, Some(S), 20)])).unwrap();
        state.seal();
        state.put(batch(&[(2, Some(S), 21), (3, Some(S), 30)])).unwrap();
        assert_eq!(all(&state), [(1, Some(S), 10), (2, Some(S), 21), (3, Some(S), 30)]);
        assert_eq!(sealed(&state).len(), 2);
        let found =
            state.matching(&batch(&[(3, Some(S), 0), (9, Some(S), 0), (2, Some(S), 0), (3, Some(S), 1)])).unwrap();
        assert_eq!(rows(&[found.rows]), [(3, Some(S), 30), (2, Some(S), 21)]);
        assert_eq!(found.of, [0, 2]);
        state.discard();
        assert_eq!(all(&state), [(1, Some(S), 10), (2, Some(S), 20)]);
        assert!(state.delta().unwrap().is_none());
    }
}

#[test]
fn eviction_takes_old_and_new_rows_and_leaves_null_panes() {
    for pane_in_key in [true, false] {
        let mut state = state(pane_in_key);
        state.put(batch(&[(1, Some(S), 1), (2, Some(S + 1), 2), (3, Some(9 * S), 3), (4, None, 4)])).unwrap();
        state.seal();
        state.put(batch(&[(5, Some(S), 5), (6, Some(9 * S), 6)])).unwrap();
        let evicted = state.evict_through(S).unwrap();
        assert_eq!(sorted(rows(&[evicted])), [(1, Some(S), 1), (5, Some(S), 5)]);
        assert_eq!(state.evict_through(S).unwrap().num_rows(), 0);
        assert_eq!(state.len(), 4);
        let delta = state.delta().unwrap().unwrap();
        assert_eq!(delta.evict_through_us, Some(S));
        assert_eq!(rows(&[delta.puts.unwrap()]), [(6, Some(9 * S), 6)]);
        state.seal();
        assert_eq!(all(&state), [(2, Some(S + 1), 2), (3, Some(9 * S), 3), (4, None, 4), (6, Some(9 * S), 6)]);
        assert_eq!(state.evict_through(i64::MAX).unwrap().num_rows(), 3);
        state.seal();
        assert_eq!(all(&state), [(4, None, 4)]);
    }
}

/// A row that replaced a later one and is then over must take the later one with it, also in the delta.
#[test]
fn an_evicted_row_takes_the_row_that_it_replaced() {
    let mut state = state(false);
    state.put(batch(&[(1, Some(9 * S), 1)])).unwrap();
    state.seal();
    let before = state.snapshot();
    state.put(batch(&[(1, Some(S), 2)])).unwrap();
    assert_eq!(state.evict_through(S).unwrap().num_rows(), 1);
    let delta = state.delta().unwrap().unwrap();
    assert_eq!(delta.tombstones.as_ref().map(RecordBatch::num_rows), Some(1));
    state.seal();
    assert!(state.is_empty());
    let mut restored = KeyedState::new(layout(false)).unwrap();
    restored.load(&before).unwrap();
    restored.apply(&delta).unwrap();
    assert!(restored.is_empty());
}

#[test]
fn rows_put_after_an_eviction_stay() {
    let mut state = state(true);
    state.put(batch(&[(1, Some(S), 1)])).unwrap();
    state.seal();
    state.evict_through(S).unwrap();
    assert_eq!(state.matching(&batch(&[(1, Some(S), 0)])).unwrap().rows.num_rows(), 0);
    state.put(batch(&[(1, Some(S), 2)])).unwrap();
    assert_eq!(all(&state), [(1, Some(S), 2)]);
    state.seal();
    assert_eq!(all(&state), [(1, Some(S), 2)]);
}

#[test]
fn removal_counts_and_names_keys() {
    for pane_in_key in [true, false] {
        let mut state = state(pane_in_key);
        state.put(batch(&[(1, None, 1), (2, None, 2)])).unwrap();
        state.seal();
        state.put(batch(&[(2, None, 3), (3, None, 4)])).unwrap();
        let gone = batch(&[(1, None, 0), (2, None, 0), (3, None, 0), (4, None, 0), (1, None, 0)]);
        assert_eq!(state.remove(&gone).unwrap(), 3);
        assert_eq!(state.remove(&gone.project(&state.layout().key_columns.clone()).unwrap()).unwrap(), 0);
        let delta = state.delta().unwrap().unwrap();
        let tombstones = delta.tombstones.unwrap();
        assert_eq!(tombstones.num_columns(), if pane_in_key { 2 } else { 1 });
        assert_eq!(tombstones.num_rows(), 2, "a key that was never sealed needs no tombstone");
        assert!(delta.puts.is_none());
        state.seal();
        assert!(state.is_empty());
    }
}

#[test]
fn a_key_put_twice_at_once_is_refused() {
    for pane_in_key in [true, false] {
        let error = state(pane_in_key).put(batch(&[(1, None, 1), (2, None, 1), (1, None, 2)])).unwrap_err();
        assert!(error.to_string().contains("operator 'count': a key is put twice"), "{error}");
    }
    let error = state(false).put(batch(&[(1, Some(S), 1), (1, Some(9 * S), 2)])).unwrap_err();
    assert!(error.to_string().contains("a key is put twice"), "{error}");
}

#[test]
fn deltas_are_ordered_by_virtual_node() {
    let mut state = state(true);
    for part in 0..4 {
        let many: Vec<Row> = (0..500).map(|it| (it * 4 + part, Some(it % 3 * S), it)).collect();
        state.put(batch(&many)).unwrap();
    }
    let puts = state.delta().unwrap().unwrap().puts.unwrap();
    assert_eq!(puts.num_rows(), 2000);
    let keys = encode_keys(&puts.columns()[..2], puts.num_rows()).unwrap();
    let nodes: Vec<_> = (0..keys.len()).map(|it| virtual_node(keys.value(it))).collect();
    assert!(nodes.is_sorted());
}

#[test]
fn order_does_not_depend_on_the_past() {
    let many: Vec<Row> = (0..3000).map(|it| (it, Some(it % 7 * 400_000), it)).collect();
    let mut at_once = state(true);
    at_once.put(batch(&many)).unwrap();
    at_once.seal();
    let mut piecemeal = state(true);
    for part in many.rchunks(37) {
        piecemeal.put(batch(part)).unwrap();
        piecemeal.seal();
    }
    let order = rows(&at_once.all().unwrap());
    assert_eq!(order, rows(&piecemeal.all().unwrap()));
    assert_eq!(rows(&[piecemeal.evict_through(3 * S).unwrap()]), order);
}

#[test]
fn a_global_aggregate_has_one_row() {
    let mut layout = layout(false);
    layout.key_columns = Vec::new();
    layout.pane_column = None;
    let mut state = KeyedState::new(layout).unwrap();
    for value in 0..20 {
        state.put(batch(&[(0, None, value)])).unwrap();
        state.seal();
        assert_eq!(all(&state), [(0, None, value)]);
    }
    assert_eq!(state.snapshot().rows.len(), 1);
}

#[test]
fn the_state_holds_copies_not_slices() {
    let text = "a text that is too long to be inlined in a view";
    let schema = Arc::new(Schema::new(vec![Field::new("word", DataType::Utf8View, false)]));
    let words = StringViewArray::from_iter_values((0..10_000).map(|it| format!("{text} {it}")));
    let big = RecordBatch::try_new(schema.clone(), vec![Arc::new(words)]).unwrap();
    let layout = StateLayout {
        operator: "o".into(),
        layout: "l".into(),
        schema,
        key_columns: vec![0],
        pane_column: None,
        row_column: None,
    };
    let mut state = KeyedState::new(layout).unwrap();
    state.put(big.slice(17, 1)).unwrap();
    assert!(state.memory_bytes() < 4096, "{}", state.memory_bytes());
    state.seal();
    assert!(state.memory_bytes() < 4096, "{}", state.memory_bytes());
}

/// Chunks of old versions go; the memory of a state that is written over and over has a bound.
#[test]
fn versions_and_closed_windows_leave_no_memory() {
    for pane_in_key in [true, false] {
        let mut state = state(pane_in_key);
        let mut most = 0;
        for epoch in 0..400 {
            let many: Vec<Row> = (0..200).map(|it| (it, Some(epoch / 10 * 5 * S), epoch)).collect();
            state.put(batch(&many)).unwrap();
            state.evict_through((epoch / 10 - 2) * 5 * S).unwrap();
            state.seal();
            if epoch == 100 {
                most = state.memory_bytes() * 2;
            }
        }
        assert_eq!(state.len(), if pane_in_key { 400 } else { 200 });
        assert!(state.memory_bytes() < most, "{} of {most}", state.memory_bytes());
        let full = state.memory_bytes();
        state.evict_through(i64::MAX).unwrap();
        state.seal();
        assert!(state.memory_bytes() < full / 4, "{} of {full} after the last", state.memory_bytes());
    }
}

#[test]
fn what_does_not_fit_is_refused_with_the_difference() {
    let mut state = state(true);
    state.put(batch(&[(1, None, 1)])).unwrap();
    state.seal();
    let good = state.snapshot();
    let mut other = good.clone();
    other.layout = "key,end,value,more".into();
    let error = state.load(&other).unwrap_err();
    assert_eq!(error.kind(), tidegate_api::ErrorKind::Config);
    let text = "operator 'count': the checkpoint has layout 'key,end,value,more', the query 'key,end,value'";
    assert!(error.to_string().contains(text), "{error}");
    other = good.clone();
    other.operator = "sum".into();
    assert!(state.load(&other).unwrap_err().to_string().contains("rows are of operator 'sum'"));
    other = good.clone();
    other.rows = vec![other.rows[0].project(&[0, 2]).unwrap()];
    assert!(state.load(&other).unwrap_err().to_string().contains("2 columns found, 3 expected"));
    other.rows = vec![good.rows[0].clone(), good.rows[0].clone()];
    assert!(state.load(&other).unwrap_err().to_string().contains("a key stands twice"));
    assert_eq!(all(&state), [(1, None, 1)], "a refused snapshot leaves the state");
    let mut wrong = layout(true);
    wrong.pane_column = Some(0);
    assert!(KeyedState::new(wrong).err().unwrap().to_string().contains("pane column 'key' is Int64"));
}

/// A snapshot of any size is begun without copying rows, and a seal rewrites few: neither holds an epoch up for long.
#[test]
fn updates_at_random_leave_few_chunks_and_each_seal_rewrites_few_rows() {
    const KEYS: i64 = 200_000;
    let mut state = state(false);
    for part in 0..4 {
        let rows: Vec<Row> = (part * KEYS / 4..(part + 1) * KEYS / 4).map(|it| (it, None, 0)).collect();
        state.put(batch(&rows)).unwrap();
        state.seal();
    }
    for epoch in 0..300i64 {
        let touched: BTreeMap<i64, i64> = (0..2000).map(|it| ((epoch * 2000 + it) * 7919 % 199_933, epoch)).collect();
        let rows: Vec<Row> = touched.iter().map(|(key, value)| (*key, None, *value)).collect();
        state.put(batch(&rows)).unwrap();
        state.seal();
        assert_eq!(state.len(), KEYS as usize);
        assert!(state.held_chunks().count() < 40, "{} chunks", state.held_chunks().count());
        // Never more than twice the live rows and what one seal may leave to the next.
        let held: usize = state.held_bytes();
        assert!(held < KEYS as usize * 2 * 60, "{held} bytes in epoch {epoch}");
    }
    let snapshot = state.snapshot();
    let shared: usize = snapshot.rows.iter().map(RecordBatch::num_rows).sum();
    assert!(shared < KEYS as usize && !snapshot.later.is_empty(), "{shared} rows have no dead ones beside them");
    assert_eq!(sorted(sealed(&state)), all(&state));
}
