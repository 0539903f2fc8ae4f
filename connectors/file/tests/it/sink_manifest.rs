//! What is written: Spark's manifest, its compact entries, its owner; files and their rows.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, TimeUnit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tidegate_api::prelude::*;

use crate::sink_support::{Table, epoch, prepare, rows, run, spec, writer_id};

#[tokio::test]
async fn entries_are_sparks() {
    let table = Table::disk("json", "spark");
    let sink = table.open().await;
    run(&sink, &epoch(7, 2), &[rows(0..3)]).await.unwrap();
    let name = table.files().await.remove(0);
    let size = table.get(&name).await.len();
    let url = table.location.url();
    assert_eq!(
        table.text("_spark_metadata/0").await,
        format!(
            "v1\n{{\"path\":\"{url}{name}\",\"size\":{size},\"isDir\":false,\"modificationTime\":1790000000000,\
             \"blockReplication\":1,\"blockSize\":{size},\"action\":\"add\"}}"
        )
    );
    assert!(url.as_str().starts_with("file:///") && name.contains("-7-0-0-") && name.ends_with(".1.2.json"), "{name}");
    let owner: Value = serde_json::from_str(&table.text("_spark_metadata/.owner").await).unwrap();
    assert_eq!((&owner["writer"], &owner["first"]), (&Value::from("q1/out"), &Value::from(0)));
    assert_eq!(table.text(&name).await, "{\"id\":0,\"word\":\"word 0\"}\n{\"id\":1}\n{\"id\":2,\"word\":\"word 2\"}\n");
}

#[tokio::test]
async fn each_tenth_entry_holds_all_and_old_ones_go() {
    for table in [Table::disk("json", "spark"), Table::memory("json", "spark")] {
        let mut sink = table.open().await;
        for number in 0..35 {
            if number % 4 == 0 {
                sink = table.open().await;
            }
            run(&sink, &epoch(number * 2, 1), &[rows([number as i64])]).await.unwrap();
        }
        let name = |it: u64| if it % 10 == 9 { format!("{it}.compact") } else { it.to_string() };
        assert_eq!(table.entries().await, (0..35).map(name).collect::<Vec<_>>());
        assert_eq!(table.text("_spark_metadata/19.compact").await.lines().count(), 21);
        assert_eq!(table.ids().await, (0..35).collect::<Vec<_>>());
        sink.maintain(Duration::ZERO).await.unwrap();
        assert_eq!(table.entries().await.len(), 35, "they are young");
        // By the machine's clock, which says when they were written, all is old in an hour.
        let hour =
            i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis());
        table.clock.0.store(hour.unwrap() + 3_600_000, Ordering::Relaxed);
        let sink = table.open().await;
        sink.maintain(Duration::ZERO).await.unwrap();
        assert_eq!(table.entries().await, (19..35).map(name).collect::<Vec<_>>(), "two that hold all stay");
        assert_eq!((table.last().await, table.ids().await), (Some((68, 1)), (0..35).collect()));
        run(&sink, &epoch(70, 1), &[rows([35])]).await.unwrap();
        assert_eq!(table.ids().await, (0..36).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_bounded_manifest_stays_small() {
    let table = Table::memory("json", "tidegate");
    let sink = table.open().await;
    for number in 0..130 {
        run(&sink, &epoch(number, 1), &[rows([number as i64])]).await.unwrap();
    }
    let entries =
        async || table.all().await.iter().filter(|it| it.starts_with("_tidegate/") && it.ends_with("json")).count();
    sink.maintain(Duration::ZERO).await.unwrap();
    let young = entries().await;
    table.clock.0.fetch_add(100 * 365 * 86_400_000, Ordering::Relaxed);
    sink.maintain(Duration::ZERO).await.unwrap();
    assert_eq!((young, entries().await), (130, 100));
    assert_eq!((table.last().await, table.ids().await), (Some((129, 1)), (0..130).collect()));
}

#[tokio::test]
async fn a_writer_that_slept_while_the_log_was_cleaned_looks_again() {
    let table = Table::memory("json", "spark").with("append.foreign", "true");
    let (sleeper, _) = table.try_open("sleeper").await.unwrap();
    run(&sleeper, &epoch(0, 1), &[rows([1000])]).await.unwrap();
    let sink = table.open().await;
    for number in 0..40 {
        run(&sink, &epoch(number, 1), &[rows([number as i64])]).await.unwrap();
    }
    table.clock.0.fetch_add(100 * 365 * 86_400_000, Ordering::Relaxed);
    let sink = table.open().await;
    sink.maintain(Duration::ZERO).await.unwrap();
    assert_eq!(table.entries().await[0], "29.compact");
    assert_eq!(run(&sleeper, &epoch(1, 1), &[rows([1001])]).await.unwrap(), CommitOutcome::Committed);
    let mut expected: Vec<i64> = (0..40).collect();
    expected.extend([1000, 1001]);
    assert_eq!(table.ids().await, expected);
}

#[tokio::test]
async fn a_folder_that_spark_began_goes_on() {
    let table = Table::disk("parquet", "spark");
    let url = table.location.url().clone();
    let line = |it: u64| {
        format!(
            "\n{{\"path\":\"{}part-0000{it}-uuid-c000.snappy.parquet\",\"size\":3,\"isDir\":false,\"modificationTime\":1,\
             \"blockReplication\":1,\"blockSize\":33554432,\"action\":\"add\"}}",
            url
        )
    };
    // Spark with an interval of three; one epoch had no rows.
    for (name, lines) in [("0", line(0)), ("1", String::new()), ("2.compact", line(0) + &line(2)), ("3", line(3))] {
        table.put(&format!("_spark_metadata/{name}"), format!("v1{lines}")).await;
    }
    let error = table.try_open("out").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("append.foreign") && error.to_string().contains("Spark"), "{error}");
    let table = table.with("append.foreign", "true");
    let sink = table.open().await;
    run(&sink, &epoch(0, 1), &[rows(0..3)]).await.unwrap();
    run(&sink, &epoch(1, 1), &[rows(3..6)]).await.unwrap();
    assert_eq!(table.entries().await, ["0", "1", "2.compact", "3", "4", "5.compact"]);
    let compact = table.text("_spark_metadata/5.compact").await;
    assert!(compact.starts_with(&format!("v1{}{}{}\n", line(0), line(2), line(3))), "taken over as it is: {compact}");
    assert_eq!(compact.lines().count(), 6);
    let owner: Value = serde_json::from_str(&table.text("_spark_metadata/.owner").await).unwrap();
    assert_eq!(owner["first"], 4);
    assert_eq!(table.last().await, Some((1, 1)));
}

#[tokio::test]
async fn files_are_closed_when_they_are_full() {
    for (format, manifest) in [("parquet", "spark"), ("json", "tidegate")] {
        let table = Table::disk(format, manifest).with("max.rows.per.file", "4");
        let sink = table.open().await;
        let mut writer = sink.writer(&epoch(0, 1), 0).await.unwrap();
        for from in [0, 3, 5] {
            writer.write(rows(from..from + 3 - i64::from(from == 3))).await.unwrap();
        }
        writer.write(rows(8..19)).await.unwrap();
        let part = writer.prepare().await.unwrap();
        assert_eq!((part.names().count(), part.rows()), (5, 19));
        sink.commit(&epoch(0, 1), vec![part], &[]).await.unwrap();
        let sizes: Vec<_> = table.visible().await.iter().map(RecordBatch::num_rows).collect();
        assert_eq!((sizes, table.ids().await), (vec![4, 4, 4, 4, 3], (0..19).collect()));
    }
}

#[tokio::test]
async fn parquet_files_have_the_types_that_spark_reads() {
    for (key, expected) in [("snappy", "SNAPPY"), ("zstd", "ZSTD"), ("none", "UNCOMPRESSED")] {
        let table = Table::disk("parquet", "spark").with("compression", key);
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let schema = Arc::new(Schema::new(vec![Field::new("ts", utc, false), Field::new("n", DataType::Int64, false)]));
        let mut sink = table.build(&SinkSpec { schema: schema.clone(), ..spec() }).unwrap();
        sink.open(&writer_id("out")).await.unwrap();
        let times = TimestampMicrosecondArray::from(vec![1_790_000_000_123_456]).with_timezone("UTC");
        let columns: Vec<ArrayRef> = vec![Arc::new(times), Arc::new(Int64Array::from(vec![1]))];
        run(&sink, &epoch(0, 1), &[RecordBatch::try_new(schema, columns).unwrap()]).await.unwrap();
        let bytes = table.get(&table.counted().await[0]).await;
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        let metadata = reader.metadata().clone();
        let text = format!("{:?}", reader.parquet_schema().root_schema());
        assert!(text.contains("is_adjusted_to_u_t_c: true") && text.contains("MICROS"), "{text}");
        assert!(text.contains("OPTIONAL") && !text.contains("REQUIRED"), "{text}");
        let compression = format!("{:?}", metadata.row_group(0).column(0).compression());
        assert!(compression.starts_with(expected), "{compression}");
        let batch = reader.build().unwrap().next().unwrap().unwrap();
        let times = batch.column(0).as_any().downcast_ref::<TimestampMicrosecondArray>().unwrap();
        assert_eq!(times.value(0), 1_790_000_000_123_456);
    }
}

#[tokio::test]
async fn a_large_epoch_is_not_held_in_memory() {
    // Two columns of numbers that do not compress, 96 MB; what is held is at most what one row group buffers.
    let table = Table::disk("parquet", "spark");
    let schema =
        Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false), Field::new("b", DataType::Int64, false)]));
    let mut sink = table.build(&SinkSpec { schema: schema.clone(), ..spec() }).unwrap();
    sink.open(&writer_id("out")).await.unwrap();
    let mut writer = sink.writer(&epoch(0, 1), 0).await.unwrap();
    let mut seed = 7_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed ^ (seed >> 29)) as i64
    };
    for _ in 0..96 {
        let mut column = || -> ArrayRef { Arc::new(Int64Array::from_iter_values((0..65_536).map(|_| next()))) };
        writer.write(RecordBatch::try_new(schema.clone(), vec![column(), column()]).unwrap()).await.unwrap();
    }
    let part = writer.prepare().await.unwrap();
    let bytes = table.get(&format!("_staging/{}", part.names().next().unwrap())).await;
    let metadata = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().metadata().clone();
    assert!(metadata.num_row_groups() >= 3, "{} row groups", metadata.num_row_groups());
    let largest = metadata.row_groups().iter().map(|it| it.total_byte_size()).max().unwrap();
    assert!(largest < 48 << 20, "a row group of {largest} bytes");
    sink.abort(&epoch(0, 1), vec![part]).await.unwrap();
}

#[tokio::test]
async fn other_writers_may_add_where_they_are_let() {
    let table = Table::disk("parquet", "spark");
    let sink = table.open().await;
    run(&sink, &epoch(0, 1), &[rows(0..3)]).await.unwrap();
    let error = table.try_open("other").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(text.contains("was written by writer q1/out") && text.contains("append.foreign"), "{text}");
    let table = table.with("append.foreign", "true");
    let (other, last) = table.try_open("other").await.unwrap();
    assert_eq!(last, None);
    let parts = prepare(&other, &epoch(0, 1), &[rows(3..6)]).await.unwrap();
    run(&sink, &epoch(1, 1), &[rows(6..9)]).await.unwrap();
    assert_eq!(other.commit(&epoch(0, 1), parts, &[]).await.unwrap(), CommitOutcome::Committed);
    assert_eq!((table.ids().await, table.entries().await.len()), ((0..9).collect(), 3));
    // Each takes back its own only.
    let (mut other, last) = table.try_open("other").await.unwrap();
    assert_eq!(last.map(|it| it.0), Some(0));
    other.restore(None).await.unwrap();
    assert_eq!(table.ids().await, [0, 1, 2, 6, 7, 8]);
    assert_eq!(table.last().await, Some((1, 1)));
}
