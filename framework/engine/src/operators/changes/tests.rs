use arrow_array::StringArray;

use super::*;

fn rows(of: &[&str]) -> RecordBatch {
    let names: ArrayRef = Arc::new(StringArray::from(of.to_vec()));
    RecordBatch::try_from_iter([("name", names)]).unwrap()
}

fn shown(all: &[RecordBatch]) -> Vec<(String, i64)> {
    let of = |it: &RecordBatch| {
        let names = it.column(0).as_string::<i32>().iter().map(|it| it.unwrap().to_owned()).collect::<Vec<_>>();
        names.into_iter().zip(it.column(1).as_primitive::<Int64Type>().values().to_vec()).collect::<Vec<_>>()
    };
    all.iter().flat_map(of).collect()
}

#[test]
fn what_stays_as_it_was_is_no_change() {
    let found = changes(&[rows(&["a", "b"]), rows(&["c"])], &[rows(&["b", "d", "a"])]).unwrap();
    assert_eq!(shown(&found), [("c".to_owned(), -1), ("d".to_owned(), 1)]);
    assert!(changes(&[rows(&["a"])], &[rows(&["a"])]).unwrap().is_empty());
    assert_eq!(shown(&changes(&[], &[rows(&["a"])]).unwrap()), [("a".to_owned(), 1)]);
    assert!(changes(&[], &[]).unwrap().is_empty());
}

#[test]
fn equal_rows_cancel_one_by_one() {
    let found = changes(&[rows(&["a", "a", "a"])], &[rows(&["a", "b", "b"])]).unwrap();
    let change = |name: &str, change| (name.to_owned(), change);
    assert_eq!(shown(&found), [change("a", -1), change("a", -1), change("b", 1), change("b", 1)]);
}
