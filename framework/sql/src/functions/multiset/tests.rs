use super::*;

use arrow_array::StringArray;

fn texts(of: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(of.to_vec()))
}

fn changes(of: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(of.to_vec()))
}

/// A partial state of two groups.
fn part(asked: Asked, rows: &[(usize, Option<&str>, i64)]) -> Vec<ArrayRef> {
    let mut part = Multisets::new(asked, DataType::Utf8);
    let (values, times): (Vec<_>, Vec<_>) = rows.iter().map(|it| (it.1, it.2)).unzip();
    let groups: Vec<usize> = rows.iter().map(|it| it.0).collect();
    part.update_batch(&[texts(&values), changes(&times)], &groups, None, 2).unwrap();
    part.state(EmitTo::All).unwrap()
}

fn merged(asked: Asked, parts: &[Vec<ArrayRef>]) -> Multisets {
    let mut all = Multisets::new(asked, DataType::Utf8);
    parts.iter().for_each(|it| all.merge_batch(it, &[0, 1], 2).unwrap());
    all
}

fn shown(asked: Asked, parts: &[Vec<ArrayRef>]) -> ArrayRef {
    merged(asked, parts).evaluate(EmitTo::All).unwrap()
}

#[test]
fn what_is_taken_back_counts_no_more() {
    let rows = [(0, Some("b"), 1), (0, Some("a"), 1), (0, Some("b"), 1), (1, Some("c"), 1), (1, None, 1)];
    // Taken back before it came: parts come in any order.
    let back = [(0, Some("a"), -1), (0, Some("b"), -1), (1, Some("c"), -1)];
    for order in [[&rows[..], &back], [&back, &rows[..]]] {
        let parts = |asked| order.map(|it| part(asked, it));
        assert_eq!(&shown(Asked::Least, &parts(Asked::Least)), &texts(&[Some("b"), None]));
        assert_eq!(&shown(Asked::Greatest, &parts(Asked::Greatest)), &texts(&[Some("b"), None]));
        assert_eq!(&shown(Asked::Different, &parts(Asked::Different)), &changes(&[1, 0]));
    }
}

#[test]
fn the_first_groups_can_be_taken_out() {
    let mut all = merged(Asked::Greatest, &[part(Asked::Greatest, &[(0, Some("a"), 1), (1, Some("x"), 2)])]);
    assert_eq!(&all.evaluate(EmitTo::First(1)).unwrap(), &texts(&[Some("a")]));
    all.update_batch(&[texts(&[Some("x"), Some("b")]), changes(&[-1, 1])], &[0, 0], None, 1).unwrap();
    let state = all.state(EmitTo::All).unwrap();
    assert_eq!(&flat(state[0].as_list()), &texts(&[Some("b"), Some("x")]));
    assert_eq!(&flat(state[1].as_list()), &changes(&[1, 1]));
    assert_eq!(all.groups, 0);
}

#[test]
fn a_filter_leaves_rows_out_and_a_row_can_be_a_state() {
    let values = [texts(&[Some("a"), Some("b"), Some("c")]), changes(&[1, 1, -1])];
    let filter = BooleanArray::from(vec![Some(true), None, Some(true)]);
    let one = Multisets::new(Asked::Least, DataType::Utf8);
    let states = one.convert_to_state(&values, Some(&filter)).unwrap();
    let lengths: Vec<_> = states[0].as_list::<i32>().offsets().lengths().collect();
    assert_eq!(lengths, [1, 0, 1]);
    assert_eq!(&flat(states[1].as_list()), &changes(&[1, -1]));
}
