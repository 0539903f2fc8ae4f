//! Random operations on `KeyedState` and on a `BTreeMap` that says what it must hold.

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::*;
use crate::state::{decode_deltas, decode_snapshot};

#[derive(Clone, Debug)]
enum Op {
    Put(Vec<Row>),
    Remove(Vec<(i64, Option<i64>)>),
    Evict(i64),
    Seal,
    Discard,
    Restore,
}

type Key = (i64, Option<i64>);
type Rows = BTreeMap<Key, Row>;

/// What the state must hold.
#[derive(Clone, Default)]
struct Model {
    sealed: Rows,
    now: Rows,
}

struct Pair {
    state: KeyedState,
    model: Model,
    pane_in_key: bool,
    /// Keys are text.
    texts: bool,
    budget: Option<Budget>,
    base: OperatorSnapshot,
    deltas: Vec<OperatorDelta>,
}

fn empty(pane_in_key: bool, texts: bool) -> KeyedState {
    let layout = layout(pane_in_key);
    let schema = if texts { texts_of(&[]).schema() } else { layout.schema.clone() };
    KeyedState::new(StateLayout { schema, ..layout }).unwrap()
}

impl Pair {
    fn new(pane_in_key: bool, texts: bool, budget: Option<u64>) -> Self {
        let state = empty(pane_in_key, texts);
        let (base, budget) = (state.snapshot(), budget.map(Budget::new));
        Self { state, model: Model::default(), pane_in_key, texts, budget, base, deltas: Vec::new() }
    }

    fn batch(&self, rows: &[Row]) -> RecordBatch {
        if self.texts { texts_of(rows) } else { batch(rows) }
    }

    fn key(&self, key: i64, pane: Option<i64>) -> Key {
        (key, pane.filter(|_| self.pane_in_key))
    }

    fn run(&mut self, op: &Op) -> TestCaseResult {
        match op {
            Op::Put(rows) => {
                let mut once = Rows::new();
                once.extend(rows.iter().map(|it| (self.key(it.0, it.1), *it)));
                let rows: Vec<Row> = once.values().copied().collect();
                self.state.put(self.batch(&rows)).unwrap();
                self.model.now.extend(once);
            }
            Op::Remove(keys) => {
                let rows: Vec<Row> = keys.iter().map(|it| (it.0, it.1, 0)).collect();
                let gone = keys.iter().filter(|it| self.model.now.remove(&self.key(it.0, it.1)).is_some()).count();
                prop_assert_eq!(self.state.remove(&self.batch(&rows)).unwrap(), gone as u64);
            }
            Op::Evict(through) => {
                let over = |row: &Row| row.1.is_some_and(|it| it <= *through);
                let gone: Vec<Row> = self.model.now.values().filter(|it| over(it)).copied().collect();
                self.model.now.retain(|_, row| !over(row));
                let evicted = rows(&[self.state.evict_through(*through).unwrap()]);
                prop_assert_eq!(sorted(evicted), sorted(gone));
            }
            Op::Seal => {
                let delta = self.state.delta().unwrap();
                prop_assert!(delta.is_some() || self.model.now == self.model.sealed);
                self.deltas.extend(delta);
                self.state.seal();
                self.budget.iter().for_each(|it| it.keep(&mut self.state));
                self.model.sealed = self.model.now.clone();
                if self.deltas.len() % 5 == 4 {
                    (self.base, self.deltas) = (self.state.snapshot(), Vec::new());
                }
            }
            Op::Discard => {
                self.state.discard();
                self.model.now = self.model.sealed.clone();
            }
            Op::Restore => {
                let base = decode_snapshot(&encode_snapshot(std::slice::from_ref(&self.base)).unwrap()).unwrap();
                let mut restored = empty(self.pane_in_key, self.texts);
                restored.load(&base[0]).unwrap();
                for delta in decode_deltas(&encode_deltas(&self.deltas).unwrap()).unwrap() {
                    restored.apply(&delta).unwrap();
                    self.budget.iter().for_each(|it| it.keep(&mut restored));
                }
                self.state.discard();
                self.model.now = self.model.sealed.clone();
                prop_assert_eq!(rows(&restored.all().unwrap()), rows(&self.state.all().unwrap()));
                let told = rows(&told(self.state.layout(), &self.base, &self.deltas));
                prop_assert_eq!(sorted(told), self.model.now.values().copied().collect::<Vec<_>>());
                self.state = restored;
            }
        }
        self.check()
    }

    fn check(&self) -> TestCaseResult {
        let now = rows(&self.state.all().unwrap());
        prop_assert_eq!(sorted(now.clone()), sorted(self.model.now.values().copied().collect()));
        let keys = self.state.layout().keys(&self.batch(&now)).unwrap();
        let order: Vec<_> = (0..now.len()).map(|it| (now[it].1, key_hash(keys.value(it)))).collect();
        prop_assert!(order.is_sorted(), "order of {:?}", now);
        prop_assert_eq!(self.state.len(), self.model.now.len());
        prop_assert_eq!(sorted(sealed(&self.state)), sorted(self.model.sealed.values().copied().collect()));
        let wanted: Vec<Row> = self.model.now.values().copied().chain([(77, None, 0), (78, Some(S), 0)]).collect();
        let found = self.state.matching(&self.batch(&wanted)).unwrap();
        prop_assert_eq!(rows(&[found.rows]), &wanted[..self.model.now.len()]);
        prop_assert_eq!(found.of, (0..self.model.now.len()).collect::<Vec<_>>());
        Ok(())
    }
}

fn panes() -> impl Strategy<Value = Option<i64>> {
    prop::sample::select(vec![
        None,
        Some(-1),
        Some(0),
        Some(400_000),
        Some(S - 1),
        Some(S),
        Some(5 * S / 2),
        Some(7 * S),
    ])
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let row = (0i64..24, panes(), 0i64..1000);
    let op = prop_oneof![
        5 => prop::collection::vec(row, 0..12).prop_map(Op::Put),
        2 => prop::collection::vec((0i64..24, panes()), 0..6).prop_map(Op::Remove),
        2 => prop::sample::select(vec![-2, -1, 0, 400_000, S - 1, S, 3 * S, 8 * S]).prop_map(Op::Evict),
        5 => Just(Op::Seal),
        1 => Just(Op::Discard),
        1 => Just(Op::Restore),
    ];
    prop::collection::vec(op, 1..80)
}

#[test]
fn random_operations_agree_with_a_model() {
    random_cases(600, &(any::<[bool; 2]>(), budgets(), ops()), |([pane_in_key, texts], budget, ops)| {
        let mut pair = Pair::new(pane_in_key, texts, budget);
        ops.iter().try_for_each(|op| pair.run(op))
    });
}
