//! A chain in thirty lines, with mistakes to choose from: what the random cases can see.

use std::collections::BTreeMap;

use proptest::strategy::Strategy;

use super::{Case, Event, Query};
use crate::harness::random_cases;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
    None,
    /// Nothing is taken back.
    OnlyAdds,
    /// What is taken back is not the row that was there.
    TakesTheNewRow,
    /// Groups without rows stay.
    KeepsGone,
    /// The largest value never falls.
    GreatestOnly,
    /// Each epoch the lower state begins anew.
    ForgetsTheOldRow,
}

pub(super) fn query() -> Query {
    Query { stream: String::new(), batch: String::new() }
}

/// `SELECT n, count(*), sum(s), max(s) FROM (SELECT k, count(*) AS n, sum(v) AS s … GROUP BY k) GROUP BY n`
type Upper = BTreeMap<i64, (i64, i64, Option<i64>)>;

fn lower(events: &[Event]) -> BTreeMap<i64, (i64, i64)> {
    let mut groups = BTreeMap::<_, (i64, i64)>::new();
    for event in events {
        let group = groups.entry(event.k).or_default();
        *group = (group.0 + 1, group.1 + event.v.unwrap_or(0));
    }
    groups
}

fn batch(events: &[Event]) -> Upper {
    let mut upper = Upper::new();
    for (n, s) in lower(events).into_values() {
        let group = upper.entry(n).or_insert((0, 0, None));
        *group = (group.0 + 1, group.1 + s, group.2.max(Some(s)));
    }
    upper
}

/// Rows and sum of a group of the upper aggregation, and its values with how often each is there.
type Kept = (i64, i64, BTreeMap<i64, i64>);

fn by_changes(epochs: &[Vec<Event>], mistake: Mistake) -> Upper {
    let mut kept = BTreeMap::<i64, Kept>::new();
    let mut so_far = Vec::new();
    for events in epochs {
        let before = if mistake == Mistake::ForgetsTheOldRow { BTreeMap::new() } else { lower(&so_far) };
        so_far.extend(events.iter().copied());
        for (k, new) in lower(&so_far) {
            let old = before.get(&k).filter(|_| mistake != Mistake::OnlyAdds);
            let old = old.map(|it| if mistake == Mistake::TakesTheNewRow { new } else { *it });
            for ((n, s), change) in old.map(|it| (it, -1)).into_iter().chain([(new, 1)]) {
                let group = kept.entry(n).or_default();
                (group.0, group.1) = (group.0 + change, group.1 + change * s);
                *group.2.entry(s).or_default() += change;
                if mistake != Mistake::GreatestOnly {
                    group.2.retain(|_, times| *times != 0);
                }
            }
        }
        if mistake != Mistake::KeepsGone {
            kept.retain(|_, group| group.0 != 0);
        }
    }
    kept.into_iter().map(|(n, (rows, sum, values))| (n, (rows, sum, values.into_keys().next_back()))).collect()
}

/// The sound chain is right in all cases, and each mistake wrong in some.
pub(super) fn each_mistake_is_seen(cases: &impl Strategy<Value = Case>) {
    use Mistake::{ForgetsTheOldRow, GreatestOnly, KeepsGone, OnlyAdds, TakesTheNewRow};
    for mistake in [Mistake::None, OnlyAdds, TakesTheNewRow, KeepsGone, GreatestOnly, ForgetsTheOldRow] {
        let wrong = std::cell::Cell::new(0);
        random_cases(60)
            .run(cases, |case| {
                let all: Vec<Event> = case.epochs.iter().flatten().copied().collect();
                wrong.set(wrong.get() + u32::from(by_changes(&case.epochs, mistake) != batch(&all)));
                Ok(())
            })
            .unwrap();
        assert_eq!(mistake != Mistake::None, wrong.get() > 0, "{mistake:?} is wrong in {} cases", wrong.get());
    }
}
