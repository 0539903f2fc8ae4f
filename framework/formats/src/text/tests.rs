use arrow_array::Array;

use super::*;

fn texts(array: &StringArray) -> Vec<Option<&str>> {
    array.iter().collect()
}

#[test]
fn valid_values_are_not_copied() {
    let bytes = BinaryArray::from_opt_vec(vec![Some("käse".as_bytes()), None, Some(b"")]);
    let text = binary_to_string(&bytes).unwrap();
    assert_eq!(texts(&text), [Some("käse"), None, Some("")]);
    assert_eq!(text.value_data().as_ptr(), bytes.value_data().as_ptr());
}

#[test]
fn a_slice_is_judged_by_its_own_values() {
    let bytes = BinaryArray::from_opt_vec(vec![Some(b"\xff".as_slice()), Some(b"a"), Some(b"bc"), Some(b"\xfe")]);
    let slice = bytes.slice(1, 2);
    let text = binary_to_string(&slice).unwrap();
    assert_eq!(texts(&text), [Some("a"), Some("bc")]);
    assert_eq!(text.value_data().as_ptr(), slice.value(0).as_ptr());
}

#[test]
fn invalid_sequences_become_replacement_characters() {
    let bytes = BinaryArray::from_opt_vec(vec![Some(b"a\xffb".as_slice()), None, Some("ü".as_bytes())]);
    assert_eq!(texts(&binary_to_string(&bytes).unwrap()), [Some("a\u{fffd}b"), None, Some("ü")]);
}

#[test]
fn a_character_cut_by_a_value_boundary_is_invalid_on_both_sides() {
    let bytes = BinaryArray::from_opt_vec(vec![Some(b"\xc3".as_slice()), Some(b"\xbc")]);
    assert_eq!(texts(&binary_to_string(&bytes).unwrap()), [Some("\u{fffd}"), Some("\u{fffd}")]);
}

#[test]
fn no_values_give_no_values() {
    let bytes = BinaryArray::from_opt_vec(vec![Some(b"abc".as_slice())]).slice(1, 0);
    assert_eq!(binary_to_string(&bytes).unwrap().len(), 0);
}
