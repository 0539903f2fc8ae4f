//! What several rows of a key come to.

use super::*;
use crate::cells::{NULL, UNSET};

fn cell(value: u8) -> Vec<u8> {
    vec![0, 0, 0, 1, value]
}

fn row(cells: &[&[u8]]) -> Op {
    Op::write(&cells.concat())
}

fn memory() -> MemoryBudget {
    MemoryBudget::new(1 << 20)
}

fn only(rows: Rows) -> Op {
    let all = merged(&[Arc::new(rows)]);
    assert_eq!(all.len(), 1);
    all[0].1.clone()
}

fn reduced(ops: impl IntoIterator<Item = Op>) -> Op {
    let mut rows = Rows::default();
    ops.into_iter().for_each(|op| rows.add(b"k", op, &memory()).unwrap());
    only(rows)
}

#[test]
fn the_last_of_a_hundred_wins() {
    assert_eq!(reduced((0..100).map(|it| row(&[&cell(it), &cell(it)]))), row(&[&cell(99), &cell(99)]));
}

#[test]
fn nulls_remove_and_unset_cells_leave() {
    let first = row(&[&cell(1), &cell(2)]);
    assert_eq!(reduced([first.clone(), row(&[&NULL, &cell(3)])]), row(&[&NULL, &cell(3)]));
    assert_eq!(reduced([first.clone(), row(&[&UNSET, &cell(3)])]), row(&[&cell(1), &cell(3)]));
    assert_eq!(reduced([row(&[&NULL, &cell(2)]), row(&[&UNSET, &UNSET])]), row(&[&NULL, &cell(2)]));
}

#[test]
fn a_delete_clears_what_was_before_it() {
    let (one, two) = (row(&[&cell(1), &cell(2)]), row(&[&UNSET, &cell(3)]));
    assert_eq!(reduced([one.clone(), Op::delete()]), Op::delete());
    let cleared = Op { clear: true, values: two.values.clone() };
    assert_eq!(reduced([one, Op::delete(), two.clone()]), cleared);
    assert_eq!(
        reduced([Op::delete(), two.clone(), row(&[&cell(4), &UNSET])]),
        Op { clear: true, values: row(&[&cell(4), &cell(3)]).values }
    );
    assert_eq!(reduced([cleared, Op::delete()]), Op::delete());
}

#[test]
fn tasks_follow_each_other() {
    let mut parts = Vec::new();
    for op in [row(&[&cell(1), &cell(1)]), Op::delete(), row(&[&cell(2), &UNSET])] {
        let mut rows = Rows::default();
        rows.add(b"k", op, &memory()).unwrap();
        parts.push(Arc::new(rows));
    }
    let all = merged(&parts);
    assert_eq!(all, [(CellBytes::from(*b"k"), Op { clear: true, values: row(&[&cell(2), &UNSET]).values })]);
}

#[test]
fn memory_is_counted_and_given_back() {
    let memory = MemoryBudget::new(100_000);
    let mut rows = Rows::default();
    for _ in 0..10_000 {
        rows.add(b"the same", row(&[&cell(1)]), &memory).unwrap();
    }
    assert!(memory.used() > 0);
    let error = (0..2000u32).find_map(|it| rows.add(&it.to_be_bytes(), row(&[&cell(1)]), &memory).err()).unwrap();
    assert_eq!(error.kind(), tidegate_api::ErrorKind::Config);
    assert!(error.to_string().contains("max.rows.per.epoch"), "{error}");
    drop(rows);
    assert_eq!(memory.used(), 0);
}
