//! The files in `tests/golden` were made by Spark 4.2.1 on Java 17, session time zone UTC: `stream_*` by its console
//! sink from a stream, the others by `Dataset.showString` of the same frames, followed by `println`'s line feed.

use arrow_array::RecordBatch;

use crate::frames;
use crate::support::print;

const HEAD: &str =
    "-------------------------------------------\nBatch: 0\n-------------------------------------------\n";

async fn check(name: &str, frame: RecordBatch, num_rows: &str, truncate: &str) {
    let path = format!("tests/golden/{name}.txt");
    let golden = std::fs::read_to_string(path).unwrap();
    let head = if name.starts_with("stream_") { "" } else { HEAD };
    let printed = print(0, &[frame], &[("num.rows", num_rows), ("truncate", truncate)]).await;
    assert_eq!(printed, format!("{head}{golden}"), "{name} differs:\n{printed}\n{golden}");
}

#[tokio::test]
async fn whole_epochs_are_as_spark_prints_them() {
    let words = [("pyspark", 1), ("spark", 2), ("graphx", 1), ("sql", 1), ("streaming", 1)];
    check("stream_words", frames::words(&words), "20", "true").await;
    check("stream_empty", frames::frame(vec![("value", frames::empty().column(1).clone())]), "20", "true").await;
    check("stream_cut", frames::longs("n", (1..=15).chain(1..=15)), "20", "true").await;
    let lines = frames::words(&[("spark sql streaming", 0), ("spark graphx pyspark", 0)]);
    check("stream_left", frames::frame(vec![("value", lines.column(0).clone())]), "20", "false").await;
}

#[tokio::test]
async fn rows_beyond_the_limit_are_told_of() {
    check("twenty", frames::longs("id", 0..25), "20", "true").await;
    check("long_one", frames::long(), "1", "true").await;
    check("long_none", frames::long(), "0", "20").await;
    check("empty", frames::empty(), "20", "true").await;
    check("long", frames::long(), "3", "true").await;
}

#[tokio::test]
async fn cells_are_cut_headers_are_not() {
    check("long", frames::long(), "20", "true").await;
    check("long_5", frames::long(), "20", "5").await;
    check("long_4", frames::long(), "20", "4").await;
    check("long_3", frames::long(), "20", "3").await;
    check("long_left", frames::long(), "20", "false").await;
    let words = [("graphx", 1), ("streaming", 1), ("sql", 1), ("spark", 2), ("pyspark", 1)];
    check("words_left", frames::words(&words), "20", "0").await;
    check("nested_cut", frames::nested_cut(), "20", "20").await;
    check("narrow", frames::narrow(), "20", "true").await;
}

#[tokio::test]
async fn wide_characters_take_two_columns_and_are_cut_by_utf16() {
    check("unicode", frames::unicode(), "20", "true").await;
    check("unicode_left", frames::unicode(), "20", "false").await;
}

#[tokio::test]
async fn control_characters_are_written_out() {
    check("control", frames::control(), "20", "true").await;
    check("control_left", frames::control(), "20", "false").await;
}

#[tokio::test]
async fn all_types_look_as_in_spark() {
    check("nulls", frames::nulls(), "20", "true").await;
    check("doubles", frames::doubles(), "50", "false").await;
    check("floats", frames::floats(), "50", "false").await;
    check("times", frames::times(), "50", "false").await;
    check("nested", frames::nested(), "20", "false").await;
    check("binary", frames::binary(), "20", "false").await;
    check("decimals", frames::decimals(), "20", "false").await;
    check("whole", frames::whole(), "20", "true").await;
}
