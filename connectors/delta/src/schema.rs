//! Columns: which Delta type an Arrow type becomes, and what a table can't hold.

use arrow_schema::{DataType as ArrowType, Field, Schema};
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow as _;
use deltalake::kernel::{ArrayType, DataType, MapType, PrimitiveType, StructField, StructType};

/// A column of the query as a column of the table; always nullable.
pub(crate) type Wanted = StructField;

/// Characters that Parquet readers of Spark refuse in a column's name.
const REFUSED: [char; 11] = [' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '=', '`'];

/// The table's columns for these rows.
///
/// # Errors
/// All that a table can't hold, each naming its column.
pub(crate) fn columns(schema: &Schema) -> Result<Vec<Wanted>, Vec<String>> {
    let mut problems = Vec::new();
    let mut columns: Vec<Wanted> = Vec::new();
    if schema.fields().is_empty() {
        problems.push("the query has no columns".to_owned());
    }
    for (at, field) in schema.fields().iter().enumerate() {
        let name = field.name();
        if name.is_empty() || name.contains(REFUSED) {
            problems.push(format!("column '{name}' has a name that Delta readers refuse: give it another with AS"));
        }
        let before = schema.fields().iter().take(at);
        if let Some(other) = before.into_iter().find(|it| it.name().eq_ignore_ascii_case(name)) {
            problems.push(format!("columns '{}' and '{name}' differ in case only or not at all", other.name()));
        }
        match delta_type(field.data_type()) {
            Ok(data_type) => columns.push(StructField::new(name, data_type, true)),
            Err(why) => problems.push(format!("column '{name}' {why}")),
        }
    }
    if problems.is_empty() { Ok(columns) } else { Err(problems) }
}

/// As [`columns`], for callers that want to know what is wrong only.
pub(crate) fn problems(schema: &Schema) -> Vec<String> {
    columns(schema).err().unwrap_or_default()
}

/// Why a table can't be partitioned by this column, if it can't.
pub(crate) fn partition_problem(field: &Field) -> Option<String> {
    // Types that are wrong at all have been named already.
    let data_type = delta_type(field.data_type()).ok()?;
    let fits = match &data_type {
        DataType::Primitive(it) => !matches!(it, PrimitiveType::Float | PrimitiveType::Double | PrimitiveType::Binary),
        _ => false,
    };
    (!fits).then(|| {
        format!(
            "column '{}' has type {data_type}, expected a whole number, decimal, text, boolean, date or timestamp",
            field.name()
        )
    })
}

/// The Arrow type that values of a Delta type have in our files.
///
/// # Errors
/// What the type is, if Arrow has nothing for it.
pub(crate) fn arrow_type(data_type: &DataType) -> Result<ArrowType, String> {
    data_type.try_into_arrow().map_err(|e: arrow_schema::ArrowError| format!("has type {data_type}: {e}"))
}

/// True if both are the same apart from what may be null and from remarks.
pub(crate) fn same_type(left: &DataType, right: &DataType) -> bool {
    match (left, right) {
        (DataType::Array(left), DataType::Array(right)) => same_type(left.element_type(), right.element_type()),
        (DataType::Map(left), DataType::Map(right)) => {
            same_type(left.key_type(), right.key_type()) && same_type(left.value_type(), right.value_type())
        }
        (DataType::Struct(left), DataType::Struct(right)) => {
            left.fields().count() == right.fields().count()
                && left
                    .fields()
                    .zip(right.fields())
                    .all(|(l, r)| l.name() == r.name() && same_type(l.data_type(), r.data_type()))
        }
        _ => left == right,
    }
}

fn delta_type(arrow: &ArrowType) -> Result<DataType, String> {
    let inner = |it: &Field| delta_type(it.data_type()).map_err(|why| format!("holds '{}', which {why}", it.name()));
    Ok(match arrow {
        ArrowType::Boolean => DataType::BOOLEAN,
        ArrowType::Int8 => DataType::BYTE,
        // Delta has no unsigned numbers: the next larger type holds them. Values of UInt64 that don't fit are rejected.
        ArrowType::Int16 | ArrowType::UInt8 => DataType::SHORT,
        ArrowType::Int32 | ArrowType::UInt16 => DataType::INTEGER,
        ArrowType::Int64 | ArrowType::UInt32 | ArrowType::UInt64 => DataType::LONG,
        ArrowType::Float16 | ArrowType::Float32 => DataType::FLOAT,
        ArrowType::Float64 => DataType::DOUBLE,
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => DataType::STRING,
        ArrowType::Binary | ArrowType::LargeBinary | ArrowType::BinaryView | ArrowType::FixedSizeBinary(_) => {
            DataType::BINARY
        }
        ArrowType::Date32 | ArrowType::Date64 => DataType::DATE,
        ArrowType::Timestamp(..) => DataType::TIMESTAMP,
        ArrowType::Decimal32(precision, scale)
        | ArrowType::Decimal64(precision, scale)
        | ArrowType::Decimal128(precision, scale) => decimal(*precision, *scale)?,
        ArrowType::List(item)
        | ArrowType::LargeList(item)
        | ArrowType::ListView(item)
        | ArrowType::LargeListView(item)
        | ArrowType::FixedSizeList(item, _) => ArrayType::new(inner(item)?, true).into(),
        ArrowType::Map(entries, _) => match entries.data_type() {
            ArrowType::Struct(pair) => match pair.iter().as_slice() {
                [key, value] => MapType::new(inner(key)?, inner(value)?, true).into(),
                _ => return Err(format!("has type {arrow}, expected a key and a value")),
            },
            _ => return Err(format!("has type {arrow}, expected a key and a value")),
        },
        ArrowType::Struct(fields) => {
            let fields: Result<Vec<_>, String> =
                fields.iter().map(|it| Ok(StructField::new(it.name(), inner(it)?, true))).collect();
            StructType::try_new(fields?).map_err(|e| format!("is a struct that a table can't hold: {e}"))?.into()
        }
        ArrowType::Dictionary(_, values) => delta_type(values)?,
        ArrowType::RunEndEncoded(_, values) => inner(values)?,
        ArrowType::Null => return Err("has no type, as NULL has none: cast it".to_owned()),
        _ => return Err(format!("has type {arrow}, which Delta does not have: cast it")),
    })
}

fn decimal(precision: u8, scale: i8) -> Result<DataType, String> {
    let wrong = || format!("has type DECIMAL({precision}, {scale}), which Delta does not have: cast it");
    let scale = u8::try_from(scale).map_err(|_| wrong())?;
    PrimitiveType::decimal(precision, scale).map(DataType::Primitive).map_err(|_| wrong())
}

#[cfg(test)]
mod tests;
