use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};

use super::*;

fn epoch() -> Epoch {
    let attempt = "1.0".parse().unwrap();
    Epoch { number: 7, attempt, time_ms: 5_000, write_time_us: 0, watermark_ms: None }
}

fn rows(texts: &[&str]) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, true)]));
    RecordBatch::try_new(schema, vec![Arc::new(StringArray::from_iter_values(texts))]).unwrap()
}

fn rules(to_text: impl Fn(&RecordBatch) -> Result<StringArray> + Send + Sync + 'static) -> Rules {
    Rules { tolerance: Tolerance::All, log: true, wanted: true, to_text: Some(Arc::new(to_text)) }
}

fn first_column(batch: &RecordBatch) -> Result<StringArray> {
    Ok(batch.column(0).as_string::<i32>().clone())
}

fn rejected(rows: &[usize]) -> Vec<Rejected> {
    rows.iter().map(|row| Rejected { row: *row, error: Error::data(format!("row {row} is odd")) }).collect()
}

#[test]
fn a_letter_tells_where_when_why_and_what() {
    let batch = rows(&["a", "b", "c"]);
    let letters =
        rules(first_column).letters(Step::Write, "table", &epoch(), &batch, &rejected(&[2, 0])).unwrap().unwrap();
    assert_eq!(letters.schema(), dead_letter_schema());
    let text =
        |at: usize| letters.column(at).as_string::<i32>().iter().map(|it| it.unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!((text(0), text(1)), (vec!["write".to_owned(); 2], vec!["table".to_owned(); 2]));
    assert_eq!(letters.column(2).as_primitive::<Int64Type>().values(), &[7, 7]);
    assert_eq!(letters.column(3).as_primitive::<TimestampMicrosecondType>().values(), &[5_000_000, 5_000_000]);
    assert_eq!(
        (text(4), text(5)),
        (vec!["data".to_owned(); 2], vec!["row 2 is odd".to_owned(), "row 0 is odd".into()])
    );
    assert_eq!(text(6), ["c", "a"]);
}

#[test]
fn a_long_row_is_shortened_and_still_json() {
    let long = format!("{{\"é\":\"{}\"}}", "ü".repeat(MOST_TEXT));
    let letters = rules(move |_| Ok(StringArray::from(vec![long.as_str()])));
    let letters = letters.letters(Step::Decode, "s", &epoch(), &rows(&["a"]), &rejected(&[0])).unwrap().unwrap();
    let text = letters.column(6).as_string::<i32>().value(0);
    let serde_json::Value::String(beginning) = serde_json::from_str(text).unwrap() else { panic!("{}", &text[..20]) };
    assert!(beginning.starts_with("{\"é\":\"ü") && beginning.len() <= MOST_TEXT && beginning.len() > MOST_TEXT - 4);
}

#[test]
fn rows_without_a_text_are_letters_too() {
    let broken = rules(|_| Err(Error::data("no JSON for this type")));
    let letters = broken.letters(Step::Write, "t", &epoch(), &rows(&["a"]), &rejected(&[0])).unwrap().unwrap();
    assert!(letters.column(6).is_null(0));
    let error = rules(first_column).letters(Step::Write, "t", &epoch(), &rows(&["a"]), &rejected(&[3])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}

#[test]
fn nobody_wants_them() {
    let rules = Rules { wanted: false, ..rules(first_column) };
    assert!(rules.letters(Step::Write, "t", &epoch(), &rows(&["a"]), &rejected(&[0])).unwrap().is_none());
}
