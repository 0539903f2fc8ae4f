use super::*;

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

#[test]
fn every_type_and_synonym() {
    for (text, expected) in [
        ("BOOLEAN", DataType::Boolean),
        ("TINYINT", DataType::Int8),
        ("byte", DataType::Int8),
        ("SMALLINT", DataType::Int16),
        ("SHORT", DataType::Int16),
        ("INT", DataType::Int32),
        ("Integer", DataType::Int32),
        ("BIGINT", DataType::Int64),
        ("LONG", DataType::Int64),
        ("FLOAT", DataType::Float32),
        ("REAL", DataType::Float32),
        ("DOUBLE", DataType::Float64),
        ("STRING", DataType::Utf8),
        ("VARCHAR(20)", DataType::Utf8),
        ("CHAR ( 3 )", DataType::Utf8),
        ("BINARY", DataType::Binary),
        ("DATE", DataType::Date32),
        ("TIMESTAMP", utc()),
        ("timestamp_ltz", utc()),
        ("TIMESTAMP_NTZ", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("DECIMAL", DataType::Decimal128(10, 0)),
        ("DECIMAL(5)", DataType::Decimal128(5, 0)),
        ("NUMERIC(10, 2)", DataType::Decimal128(10, 2)),
        ("dec(38,38)", DataType::Decimal128(38, 38)),
        ("VOID", DataType::Null),
    ] {
        assert_eq!(parse_type(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn nested_types() {
    let parsed = parse_type("array<map<string, struct<x: int, y string not null>>>").unwrap();
    let inner = Fields::from(vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Utf8, false)]);
    let expected = map(DataType::Utf8, DataType::Struct(inner));
    assert_eq!(parsed, DataType::List(Arc::new(Field::new("item", expected, true))));
    assert_eq!(parse_type("STRUCT<>").unwrap(), DataType::Struct(Fields::empty()));
}

#[test]
fn columns_with_everything() {
    let text = "user_id BIGINT, page STRING NOT NULL, ts: TIMESTAMP COMMENT 'it''s when', \
                `the ``end``` INT NULL, \"a,b\" INT, timestamp DATE, 2nd INT, größe DOUBLE";
    let schema = parse_schema(text).unwrap();
    let names: Vec<&str> = schema.fields().iter().map(|it| it.name().as_str()).collect();
    assert_eq!(names, ["user_id", "page", "ts", "the `end`", "a,b", "timestamp", "2nd", "größe"]);
    let required: Vec<bool> = schema.fields().iter().map(|it| !it.is_nullable()).collect();
    assert_eq!(required, [false, true, false, false, false, false, false, false]);
    assert_eq!(schema.field(2).data_type(), &utc());
}

#[test]
fn a_struct_around_the_columns_changes_nothing() {
    let plain = parse_schema("a INT, b STRING").unwrap();
    assert_eq!(parse_schema("struct<a INT, b: STRING>").unwrap(), plain);
    assert_eq!(parse_schema(" STRUCT < a: INT, b STRING > ").unwrap(), plain);
    assert_eq!(parse_schema("struct INT").unwrap().field(0).name(), "struct");
}

#[test]
fn names_of_types_are_read_back() {
    for text in [
        "BOOLEAN",
        "DECIMAL(12,3)",
        "TIMESTAMP",
        "TIMESTAMP_NTZ",
        "MAP<STRING, ARRAY<BIGINT>>",
        "STRUCT<x: INT, `the y`: STRUCT<z: DATE NOT NULL>>",
        "STRUCT<`a``b`: VOID>",
        "STRUCT<>",
    ] {
        assert_eq!(type_name(&parse_type(text).unwrap()), text);
    }
    assert_eq!(type_name(&DataType::UInt8), "UInt8");
    assert_eq!(type_name(&DataType::Utf8View), "STRING");
}

#[test]
fn errors_say_where_and_what() {
    for (text, words) in [
        ("", &["position 1:", "a column name", "found the end"][..]),
        ("a", &["position 2:", "a type", "found the end"]),
        ("a INT,", &["position 7:", "a column name"]),
        ("a FOO", &["position 3:", "a type", "'FOO'"]),
        ("a INT b INT", &["position 7:", "',' or the end", "'b'"]),
        ("a INT NOT b", &["position 11:", "NULL", "'b'"]),
        ("a DECIMAL(39,2)", &["position 11:", "1 to 38", "'39'"]),
        ("a DECIMAL(5,6)", &["position 13:", "0 to 5"]),
        ("a ARRAY INT", &["position 9:", "'<'", "'INT'"]),
        ("a ARRAY<INT", &["'>'", "found the end"]),
        ("a MAP<STRING>", &["position 13:", "','", "'>'"]),
        ("a INT COMMENT b", &["a text in quotes", "'b'"]),
        ("`a INT", &["position 1:", "not closed"]),
        ("`` INT", &["a column name"]),
        ("a.b INT", &["position 2:", "a type", "'.'"]),
        ("a INT, A STRING", &["position 8:", "'A'", "twice"]),
        ("grüße INT, b FOO", &["position 14:"]),
        ("a VARCHAR", &["'('", "found the end"]),
        ("struct<a INT", &["'>'"]),
        ("struct<a INT> b", &["position 15:"]),
        ("a INTERVAL", &["'INTERVAL'"]),
    ] {
        let error = parse_schema(text).unwrap_err();
        assert_eq!(error.kind(), tidegate_api::ErrorKind::Config);
        for word in words {
            assert!(error.to_string().contains(word), "{text}: {error}");
        }
    }
}

#[test]
fn a_type_without_bottom_is_refused() {
    let text = format!("{}INT{}", "ARRAY<".repeat(10_000), ">".repeat(10_000));
    assert!(parse_type(&text).unwrap_err().to_string().contains("deeper than 64"));
}
