//! How files become rows.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use tidegate_api::{DynSource, prelude::*};

use crate::support::{World, at, batches, plan, rows, values};

async fn read(format: &str, content: &[u8]) -> Vec<String> {
    let world = World::new();
    world.write("a", 0, content);
    let mut source = world.source(&[("format", format)]).await;
    assert_eq!(plan(&mut *source, -1, ReadLimit::NONE).await, 0);
    rows(&*source, -1, 0).await
}

#[tokio::test]
async fn json_lines_are_documents_and_blank_ones_do_not_count() {
    let content = b"\xEF\xBB\xBF{\"a\":1}\r\n\n  \r\n{\"a\":2}\n{\"a\": \"\xed\x95\x9c\"}\n\t{}";
    assert_eq!(read("json", content).await, ["{\"a\":1}", "{\"a\":2}", "{\"a\": \"한\"}", "\t{}"]);
    assert!(read("json", b"").await.is_empty());
    assert!(read("json", b"\n\n").await.is_empty());
}

#[tokio::test]
async fn text_lines_are_rows_and_bad_bytes_are_replaced() {
    assert_eq!(read("text", b"a\r\n\n \xffb\nlast").await, ["a", "", " \u{fffd}b", "last"]);
}

#[tokio::test]
async fn the_format_follows_the_schema_unless_it_is_named() {
    let mut world = World::new();
    let kind = |source: Box<dyn DynSource>| match source.payload() {
        Payload::Rows(schema) => ("rows", schema.field(0).data_type().clone()),
        Payload::Records(schema) => ("records", schema.field(0).data_type().clone()),
    };
    assert_eq!(kind(world.source(&[]).await), ("rows", DataType::Utf8));
    assert_eq!(kind(world.source(&[("format", "JSON")]).await), ("records", DataType::Binary));
    world.schema = Some(Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)])));
    assert_eq!(kind(world.source(&[]).await), ("records", DataType::Binary));
    assert_eq!(kind(world.source(&[("format", "text")]).await), ("rows", DataType::Utf8));
}

#[tokio::test]
async fn big_files_are_cut_at_lines_wherever_the_cuts_fall() {
    let world = World::new();
    // Lines of 0 to 300 bytes, so that cuts fall in, before and after line feeds.
    let lines: Vec<_> = (0..40_000).map(|it| format!("{it}:{}", "x".repeat(it * 7 % 300))).collect();
    world.write("a", 0, lines.join("\n"));
    world.write("b", 1, "small\n");
    let mut source = world.source(&[]).await;
    plan(&mut *source, -1, ReadLimit::NONE).await;
    let range = OffsetRange { start: at(-1), end: at(0) };
    let mut expected = lines;
    expected.push("small".to_owned());
    for (max, count) in [(1, 2), (2, 2), (3, 3), (8, 6), (1000, 6)] {
        let splits = source.splits(range.clone(), max).unwrap();
        assert_eq!(splits.len(), count, "{max}");
        assert!(splits.is_sorted_by_key(|it| it.partition.clone()));
        assert!(splits[0].partition.name.ends_with("/in/a"));
        let batches = batches(&*source, range.clone(), max).await.unwrap();
        assert!(batches.iter().all(|it| it.num_rows() <= 32 << 10));
        assert!(values(&batches) == expected, "{max} splits give other rows");
    }
}

#[tokio::test]
async fn a_split_reads_the_same_again_beside_the_next_plan() {
    let world = World::new();
    world.write("a", 0, "1\n2\n");
    let mut source = world.source(&[]).await;
    plan(&mut *source, -1, ReadLimit::NONE).await;
    let before = rows(&*source, -1, 0).await;
    world.write("b", 1, "3\n");
    assert_eq!(plan(&mut *source, 0, ReadLimit::NONE).await, 1);
    assert_eq!(rows(&*source, -1, 0).await, before);
    assert_eq!(rows(&*source, -1, 1).await, ["1", "2", "3"]);
}

#[tokio::test]
async fn batches_are_as_long_as_the_query_asks() {
    let world = World::new();
    world.write("a", 0, "x\n".repeat(1000));
    let mut source = world.source(&[]).await;
    let scan = ScanRequest { projection: vec![FieldPath::column("value")], filters: vec![], batch_rows: 300 };
    assert_eq!(source.bind(&scan).unwrap().schema, *source.payload().schema());
    plan(&mut *source, -1, ReadLimit::NONE).await;
    let batches = batches(&*source, OffsetRange { start: at(-1), end: at(0) }, 1).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [300, 300, 300, 100]);
}

#[tokio::test]
async fn batches_of_long_lines_are_bounded_in_bytes() {
    let world = World::new();
    world.write("a", 0, format!("{}\n", "x".repeat(3 << 20)).repeat(8));
    let mut source = world.source(&[]).await;
    plan(&mut *source, -1, ReadLimit::NONE).await;
    let batches = batches(&*source, OffsetRange { start: at(-1), end: at(0) }, 1).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [3, 3, 2]);
}

#[tokio::test]
async fn a_line_without_end_is_a_data_error_that_says_where() {
    let world = World::new();
    world.write("a", 0, [b"ok\n".to_vec(), vec![b'x'; (64 << 20) + 1]].concat());
    let mut source = world.source(&[]).await;
    plan(&mut *source, -1, ReadLimit::NONE).await;
    let error = batches(&*source, OffsetRange { start: at(-1), end: at(0) }, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().ends_with("in/a: the line at byte 3 is longer than 67108864 bytes"), "{error}");
}
