//! Tables that are read: written by statements of the driver, read by the source.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_schema::DataType;
use arrow_schema::DataType::{Int32, Int64, Utf8};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tidegate_api::registry::DynSourceConnector;
use tidegate_api::{
    ConnectorContext, DynSource, ErrorKind, FieldPath, OffsetRange, QueryId, ReadLimit, RecordBatch, Registry, Replay,
    Result, ScanRequest, SchemaRef, Settings,
};
use tidegate_testkit::MemoryLog;

use crate::bench::{Bench, schema};
use crate::stand::{folder, stand};

fn connector() -> Arc<dyn DynSourceConnector> {
    tidegate_cassandra::register(Registry::new()).find_source("cassandra").unwrap()
}

fn settings(bench: &Bench, more: &[(&str, &str)]) -> Settings {
    let own = [
        ("contact.points", bench.node.as_str()),
        ("keyspace", "it"),
        ("table", bench.table.as_str()),
        ("username", "cassandra"),
        ("password", "cassandra"),
    ];
    let own = own.into_iter().filter(|(key, _)| more.iter().all(|it| it.0 != *key));
    Settings::from_iter(own.chain(more.iter().copied()).filter(|it| !it.1.is_empty()))
}

/// A source of these columns; without any of the table's own.
async fn try_source(bench: &Bench, columns: Option<&SchemaRef>, more: &[(&str, &str)]) -> Result<Box<dyn DynSource>> {
    let mut ctx = ConnectorContext::new("test", "users", QueryId("0000".into()), Arc::new(MemoryLog::default()));
    ctx.memory = tidegate_api::MemoryBudget::new(bench.memory);
    ctx.schema = columns.cloned();
    let mut source = connector().build(&settings(bench, more), &ctx).await?;
    let names: Vec<_> = source.payload().schema().fields().iter().map(|it| FieldPath::column(it.name())).collect();
    source.bind(&ScanRequest { projection: names, filters: Vec::new(), batch_rows: 1000 })?;
    Ok(source)
}

/// One reading, as an epoch does it.
async fn read(source: &mut dyn DynSource) -> Result<Vec<RecordBatch>> {
    let start = source.initial_offset().await?;
    let end = source.plan(&start, &ReadLimit::NONE).await?.end;
    let mut all = Vec::new();
    for split in source.splits(OffsetRange { start, end }, 1)? {
        all.extend(source.read(split).await?.try_collect::<Vec<_>>().await?);
    }
    Ok(all)
}

fn longs(rows: &[RecordBatch], column: &str) -> Vec<i64> {
    let of = |it: &RecordBatch| it.column_by_name(column).unwrap().as_primitive::<Int64Type>().values().to_vec();
    rows.iter().flat_map(of).collect()
}

/// The rows as JSON, sorted.
fn as_json(rows: &[RecordBatch]) -> Vec<Value> {
    let mut writer = arrow_json::LineDelimitedWriter::new(Vec::new());
    rows.iter().for_each(|it| writer.write(it).unwrap());
    writer.finish().unwrap();
    let text = writer.into_inner();
    let mut rows: Vec<Value> =
        serde_json::Deserializer::from_slice(&text).into_iter().map(Result::<_, _>::unwrap).collect();
    rows.sort_by_key(ToString::to_string);
    rows
}

const TYPES: &str = "k int, c text, s int static, a boolean, t tinyint, b smallint, d bigint, e varint, f float, g double, \
     h decimal, j ascii, l blob, m timestamp, n date, o time, p uuid, q timeuuid, r inet, u frozen<list<int>>, v set<text>, \
     w map<text, int>, x it.person, y list<frozen<map<text, decimal>>>, PRIMARY KEY (k, c)";

#[tokio::test]
async fn every_type_is_read_as_what_it_is() {
    let node = crate::node_or_skip!();
    let bench = Bench::new(node, "k int PRIMARY KEY").await;
    bench.cql("CREATE TYPE IF NOT EXISTS it.person (name text, born date, nick frozen<set<text>>)").await;
    let bench = Bench::new(node, TYPES).await;
    let insert = |values: &str| format!("INSERT INTO it.{} JSON '{values}'", bench.table);
    bench
        .cql(&insert(
            r#"{"k": 1, "c": "full", "s": 5, "a": true, "t": -128, "b": -32768, "d": -9223372036854775808,
                "e": "-99999999999999999999999999999999999999", "f": 0.5, "g": -1e300, "h": "-12345.678900", "j": "he",
                "l": "0x00ff", "m": "2023-11-14 22:13:20.123Z", "n": "1969-12-31", "o": "23:59:59.999999999",
                "p": "936da01f-9abd-4d9d-80c7-02af85c822a8", "q": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
                "r": "2001:db8::1", "u": [3, 1], "v": ["b", "a"], "w": {"x": 1, "y": 2},
                "x": {"name": "Ann", "born": "2001-02-03", "nick": ["A"]}, "y": [{"p": 1.5}, {}]}"#,
        ))
        .await;
    bench.cql(&insert(r#"{"k": 2, "c": "", "r": "10.0.0.1", "v": [], "u": [], "x": {"name": null}}"#)).await;
    let mut source = try_source(&bench, None, &[]).await.unwrap();
    assert_eq!(source.replay(), Replay::None);
    let rows = read(source.as_mut()).await.unwrap();
    let full = json!({"k": 1, "c": "full", "s": 5, "a": true, "t": -128, "b": -32768, "d": i64::MIN, "f": 0.5, "g": -1e300,
        "j": "he", "l": "00ff", "m": "2023-11-14T22:13:20.123Z", "n": "1969-12-31", "o": 86_399_999_999_999_i64,
        "p": "936da01f-9abd-4d9d-80c7-02af85c822a8", "q": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "r": "2001:db8:0:0:0:0:0:1", "u": [3, 1], "v": ["a", "b"], "w": {"x": 1, "y": 2},
        "x": {"name": "Ann", "born": "2001-02-03", "nick": ["A"]}, "y": [{"p": 1.5}, {}]});
    // An empty set and a type without any field are none, an empty frozen list is one: so the table keeps them.
    let empty = json!({"k": 2, "c": "", "r": "10.0.0.1", "u": []});
    let mut found = as_json(&rows);
    // As numbers of JSON they would lose digits.
    found.iter_mut().for_each(|it| ["e", "h"].iter().for_each(|key| drop(it.as_object_mut().unwrap().remove(*key))));
    let of = |k: i32| found.iter().find(|it| it["k"] == json!(k)).unwrap();
    assert_eq!((of(1), of(2), found.len()), (&full, &empty, 2));
    assert_eq!(decimals(&rows, "e"), [-(10_i128.pow(38) - 1)]);
    assert_eq!(decimals(&rows, "h"), [-12_345_678_900 * 10_i128.pow(12)]);
    let types = source.payload().schema().fields().iter().map(|it| it.name().clone()).collect::<Vec<_>>();
    assert_eq!(types[..3], ["k", "c", "s"], "as SELECT * has them");
    let told = connector().columns(&settings(&bench, &[])).await.unwrap();
    assert_eq!(told, source.payload().schema().clone());
}

/// The numbers of a column, without their points; nulls left out.
fn decimals(rows: &[RecordBatch], column: &str) -> Vec<i128> {
    rows.iter()
        .flat_map(|it| it.column_by_name(column).unwrap().as_primitive::<Decimal128Type>().iter().flatten())
        .collect()
}

#[tokio::test]
async fn counters_are_read() {
    let bench = Bench::new(crate::node_or_skip!(), "k int PRIMARY KEY, n counter").await;
    bench.cql(&format!("UPDATE it.{} SET n = n + 7 WHERE k = 1", bench.table)).await;
    let mut source = try_source(&bench, None, &[]).await.unwrap();
    assert_eq!(as_json(&read(source.as_mut()).await.unwrap()), [json!({"k": 1, "n": 7})]);
}

#[tokio::test]
async fn declared_columns_are_read_as_they_are_declared() {
    let columns = "\"Id\" int PRIMARY KEY, price decimal, big varint, at timestamp, span duration, name text";
    let bench = Bench::new(crate::node_or_skip!(), columns).await;
    let table = &bench.table;
    let values = "(1, 2.345, 77, 1000, 1mo2d, 'Ann')";
    bench.cql(&format!("INSERT INTO it.{table} (\"Id\", price, big, at, span, name) VALUES {values}")).await;
    let declared = schema(&[
        ("BIG", Int64),
        ("price", DataType::Decimal128(10, 2)),
        ("at", DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, Some("UTC".into()))),
        ("id", Int64),
    ]);
    let mut source = try_source(&bench, Some(&declared), &[]).await.unwrap();
    let rows = read(source.as_mut()).await.unwrap();
    assert_eq!(*rows[0].schema(), *declared);
    assert_eq!(longs(&rows, "BIG"), [77]);
    assert_eq!(longs(&rows, "id"), [1]);
    assert_eq!(rows[0].column(1).as_primitive::<Decimal128Type>().value(0), 235, "half up");
    assert_eq!(rows[0].column(2).as_primitive::<TimestampMicrosecondType>().value(0), 1_000_000);
    // Without a column rows are counted.
    source.bind(&ScanRequest { projection: Vec::new(), filters: Vec::new(), batch_rows: 1000 }).unwrap();
    let rows = read(source.as_mut()).await.unwrap();
    assert_eq!((rows[0].num_columns(), rows[0].num_rows()), (0, 1));

    bench.cql(&format!("UPDATE it.{table} SET big = 128 WHERE \"Id\" = 1")).await;
    let mut narrow = try_source(&bench, Some(&schema(&[("big", DataType::Int8)])), &[]).await.unwrap();
    let error = read(narrow.as_mut()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(error.to_string().contains("'big'") && error.to_string().contains("Int8"), "{error}");

    let error = try_source(&bench, None, &[]).await.err().unwrap();
    let said = error.to_string();
    assert!(
        error.kind() == ErrorKind::Config && said.contains("'span' is duration") && said.contains("schema"),
        "{said}"
    );
    bench.cql(&format!("INSERT INTO it.{table} (\"Id\", price) VALUES (2, 123456789.5)")).await;
    let mut source = try_source(&bench, Some(&declared), &[]).await.unwrap();
    let error = read(source.as_mut()).await.unwrap_err();
    let said = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Data, "{said}");
    assert!(said.contains("'price'") && said.contains("DECIMAL(10, 2)") && said.contains(table.as_str()), "{said}");
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let bench = Bench::new(crate::node_or_skip!(), "k bigint PRIMARY KEY, v int, t frozen<tuple<int, int>>").await;
    let columns = schema(&[("k", Int64), ("v", Int32)]);
    let refused = async |columns: &SchemaRef, more: &[(&str, &str)], parts: &[&str]| {
        let error =
            try_source(&bench, Some(columns), more).await.err().unwrap_or_else(|| panic!("{parts:?}: was taken"));
        let said = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Config, "{said}");
        assert!(parts.iter().all(|it| said.contains(it)), "{said}: expected {parts:?}");
        assert!(!said.contains("s3cret"), "{said}");
    };
    refused(&columns, &[("table", "nothing")], &["'nothing'", &bench.table]).await;
    refused(&columns, &[("keyspace", "nowhere")], &["'nowhere'", "it"]).await;
    refused(&columns, &[("table", "a b")], &["table", "'a b'"]).await;
    refused(&columns, &[("username", "")], &["password"]).await;
    refused(&columns, &[("password", "s3cret")], &["user 'cassandra'"]).await;
    refused(&columns, &[("consistency", "any")], &["consistency"]).await;
    refused(&columns, &[("request.timeout", "0s")], &["request.timeout"]).await;
    refused(&schema(&[("k", Int64), ("w", Int64)]), &[], &["'w'", "k, t, v"]).await;
    refused(&schema(&[("v", Utf8)]), &[], &["'v' is int", "Utf8", "Int32"]).await;
    refused(&schema(&[("t", Utf8)]), &[], &["'t' is tuple<int, int>", "can't be read"]).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let error = try_source(&bench, None, &[("contact.points", &free)]).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    assert!(error.to_string().contains(&free), "{error}");
    let told = connector().columns(&settings(&bench, &[("contact.points", &free)])).await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Transient, "{told}");
}

/// Writes rows `from..to`.
async fn fill(bench: &Bench, from: i64, to: i64) {
    let insert = format!("INSERT INTO it.{} (k, c, v) VALUES (?, ?, ?)", bench.table);
    let insert = bench.session.prepare(insert).await.unwrap();
    let put = |it: i64| {
        let (session, insert) = (bench.session.clone(), insert.clone());
        async move {
            let row = (it / 3, it, i32::try_from(it % 1000).unwrap());
            session.execute_unpaged(&insert, row).await.map(drop).unwrap();
        }
    };
    futures::stream::iter(from..to).for_each_concurrent(64, put).await;
}

const KEYED: &str = "k bigint, c bigint, v int, PRIMARY KEY (k, c)";

#[tokio::test]
async fn pages_and_ranges_have_each_row_once() {
    let bench = Bench::new(crate::node_or_skip!(), KEYED).await;
    fill(&bench, 0, 5000).await;
    let counted = bench.number(&format!("SELECT count(*) FROM it.{}", bench.table)).await;
    assert_eq!(counted, Some(5000));
    for (page, split, in_flight) in [("7", "100", "4"), ("1000", "1000000", "1"), ("100000", "1", "32")] {
        let limits = [("page.rows", page), ("split.rows", split), ("max.in.flight", in_flight)];
        let mut source = try_source(&bench, None, &limits).await.unwrap();
        // The second reading has as many ranges as the rows of the first call for.
        for _ in 0..2 {
            let rows = read(source.as_mut()).await.unwrap();
            let most: usize = page.parse().unwrap();
            assert!(rows.iter().all(|it| it.num_rows() <= most), "a batch is a page");
            let mut found = longs(&rows, "c");
            found.sort_unstable();
            assert!(found.into_iter().eq(0..5000), "{limits:?}");
            let fits = |it: &RecordBatch| {
                let (c, v) = (it.column(1).as_primitive::<Int64Type>(), it.column(2).as_primitive::<Int32Type>());
                c.values().iter().zip(v.values()).all(|(c, v)| c % 1000 == i64::from(*v))
            };
            assert!(rows.iter().all(fits));
        }
    }
}

#[tokio::test]
async fn a_page_that_memory_does_not_hold_is_refused() {
    let mut bench = Bench::new(crate::node_or_skip!(), KEYED).await;
    fill(&bench, 0, 300).await;
    bench.memory = 100;
    let mut source = try_source(&bench, None, &[]).await.unwrap();
    let error = read(source.as_mut()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("page.rows"), "{error}");
}

#[tokio::test]
async fn each_reading_sees_the_table_as_it_is() {
    let bench = Bench::new(crate::node_or_skip!(), KEYED).await;
    let table = &bench.table;
    let mut source = try_source(&bench, None, &[]).await.unwrap();
    assert!(read(source.as_mut()).await.unwrap().is_empty());
    let start = source.initial_offset().await.unwrap();
    let mut last = source.plan(&start, &ReadLimit::NONE).await.unwrap().end;
    for at in 1..5 {
        fill(&bench, 0, at).await;
        let now = source.plan(&start, &ReadLimit::NONE).await.unwrap().end;
        assert_ne!(now, last, "the version of an epoch is that of no other");
        last = now;
        assert_eq!(longs(&read(source.as_mut()).await.unwrap(), "c").len() as i64, at);
    }
    bench.cql(&format!("DELETE FROM it.{table} WHERE k = 0")).await;
    assert_eq!(longs(&read(source.as_mut()).await.unwrap(), "c"), [3]);
    // Another table of that name, whose column is of another type.
    bench.cql(&format!("DROP TABLE it.{table}")).await;
    let error = read(source.as_mut()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains(table.as_str()), "{error}");
    bench.cql(&format!("CREATE TABLE it.{table} (k bigint, c bigint, v text, PRIMARY KEY (k, c))")).await;
    bench.cql(&format!("INSERT INTO it.{table} (k, c, v) VALUES (1, 1, 'text')")).await;
    let error = read(source.as_mut()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("'v'") && error.to_string().contains("was int and is text"), "{error}");
}

#[tokio::test]
async fn a_reading_waits_for_the_node_to_come_back() {
    crate::node_or_skip!();
    let dir = folder("reading");
    let address = stand("up", "0", &dir).unwrap();
    let bench = Bench::new(&address, KEYED).await;
    fill(&bench, 0, 2000).await;
    let limits = [("page.rows", "10"), ("max.in.flight", "2"), ("request.timeout", "3s")];
    let mut source = try_source(&bench, None, &limits).await.unwrap();
    assert_eq!(longs(&read(source.as_mut()).await.unwrap(), "c").len(), 2000);
    // In the middle of a reading.
    let start = source.initial_offset().await.unwrap();
    let end = source.plan(&start, &ReadLimit::NONE).await.unwrap().end;
    let split = source.splits(OffsetRange { start, end }, 1).unwrap().remove(0);
    let mut rows = source.read(split).await.unwrap();
    assert!(rows.try_next().await.unwrap().is_some());
    stand("down", "0", &dir).unwrap();
    let error = async {
        while rows.try_next().await?.is_some() {}
        Ok::<_, tidegate_api::Error>(())
    }
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    assert!(!error.to_string().contains("cassandra:cassandra"), "{error}");
    let error = read(source.as_mut()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    assert_eq!(stand("up", address.rsplit_once(':').unwrap().1, &dir).unwrap(), address);
    let mut tries = 0;
    let rows = loop {
        match read(source.as_mut()).await {
            Ok(rows) => break rows,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
                tries += 1;
                assert!(tries < 60, "the node is back, but: {error}");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    };
    assert_eq!(longs(&rows, "c").len(), 2000);
    stand("down", "0", &dir).unwrap();
}
