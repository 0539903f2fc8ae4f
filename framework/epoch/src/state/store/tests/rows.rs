//! States of several rows a key, against a map from row numbers to rows.

use arrow_array::{ArrayRef, BooleanArray};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::*;
use crate::state::{RowRef, decode_deltas, decode_snapshot};

/// Key, pane, number, flag.
type Cell = (i64, Option<i64>, i64, bool);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, false),
        Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("row", DataType::Int64, false),
        Field::new("matched", DataType::Boolean, false),
    ]))
}

fn state(pane_in_key: bool) -> KeyedState {
    KeyedState::new(StateLayout {
        operator: "join".into(),
        layout: "key,time,row,matched".into(),
        schema: schema(),
        key_columns: if pane_in_key { vec![0, 1] } else { vec![0] },
        pane_column: Some(1),
        row_column: Some(2),
    })
    .unwrap()
}

fn keys(state: &KeyedState, wanted: &[(i64, Option<i64>)]) -> Vec<ArrayRef> {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(wanted.iter().map(|it| it.0)));
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter(wanted.iter().map(|it| it.1)));
    [keys, times].into_iter().take(state.layout().key_columns.len()).collect()
}

fn batch(cells: &[Cell]) -> RecordBatch {
    let keys = Int64Array::from_iter_values(cells.iter().map(|it| it.0));
    let times = TimestampMicrosecondArray::from_iter(cells.iter().map(|it| it.1));
    let ids = Int64Array::from_iter_values(cells.iter().map(|it| it.2));
    let flags = BooleanArray::from_iter(cells.iter().map(|it| Some(it.3)));
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(times), Arc::new(ids), Arc::new(flags)];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn cells(columns: &[ArrayRef]) -> Vec<Cell> {
    let (keys, ids) = (columns[0].as_primitive::<Int64Type>(), columns[2].as_primitive::<Int64Type>());
    let (times, flags) = (columns[1].as_primitive::<TimestampMicrosecondType>(), columns[3].as_boolean());
    let cell =
        |it: usize| (keys.value(it), times.is_valid(it).then(|| times.value(it)), ids.value(it), flags.value(it));
    (0..keys.len()).map(cell).collect()
}

fn of_batches(batches: &[RecordBatch]) -> Vec<Cell> {
    let mut all: Vec<Cell> = batches.iter().flat_map(|it| cells(it.columns())).collect();
    all.sort();
    all
}

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<(i64, Option<i64>)>),
    Flag(Vec<i64>),
    Remove(Vec<i64>),
    Evict(i64, bool),
    Seal,
    Discard,
    Restore,
}

struct Pair {
    state: KeyedState,
    sealed: BTreeMap<i64, Cell>,
    now: BTreeMap<i64, Cell>,
    pane_in_key: bool,
    budget: Option<Budget>,
    base: OperatorSnapshot,
    deltas: Vec<OperatorDelta>,
}

impl Pair {
    /// The rows of a key as the state finds them, in pages of `most`.
    fn found(&self, wanted: &[(i64, Option<i64>)], range: Option<(i64, i64)>, most: usize) -> Vec<(u32, RowRef)> {
        let mut probe = self.state.probe(&keys(&self.state, wanted), wanted.len()).unwrap();
        if let Some((from, to)) = range {
            let all = |value| Int64Array::from_iter_values(wanted.iter().map(|_| value));
            probe = probe.within(all(from), all(to));
        }
        let (mut found, mut from) = (Vec::new(), 0);
        while from < wanted.len() {
            let (matches, next) = self.state.matches(&probe, from, most).unwrap();
            found.extend(matches.probe.into_iter().zip(matches.rows));
            from = next;
        }
        found
    }

    fn refs(&self, ids: &[i64]) -> Vec<RowRef> {
        let wanted: Vec<_> = ids.iter().filter_map(|it| self.now.get(it)).map(|it| (it.0, it.1)).collect();
        let found: Vec<RowRef> = self.found(&wanted, None, 3).into_iter().map(|it| it.1).collect();
        let cells = cells(&self.state.take(&found, &[0, 1, 2, 3]).unwrap());
        found.into_iter().zip(cells).filter(|it| ids.contains(&it.1.2)).map(|it| it.0).collect()
    }

    fn run(&mut self, op: &Op) -> TestCaseResult {
        match op {
            Op::Append(rows) => {
                let first = self.state.next_row();
                let rows: Vec<Cell> = (first..).zip(rows).map(|(id, it)| (it.0, it.1, id, false)).collect();
                let wanted: Vec<_> = rows.iter().map(|it| (it.0, it.1)).collect();
                let probe = self.state.probe(&keys(&self.state, &wanted), rows.len()).unwrap();
                match first % 3 {
                    // As a checkpoint's rows come.
                    0 => self.state.put(batch(&rows)).unwrap(),
                    it => self.state.append(&batch(&rows), (it == 1).then_some(&probe)).unwrap(),
                }
                self.now.extend(rows.into_iter().map(|it| (it.2, it)));
            }
            Op::Flag(ids) => {
                let refs = self.refs(ids);
                self.state.set_flags(&refs, 3).unwrap();
                self.now.values_mut().filter(|it| ids.contains(&it.2)).for_each(|it| it.3 = true);
            }
            Op::Remove(ids) => {
                let refs = self.refs(ids);
                self.state.remove_rows(&refs);
                self.now.retain(|id, _| !ids.contains(id));
            }
            Op::Evict(through, unflagged) => {
                let over = |it: &Cell| it.1.is_some_and(|it| it <= *through);
                let gone: Vec<Cell> = self.now.values().copied().filter(over).collect();
                self.now.retain(|_, it| !over(it));
                let (rows, count) = self.state.evict_unless(*through, unflagged.then_some(3)).unwrap();
                prop_assert_eq!(count, gone.len() as u64);
                let mut shown: Vec<Cell> = gone.into_iter().filter(|it| *unflagged && !it.3).collect();
                shown.sort();
                prop_assert_eq!(of_batches(&[rows]), shown);
            }
            Op::Seal => {
                self.deltas.extend(self.state.delta().unwrap());
                self.state.seal();
                self.budget.iter().for_each(|it| it.keep(&mut self.state));
                self.sealed = self.now.clone();
                if self.deltas.len() % 5 == 4 {
                    (self.base, self.deltas) = (self.state.snapshot(), Vec::new());
                }
            }
            Op::Discard => {
                self.state.discard();
                self.now = self.sealed.clone();
            }
            Op::Restore => {
                let base = decode_snapshot(&encode_snapshot(std::slice::from_ref(&self.base)).unwrap()).unwrap();
                let mut restored = state(self.pane_in_key);
                restored.load(&base[0]).unwrap();
                for delta in decode_deltas(&encode_deltas(&self.deltas).unwrap()).unwrap() {
                    restored.apply(&delta).unwrap();
                    self.budget.iter().for_each(|it| it.keep(&mut restored));
                }
                self.state.discard();
                self.now = self.sealed.clone();
                let mut now: Vec<Cell> = self.now.values().copied().collect();
                now.sort();
                prop_assert_eq!(of_batches(&told(self.state.layout(), &self.base, &self.deltas)), now);
                self.state = restored;
            }
        }
        self.check()
    }

    fn check(&self) -> TestCaseResult {
        let mut now: Vec<Cell> = self.now.values().copied().collect();
        now.sort();
        prop_assert_eq!(of_batches(&self.state.all().unwrap()), now);
        prop_assert_eq!(self.state.len(), self.now.len());
        let mut sealed: Vec<Cell> = self.sealed.values().copied().collect();
        sealed.sort();
        prop_assert_eq!(self.state.first_pane(), sealed.iter().filter_map(|it| it.1).min());
        prop_assert_eq!(of_batches(&snapshot_rows(&self.state)), sealed);
        let panes = panes();
        let wanted: Vec<(i64, Option<i64>)> = (0..5).flat_map(|key| panes.iter().map(move |it| (key, *it))).collect();
        for range in [None, Some((0, S)), Some((S, 3 * S))] {
            let found = self.found(&wanted, range, 7);
            let refs: Vec<RowRef> = found.iter().map(|it| it.1).collect();
            let pairs: Vec<(u32, Cell)> =
                found.iter().map(|it| it.0).zip(cells(&self.state.take(&refs, &[0, 1, 2, 3]).unwrap())).collect();
            let within = |it: &Cell| range.is_none_or(|(a, b)| it.1.is_some_and(|pane| a <= pane && pane <= b));
            let same =
                |it: &Cell, wanted: (i64, Option<i64>)| it.0 == wanted.0 && (!self.pane_in_key || it.1 == wanted.1);
            // In the order in which they were added.
            let expected: Vec<(u32, Cell)> = (0u32..)
                .zip(&wanted)
                .flat_map(|(at, wanted)| {
                    let rows = self.now.values().filter(|it| within(it) && same(it, *wanted));
                    rows.map(move |it| (at, *it)).collect::<Vec<_>>()
                })
                .collect();
            prop_assert_eq!(pairs, expected, "in {:?}", range);
        }
        Ok(())
    }
}

fn panes() -> Vec<Option<i64>> {
    vec![None, Some(-1), Some(0), Some(400_000), Some(S - 1), Some(S), Some(5 * S / 2), Some(7 * S)]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let row = (0i64..5, prop::sample::select(panes()));
    let some = || prop::collection::vec(0i64..60, 0..8);
    let through = prop::sample::select(vec![-2, -1, 0, 400_000, S - 1, S, 3 * S]);
    let op = prop_oneof![
        6 => prop::collection::vec(row, 0..12).prop_map(Op::Append),
        3 => some().prop_map(Op::Flag),
        2 => some().prop_map(Op::Remove),
        1 => (through, any::<bool>()).prop_map(|it| Op::Evict(it.0, it.1)),
        5 => Just(Op::Seal),
        1 => Just(Op::Discard),
        1 => Just(Op::Restore),
    ];
    prop::collection::vec(op, 1..60)
}

#[test]
fn random_operations_agree_with_a_model() {
    random_cases(350, &(any::<bool>(), budgets(), ops()), |(pane_in_key, budget, ops)| {
        let state = state(pane_in_key);
        let (base, empty) = (state.snapshot(), BTreeMap::new());
        let (budget, deltas) = (budget.map(Budget::new), Vec::new());
        let mut pair = Pair { state, sealed: empty.clone(), now: empty, pane_in_key, budget, base, deltas };
        ops.iter().try_for_each(|op| pair.run(op))
    });
}

/// One key with very many rows costs no more than many keys: runs are searched, not walked.
#[test]
fn a_hot_key_is_found_by_its_panes() {
    let mut state = state(false);
    let started = std::time::Instant::now();
    for epoch in 0..100i64 {
        let first = state.next_row();
        let rows: Vec<Cell> = (0..1000).map(|it| (1, Some(epoch * S + it * 1000), first + it, false)).collect();
        state.append(&batch(&rows), None).unwrap();
        state.seal();
    }
    let wanted: Vec<(i64, Option<i64>)> = (0..1000).map(|_| (1, None)).collect();
    let bound = |by: i64| Int64Array::from_iter_values((0..1000).map(|it| it * 100_000 + by));
    let probe = state.probe(&keys(&state, &wanted), wanted.len()).unwrap().within(bound(0), bound(1999));
    let (matches, next) = state.matches(&probe, 0, usize::MAX).unwrap();
    assert_eq!((matches.rows.len(), next), (2000, 1000));
    // A walk over the runs would look at 100 million rows.
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

/// Where all columns are keys, in another order, what a delta removes must not be taken for whole rows.
#[test]
fn removed_rows_of_keys_in_another_order_stay_removed() {
    let number = |name| Field::new(name, DataType::Int64, false);
    let layout = StateLayout {
        operator: "join".into(),
        layout: "a,b,row".into(),
        schema: Arc::new(Schema::new(vec![number("a"), number("b"), number("row")])),
        key_columns: vec![1, 0],
        pane_column: None,
        row_column: Some(2),
    };
    let mut state = KeyedState::new(layout.clone()).unwrap();
    let columns: Vec<ArrayRef> = [1, 2, 0].into_iter().map(|it| Arc::new(Int64Array::from(vec![it])) as _).collect();
    state.append(&RecordBatch::try_new(layout.schema.clone(), columns).unwrap(), None).unwrap();
    state.seal();
    let base = state.snapshot();
    let keys: [ArrayRef; 2] = [Arc::new(Int64Array::from(vec![2])), Arc::new(Int64Array::from(vec![1]))];
    let probe = state.probe(&keys, 1).unwrap();
    let (found, _) = state.matches(&probe, 0, 10).unwrap();
    state.remove_rows(&found.rows);
    let delta = state.delta().unwrap().unwrap();
    let mut restored = KeyedState::new(layout.clone()).unwrap();
    restored.load(&base).unwrap();
    restored.apply(&delta).unwrap();
    assert_eq!((found.rows.len(), restored.len()), (1, 0));
    assert!(told(&layout, &base, &[delta]).iter().all(|it| it.num_rows() == 0));
}

#[test]
fn a_row_is_added_once() {
    let mut state = state(false);
    state.append(&batch(&[(1, None, 0, false), (1, None, 1, false)]), None).unwrap();
    let error = state.append(&batch(&[(2, None, 1, false)]), None).unwrap_err();
    assert!(error.to_string().contains("operator 'join': a row is added twice"), "{error}");
    let error = state.put(batch(&[(1, None, 1, true), (1, None, 1, false)])).unwrap_err();
    assert!(error.to_string().contains("a key is put twice"), "{error}");
}
