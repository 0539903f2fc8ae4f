use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, BinaryArray, BinaryViewArray, LargeStringArray, RecordBatch, StringArray};
use arrow_schema::{DataType, SchemaRef};
use tidegate_api::ErrorKind;

use super::*;
use crate::ddl::{parse_schema, parse_type};

fn schema(ddl: &str) -> SchemaRef {
    Arc::new(parse_schema(ddl).unwrap())
}

fn mode(mode: Mode) -> JsonOptions {
    JsonOptions { mode, corrupt_column: None }
}

fn decode(ddl: &str, documents: &[&str]) -> RecordBatch {
    let mut decoder = Decoder::new(schema(ddl), JsonOptions::default()).unwrap();
    decoder.decode(&StringArray::from(documents.to_vec())).unwrap()
}

/// The rows as `to_json` writes them: nulls are not there.
fn rows(batch: RecordBatch) -> Vec<String> {
    encode(&arrow_array::StructArray::from(batch)).unwrap().iter().map(|it| it.unwrap().to_owned()).collect()
}

/// One value for a column of a type, as `to_json` writes it; none for null.
fn cell(ddl: &str, value: &str) -> Option<String> {
    let document = format!("{{\"before\":[1,{{}}],\"v\":{value},\"after\":7}}");
    let batch = decode(&format!("v {ddl}, after INT"), &[&document]);
    assert_eq!(batch.column(1).as_primitive::<Int32Type>().value(0), 7, "{document}");
    let column = batch.column(0);
    (column.logical_null_count() == 0).then(|| encode(column).unwrap().value(0).to_owned())
}

fn check(ddl: &str, cases: &[(&str, Option<&str>)]) {
    for (value, expected) in cases {
        assert_eq!(cell(ddl, value).as_deref(), *expected, "{value} as {ddl}");
    }
}

#[test]
fn whole_numbers() {
    check(
        "INT",
        &[
            ("5", Some("5")),
            ("-2147483648", Some("-2147483648")),
            ("2147483648", None),
            ("5.0", None),
            ("5e0", None),
            ("\"5\"", None),
            ("true", None),
            ("null", None),
            ("[5]", None),
            ("{\"x\":5}", None),
            ("NaN", None),
        ],
    );
    check("TINYINT", &[("-128", Some("-128")), ("128", None)]);
    check("SMALLINT", &[("32767", Some("32767")), ("32768", None)]);
    check("BIGINT", &[("9223372036854775807", Some("9223372036854775807")), ("9223372036854775808", None)]);
}

#[test]
fn fractions() {
    check(
        "DOUBLE",
        &[
            ("2.5", Some("2.5")),
            ("5", Some("5.0")),
            ("-1e3", Some("-1000.0")),
            ("\"NaN\"", Some("\"NaN\"")),
            ("NaN", Some("\"NaN\"")),
            ("\"Infinity\"", Some("\"Infinity\"")),
            ("\"-INF\"", Some("\"-Infinity\"")),
            ("\"2.5\"", None),
            ("\"\"", None),
            ("true", None),
        ],
    );
    check("FLOAT", &[("0.1", Some("0.1")), ("\"-Infinity\"", Some("\"-Infinity\"")), ("\"1\"", None)]);
    check(
        "DECIMAL(5,2)",
        &[
            ("12.345", Some("12.35")),
            ("\"12.5\"", Some("12.50")),
            ("-999.99", Some("-999.99")),
            ("999.995", None),
            ("1000", None),
            ("1e2", Some("100.00")),
            ("\"twelve\"", None),
            ("Infinity", None),
            ("true", None),
        ],
    );
}

#[test]
fn truth() {
    check(
        "BOOLEAN",
        &[("true", Some("true")), ("false", Some("false")), ("\"true\"", None), ("1", None), ("[]", None)],
    );
}

#[test]
fn a_string_takes_whatever_stands_there() {
    check(
        "STRING",
        &[
            ("\"a\"", Some("\"a\"")),
            ("\"\"", Some("\"\"")),
            ("1.50", Some("\"1.50\"")),
            ("true", Some("\"true\"")),
            ("null", None),
            ("{\"x\": [1,  2]}", Some(r#""{\"x\": [1,  2]}""#)),
            ("[ ]", Some("\"[ ]\"")),
            (r#""\u00e4\ud83d\ude00\n""#, Some("\"ä😀\\n\"")),
        ],
    );
}

#[test]
fn bytes_are_base64() {
    check(
        "BINARY",
        &[
            ("\"Zm9vYg==\"", Some("\"Zm9vYg==\"")),
            (r#""\/\/\/\/""#, Some("\"////\"")),
            ("\"\"", Some("\"\"")),
            ("\"Zg\"", None),
            ("5", None),
        ],
    );
}

#[test]
fn times() {
    check(
        "TIMESTAMP",
        &[
            ("\"2026-03-01T10:00:00Z\"", Some("\"2026-03-01T10:00:00.000Z\"")),
            ("\"2026-03-01 10:00:00.5\"", Some("\"2026-03-01T10:00:00.500Z\"")),
            ("\"2026-03-01T10:00:00+02:00\"", Some("\"2026-03-01T08:00:00.000Z\"")),
            ("\"2026-03-01\"", Some("\"2026-03-01T00:00:00.000Z\"")),
            (r#""2026-03-01T10:00:00\u005a""#, Some("\"2026-03-01T10:00:00.000Z\"")),
            ("10", Some("\"1970-01-01T00:00:10.000Z\"")),
            ("-0.5", Some("\"1969-12-31T23:59:59.500Z\"")),
            ("1.5e3", Some("\"1970-01-01T00:25:00.000Z\"")),
            ("\"10\"", None),
            ("\"\"", None),
            ("1e30", None),
            ("NaN", None),
            ("true", None),
        ],
    );
    check(
        "TIMESTAMP_NTZ",
        &[("\"2026-03-01T10:00:00\"", Some("\"2026-03-01T10:00:00.000\"")), ("\"2026-03-01T10:00:00Z\"", None)],
    );
    check("DATE", &[("\"2026-03-01\"", Some("\"2026-03-01\"")), ("\"x\"", None), ("20000", None)]);
    let batch = decode("t TIMESTAMP", &["{\"t\": 1740823200.123456}", "{\"t\": 0.0000019}"]);
    assert_eq!(batch.column(0).as_primitive::<TimestampMicrosecondType>().values(), &[1_740_823_200_123_456, 1]);
    assert_eq!(batch.schema().field(0).data_type(), &parse_type("TIMESTAMP").unwrap());
    let batch = decode("d DATE, f FLOAT, e DOUBLE", &["{\"d\":\"1970-01-02\",\"f\":0.1,\"e\":0.1}"]);
    assert_eq!(batch.column(0).as_primitive::<Date32Type>().value(0), 1);
    assert_eq!(batch.column(1).as_primitive::<Float32Type>().value(0).to_bits(), 0.1_f32.to_bits());
    assert_eq!(batch.column(2).as_primitive::<Float64Type>().value(0).to_bits(), 0.1_f64.to_bits());
}

#[test]
fn nested_values() {
    check(
        "ARRAY<INT>",
        &[
            ("[1,2]", Some("[1,2]")),
            ("[ 1 , null ]", Some("[1,null]")),
            ("[]", Some("[]")),
            ("[1,\"x\"]", None),
            ("[[1]]", None),
            ("{}", None),
            ("1", None),
        ],
    );
    check("ARRAY<ARRAY<STRING>>", &[("[[\"a\"],[],null]", Some(r#"[["a"],[],null]"#))]);
    check("ARRAY<STRUCT<x: INT>>", &[("[{\"x\":1},{\"x\":\"a\"},{}]", Some(r#"[{"x":1},{},{}]"#)), ("[5]", None)]);
    check(
        "MAP<STRING,INT>",
        &[
            ("{\"a\":1,\"b\":null}", Some(r#"{"a":1,"b":null}"#)),
            ("{}", Some("{}")),
            ("{\"a\":1,\"b\":\"x\"}", None),
            ("[]", None),
            (r#"{"\u0061":1}"#, Some(r#"{"a":1}"#)),
        ],
    );
    check(
        "STRUCT<x: INT, y: STRUCT<z: STRING>>",
        &[
            ("{\"x\":1,\"y\":{\"z\":\"a\"}}", Some(r#"{"x":1,"y":{"z":"a"}}"#)),
            ("{\"x\":\"1\",\"y\":{\"z\":\"a\"}}", Some(r#"{"y":{"z":"a"}}"#)),
            ("{\"x\":1,\"y\":5}", Some(r#"{"x":1}"#)),
            ("{}", Some("{}")),
            ("[]", None),
        ],
    );
    check("VOID", &[("null", None), ("1", None)]);
}

#[test]
fn rows_after_a_value_that_was_taken_back_are_right() {
    let batch = decode(
        "a ARRAY<STRING>, m MAP<STRING,INT>, s STRUCT<a: ARRAY<INT>, t: STRING>",
        &[
            r#"{"a":["x",{"y":1}],"m":{"p":1},"s":{"a":[1,2],"t":"u"}}"#,
            r#"{"a":["x"],"m":{"p":1,"q":"bad"},"s":{"a":[1,"bad"],"t":"v"}}"#,
            r#"{"a":["z"],"m":{"r":2},"s":{"a":[3],"t":"w"},"#,
            r#"{"a":["y"],"m":{"r":2},"s":{"a":[3],"t":"w"}}"#,
        ],
    );
    assert_eq!(
        rows(batch),
        [
            r#"{"a":["x","{\"y\":1}"],"m":{"p":1},"s":{"a":[1,2],"t":"u"}}"#,
            r#"{"a":["x"],"s":{"t":"v"}}"#,
            "{}",
            r#"{"a":["y"],"m":{"r":2},"s":{"a":[3],"t":"w"}}"#,
        ]
    );
}

#[test]
fn unknown_fields_are_skipped_and_missing_ones_null() {
    let batch = decode(
        "a INT, b STRING",
        &[
            r#"{"x":{"a":9,"b":["q\"}"]},"a":1,"y":"\\","b":"two"}"#,
            r#"{"b":"only"}"#,
            r"{}",
            r#" { "b" : "spaced" , "a" : 4 } "#,
        ],
    );
    assert_eq!(rows(batch), [r#"{"a":1,"b":"two"}"#, r#"{"b":"only"}"#, "{}", r#"{"a":4,"b":"spaced"}"#]);
}

#[test]
fn the_last_of_equal_names_that_fits_counts() {
    // All of it as Spark 4.2 answers.
    let ddl = "a INT, b STRING, s STRUCT<x: INT, y: STRING>, l ARRAY<INT>, t TIMESTAMP, q ARRAY<STRUCT<p: INT>>";
    let cases = [
        (r#"{"a":1,"b":"x","a":2,"b":"longer"}"#, r#"{"a":2,"b":"longer"}"#),
        (r#"{"b":"long","b":""}"#, r#"{"b":""}"#),
        (r#"{"a":1,"a":null}"#, "{}"),
        (r#"{"a":null,"a":3}"#, r#"{"a":3}"#),
        (r#"{"a":"wrong","a":1}"#, r#"{"a":1}"#),
        (r#"{"a":1,"a":"wrong"}"#, r#"{"a":1}"#),
        (r#"{"a":1,"a":1.5,"a":[2],"a":{"a":5},"b":"c"}"#, r#"{"a":1,"b":"c"}"#),
        (r#"{"a":"wrong","a":true}"#, "{}"),
        (r#"{"b":"x","b":{"z":1}}"#, r#"{"b":"{\"z\":1}"}"#),
        (r#"{"s":{"x":1,"x":2,"y":"q"}}"#, r#"{"s":{"x":2,"y":"q"}}"#),
        (r#"{"s":{"x":1},"s":{"y":"z"}}"#, r#"{"s":{"y":"z"}}"#),
        (r#"{"s":{"x":1},"s":{"x":"wrong","y":"z"}}"#, r#"{"s":{"y":"z"}}"#),
        (r#"{"s":{"x":1},"s":5}"#, r#"{"s":{"x":1}}"#),
        (r#"{"l":[1,2],"l":[3]}"#, r#"{"l":[3]}"#),
        (r#"{"l":[1,2],"l":[3,"no"]}"#, r#"{"l":[1,2]}"#),
        (r#"{"t":"1970-01-01T00:00:01Z","t":"never"}"#, r#"{"t":"1970-01-01T00:00:01.000Z"}"#),
        (r#"{"q":[{"p":1},{"p":"no"}],"q":[{"p":5}]}"#, r#"{"q":[{"p":5}]}"#),
        (r#"{"q":[{"p":1}],"q":[{"p":5},{"p":"no"}]}"#, r#"{"q":[{"p":5},{}]}"#),
        (r#"{"a":1,"a":"wrong""#, "{}"),
        (r#"{"a":5}"#, r#"{"a":5}"#),
    ];
    let found = rows(decode(ddl, &cases.map(|it| it.0)));
    for ((document, expected), found) in cases.iter().zip(found) {
        assert_eq!(found, *expected, "{document}");
    }
}

#[test]
fn a_name_in_another_case_is_another_name() {
    // As Spark 4.2 has it, whatever spark.sql.caseSensitive says.
    let batch = decode(
        "userId INT, Page STRING",
        &[
            r#"{"userid":1,"PAGE":"p"}"#,
            r#"{"userId":1,"userid":2}"#,
            r#"{"userid":2,"userId":1}"#,
            r#"{"user\u0049d":3}"#,
        ],
    );
    assert_eq!(rows(batch), ["{}", r#"{"userId":1}"#, r#"{"userId":1}"#, r#"{"userId":3}"#]);
}

#[test]
fn malformed_and_empty_documents_are_rows_of_nulls() {
    let documents = [
        "not json",
        "",
        "  \n",
        "{\"a\":1",
        "{\"a\":1}}",
        "{\"a\":1} x",
        "5",
        "\"a\"",
        "null",
        "[]",
        "[1]",
        "[{\"a\":1},{\"a\":2}]",
        "{\"a\":1,\"b\":\"\u{1}\"}",
        "{\"a\":5}",
        "[{\"a\":6}]",
        " [ {\"a\":7} ] ",
        "{'a':8,'b':'it\\'s'}",
        "\u{feff}{\"a\":9}",
    ];
    let batch = decode("a INT", &documents);
    let expected = [None; 13].into_iter().chain([Some(5), Some(6), Some(7), Some(8), Some(9)]);
    assert!(batch.column(0).as_primitive::<Int32Type>().iter().eq(expected), "{batch:?}");
}

#[test]
fn every_cut_of_a_document_is_null_and_the_next_row_is_right() {
    let ddl = "id BIGINT, name STRING, tags ARRAY<STRING>, m MAP<STRING,DOUBLE>, p STRUCT<x: DOUBLE, ok: BOOLEAN>, at TIMESTAMP";
    let whole = r#"{"id":12,"skip":[{"a":"b\\"},-1.5e7],"name":"n\u00e4\"","tags":["a",null],"m":{"k":1.5},"p":{"x":-2e-3,"ok":true},"at":"2026-03-01T10:00:00Z"}"#;
    let cuts: Vec<&str> = (0..whole.len()).flat_map(|it| [&whole[..it], whole]).collect();
    let rows = rows(decode(ddl, &cuts));
    for (index, row) in rows.iter().enumerate() {
        let expected = r#"{"id":12,"name":"nä\"","tags":["a",null],"m":{"k":1.5},"p":{"x":-0.002,"ok":true},"at":"2026-03-01T10:00:00.000Z"}"#;
        assert_eq!(row, if index % 2 == 0 { "{}" } else { expected }, "{}", cuts[index]);
    }
}

#[test]
fn bytes_that_are_not_utf8_become_replacement_characters() {
    let documents =
        BinaryArray::from_vec(vec![b"{\"s\":\"a\xff\",\"x\":\"\xc3\",\"m\":{\"\xfe\":1}}", b"{\"s\":\"\xc3\xbc\"}"]);
    let mut decoder = Decoder::new(schema("s STRING, m MAP<STRING,INT>"), JsonOptions::default()).unwrap();
    let batch = decoder.decode(&documents).unwrap();
    assert_eq!(rows(batch), ["{\"s\":\"a\u{fffd}\",\"m\":{\"\u{fffd}\":1}}", "{\"s\":\"ü\"}"]);
}

#[test]
fn all_kinds_of_text_and_byte_columns_are_read() {
    let text = "{\"a\":1, \"pad\": \"longer than the twelve bytes of a view\"}";
    let arrays: [ArrayRef; 4] = [
        Arc::new(StringArray::from(vec![Some(text), None])),
        Arc::new(LargeStringArray::from(vec![Some(text), None])),
        Arc::new(BinaryArray::from_opt_vec(vec![Some(text.as_bytes()), None])),
        Arc::new(BinaryViewArray::from(vec![Some(text.as_bytes()), None])),
    ];
    let mut decoder = Decoder::new(schema("a INT"), JsonOptions::default()).unwrap();
    for array in arrays {
        let batch = decoder.decode(&array).unwrap();
        assert!(batch.column(0).as_primitive::<Int32Type>().iter().eq([Some(1), None]), "{}", array.data_type());
    }
    let error = decoder.decode(&arrow_array::Int32Array::from(vec![1])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("are INT, expected BINARY or STRING"), "{error}");
}

#[test]
fn the_corrupt_column_takes_the_text_of_what_did_not_fit() {
    let options = JsonOptions { mode: Mode::Permissive, corrupt_column: Some("_corrupt".to_owned()) };
    let mut decoder = Decoder::new(schema("_corrupt STRING, a INT, b STRING"), options.clone()).unwrap();
    let documents = vec![
        Some("{\"a\":1}"),
        Some("{\"a\":"),
        Some("{\"a\":\"x\",\"b\":\"kept\",\"_corrupt\":\"mine\"}"),
        None,
        Some(""),
        Some("[]"),
    ];
    let batch = decoder.decode(&StringArray::from(documents)).unwrap();
    assert_eq!(
        rows(batch),
        [
            r#"{"a":1}"#,
            r#"{"_corrupt":"{\"a\":"}"#,
            r#"{"_corrupt":"{\"a\":\"x\",\"b\":\"kept\",\"_corrupt\":\"mine\"}","b":"kept"}"#,
            "{}",
            "{}",
            r#"{"_corrupt":"[]"}"#,
        ]
    );
    let mut undeclared = Decoder::new(schema("a INT"), options.clone()).unwrap();
    assert_eq!(rows(undeclared.decode(&StringArray::from(vec!["{"])).unwrap()), ["{}"]);
    let error = Decoder::new(schema("_corrupt INT"), options).err().unwrap();
    assert!(error.to_string().contains("'_corrupt' is INT, expected STRING"), "{error}");
}

#[test]
fn what_does_not_fit_is_refused_or_left_out_with_the_reason() {
    let documents = StringArray::from(vec![
        Some("{\"a\":1}"),
        Some("{\"a\":x}"),
        Some("{\"a\":\"1\"}"),
        Some("{\"a\":2,\"s\":{\"t\":[1,\"x\"]}}"),
        Some(" "),
        Some("[1]"),
        Some("7"),
        None,
        Some("{\"a\":3}"),
    ]);
    let columns = schema("a INT, s STRUCT<t: ARRAY<INT>>");
    let mut fail = Decoder::new(columns.clone(), mode(Mode::Fail)).unwrap();
    let error = fail.decode(&documents).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Data, "JSON document 1 is malformed at byte 5"));

    let decoded = fail.decode_rows(&documents).unwrap();
    assert_eq!(rows(decoded.batch), [r#"{"a":1}"#, "{}", r#"{"a":3}"#]);
    let rejected: Vec<String> = decoded.rejected.iter().map(|it| it.error.to_string()).collect();
    assert_eq!(decoded.rejected.iter().map(|it| it.row).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        rejected,
        [
            "JSON document 1 is malformed at byte 5",
            "JSON document 2 does not fit: column 'a' is not INT",
            "JSON document 3 does not fit: column 's.t' is not ARRAY<INT>",
            "JSON document 4 is empty, expected a value",
            "JSON document 5 is malformed at byte 1",
            "JSON document 6 is not STRUCT<a: INT, s: STRUCT<t: ARRAY<INT>>>",
        ]
    );

    let mut drop = Decoder::new(columns.clone(), mode(Mode::Drop)).unwrap();
    assert_eq!(rows(drop.decode(&documents).unwrap()), [r#"{"a":1}"#, "{}", r#"{"a":3}"#]);
    let mut permissive = Decoder::new(columns, JsonOptions::default()).unwrap();
    let decoded = permissive.decode_rows(&documents).unwrap();
    assert_eq!((decoded.batch.num_rows(), decoded.rejected.len()), (9, 0));
}

#[test]
fn from_json_tells_null_from_malformed() {
    let documents = StringArray::from(vec![Some("{\"a\":1}"), None, Some("oops"), Some(" "), Some("{\"a\":\"x\"}")]);
    let data_type = parse_type("STRUCT<a: INT NOT NULL>").unwrap();
    let mut decoder = Decoder::for_type(&data_type, JsonOptions::default()).unwrap();
    for _ in 0..2 {
        let array = decoder.decode_array(&documents).unwrap();
        assert_eq!(array.data_type(), &decoder.data_type());
        let texts = encode(&array).unwrap();
        assert!(texts.iter().eq([Some("{\"a\":1}"), None, Some("{}"), None, Some("{}")]), "{texts:?}");
    }
    let mut fail = Decoder::for_type(&data_type, mode(Mode::Fail)).unwrap();
    assert!(fail.decode_array(&documents).unwrap_err().to_string().contains("document 2"));
    assert_eq!(fail.decode_array(&StringArray::from(vec![Some(""), None])).unwrap().null_count(), 2);
    let mut drop = Decoder::for_type(&data_type, mode(Mode::Drop)).unwrap();
    assert_eq!(drop.decode_array(&documents).unwrap().null_count(), 4);
}

#[test]
fn from_json_reads_arrays_and_maps_too() {
    let read = |ddl: &str, documents: &[&str]| {
        let mut decoder = Decoder::for_type(&parse_type(ddl).unwrap(), JsonOptions::default()).unwrap();
        let array = decoder.decode_array(&StringArray::from(documents.to_vec())).unwrap();
        encode(&array).unwrap().iter().map(|it| it.unwrap_or("null").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(read("ARRAY<INT>", &["[1,2]", "{}", "[", "[\"a\"]", "null"]), ["[1,2]", "null", "null", "null", "null"]);
    assert_eq!(
        read("ARRAY<STRUCT<i: INT>>", &["[{\"i\":1}]", "{\"i\":4}", "{\"i\":"]),
        [r#"[{"i":1}]"#, r#"[{"i":4}]"#, "null"]
    );
    assert_eq!(read("MAP<STRING,INT>", &["{\"a\":1}", "[]"]), [r#"{"a":1}"#, "null"]);
}

#[test]
fn no_columns_still_count_rows() {
    let mut decoder = Decoder::new(schema("struct<a INT>").project(&[]).unwrap().into(), mode(Mode::Drop)).unwrap();
    let batch = decoder.decode(&StringArray::from(vec!["{\"a\":1}", "bad", "{}"])).unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (2, 0));
}

#[test]
fn all_columns_may_be_null_whatever_was_declared() {
    let declared = schema("a INT NOT NULL, s STRUCT<x: INT NOT NULL> NOT NULL, m MAP<STRING,INT> NOT NULL");
    let mut decoder = Decoder::new(declared, JsonOptions::default()).unwrap();
    assert!(decoder.schema().fields().iter().all(|it| it.is_nullable()));
    let batch = decoder.decode(&StringArray::from(vec!["{}", "{\"m\":{\"a\":null},\"s\":{}}"])).unwrap();
    assert_eq!(rows(batch), ["{}", r#"{"s":{},"m":{"a":null}}"#]);
}

#[test]
fn a_failed_call_leaves_nothing_behind() {
    let mut decoder = Decoder::new(schema("a BIGINT"), mode(Mode::Fail)).unwrap();
    decoder.decode(&StringArray::from(vec!["{\"a\":1}", "x"])).unwrap_err();
    let batch = decoder.decode(&StringArray::from(vec!["{\"a\":2}"])).unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[2]);
}

#[test]
fn a_type_that_json_has_no_words_for_is_refused_by_its_place() {
    let column = arrow_schema::Field::new("u", DataType::UInt8, true);
    let list = DataType::List(Arc::new(arrow_schema::Field::new_list_field(DataType::Utf8View, true)));
    let error = Decoder::for_type(&DataType::Struct(vec![column].into()), JsonOptions::default()).err().unwrap();
    assert!(error.to_string().contains("column 'u' has the type UInt8"), "{error}");
    let error = Decoder::for_type(&list, JsonOptions::default()).err().unwrap();
    assert!(error.to_string().contains("'element' has the type STRING"), "{error}");
    let error = Decoder::new(schema("m MAP<INT,INT>"), JsonOptions::default()).err().unwrap();
    assert!(error.to_string().contains("'m.key' has the type INT"), "{error}");
}
