use deltalake::kernel::{ArrayType, MetadataValue};

use super::*;

fn shape(fields: Vec<StructField>) -> Shape {
    Shape {
        version: 0,
        id: "t".to_owned(),
        reader_version: 1,
        writer_version: 2,
        features: BTreeSet::new(),
        schema: StructType::try_new(fields).unwrap(),
        partition_by: Vec::new(),
        properties: BTreeMap::new(),
        log_retention: Duration::from_secs(60),
    }
}

fn field(name: &str, data_type: DataType) -> StructField {
    StructField::new(name, data_type, true)
}

fn refusal(shape: &Shape) -> String {
    shape.check().unwrap_err().to_string()
}

#[test]
fn plain_table_fits_whatever_the_case_of_names() {
    let mut shape =
        shape(vec![field("Page", DataType::STRING), field("n", DataType::LONG), field("x", DataType::DATE)]);
    shape.partition_by = vec!["Page".to_owned()];
    shape.check().unwrap();
    let wanted = [field("n", DataType::LONG), field("page", DataType::STRING)];
    let layout = shape.layout(&wanted, None).unwrap();
    assert_eq!((layout.in_file, layout.partitions), (vec![0], vec![1]));
    assert_eq!(layout.columns[1].name, "Page");
    assert_eq!(layout.file_schema.fields().len(), 1);
    shape.layout(&wanted, Some(&["page".to_owned()])).unwrap();
    let error = shape.layout(&wanted, Some(&["n".to_owned()])).unwrap_err().to_string();
    assert!(error.contains("partitioned by [Page], partition.by says [n]"), "{error}");
    let error = shape.layout(&wanted[..1], None).unwrap_err().to_string();
    assert!(error.contains("column 'Page', which the query does not have"), "{error}");
}

#[test]
fn columns_that_do_not_fit_are_named_with_both_types() {
    let list = DataType::from(ArrayType::new(DataType::LONG, false));
    let shape =
        shape(vec![field("n", DataType::INTEGER), field("l", list), StructField::new("must", DataType::STRING, false)]);
    let error = |wanted: &[Wanted]| shape.layout(wanted, None).unwrap_err().to_string();
    let must = || field("must", DataType::STRING);
    let text = error(&[field("n", DataType::LONG), must()]);
    assert!(text.contains("'n' with type integer, the query has it with type long"), "{text}");
    assert!(error(&[field("k", DataType::LONG), must()]).contains("no column 'k'"));
    assert!(error(&[field("n", DataType::INTEGER)]).contains("'must' with type string that takes no null"));
    let loose = DataType::from(ArrayType::new(DataType::LONG, true));
    assert!(error(&[field("l", loose), must()]).contains("takes no null inside"));
    assert!(shape.layout(&[must()], None).unwrap().columns[0].required);
}

#[test]
fn features_that_ask_more_of_a_writer_are_refused() {
    let plain = shape(vec![field("n", DataType::LONG)]);
    let mut modern = plain.clone();
    (modern.reader_version, modern.writer_version) = (3, 7);
    modern.features = ["deletionVectors", "appendOnly"].map(str::to_owned).into();
    modern.check().unwrap();
    modern.features.insert("rowTracking".to_owned());
    assert!(refusal(&modern).contains("table feature rowTracking"));
    modern.writer_version = 8;
    assert!(refusal(&modern).contains("writer 8"));

    for (name, value, text) in [
        ("delta.constraints.positive", "n > 0", "constraint delta.constraints.positive"),
        ("delta.columnMapping.mode", "name", "column mapping 'name'"),
        ("delta.enableInCommitTimestamps", "true", "in-commit timestamps"),
        ("delta.setTransactionRetentionDuration", "interval 1 days", "setTransactionRetentionDuration"),
    ] {
        let mut shape = plain.clone();
        shape.properties.insert(name.to_owned(), value.to_owned());
        assert!(refusal(&shape).contains(text), "{name}");
    }
    let mut mapped = plain.clone();
    mapped.properties.insert("delta.columnMapping.mode".to_owned(), "none".to_owned());
    mapped.check().unwrap();

    let inner = field("g", DataType::LONG)
        .with_metadata([("delta.generationExpression", MetadataValue::String("n + 1".to_owned()))]);
    let nested = shape(vec![field("s", StructType::try_new([inner]).unwrap().into())]);
    assert!(refusal(&nested).contains("column 's.g' with a generated value"));
}
