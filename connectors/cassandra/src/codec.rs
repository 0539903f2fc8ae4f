//! `Codec`: how values of one Arrow type are written into a column of one CQL type, and read from it; chosen when sink or
//! source is built.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, TimeUnit};
use scylla::cluster::metadata::{CollectionType, ColumnType, NativeType};

/// The way from an Arrow type, as `plain` gives it, to a CQL type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Codec {
    /// The column holds nothing but nulls.
    Null,
    Bool,
    /// A whole number of one, two, four or eight bytes.
    Int(usize),
    VarInt,
    Float,
    /// FLOAT into double.
    Widened,
    Double,
    /// A decimal of this many digits after the point.
    Decimal(i32),
    /// A decimal without such digits, into varint.
    Whole,
    /// BIGINT into decimal.
    IntDecimal,
    Text,
    Ascii,
    Blob,
    /// Rounded down to milliseconds.
    Timestamp(TimeUnit),
    Date,
    Time,
    /// BIGINT nanoseconds of a day into time.
    TimeOfDay,
    /// From text; only of version 1 if true.
    Uuid(bool),
    /// From text.
    Inet,
    /// Lists and sets.
    List(Box<Codec>),
    Map(Box<Codec>, Box<Codec>),
    /// For each field of the type its place in the struct.
    Udt(Vec<Option<(usize, Codec)>>),
}

/// The type that values are cast to before they are written: one width for whole numbers, one layout for text.
pub(crate) fn plain(of: &DataType) -> DataType {
    let field = |it: &Arc<Field>| Arc::new(it.as_ref().clone().with_data_type(plain(it.data_type())));
    match of {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => {
            DataType::Int64
        }
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Nanosecond),
        DataType::Dictionary(_, values) => plain(values),
        DataType::List(it) | DataType::LargeList(it) | DataType::FixedSizeList(it, _) => DataType::List(field(it)),
        DataType::Map(entries, sorted) => DataType::Map(field(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect::<Fields>()),
        other => other.clone(),
    }
}

/// How values of `from` (as `plain` gives it) go into a column of type `to`; `None` if they don't fit.
pub(crate) fn codec(from: &DataType, to: &ColumnType<'_>) -> Option<Codec> {
    use NativeType as N;
    if *from == DataType::Null {
        return Some(Codec::Null);
    }
    match to {
        ColumnType::Native(to) => Some(match (from, to) {
            (DataType::Boolean, N::Boolean) => Codec::Bool,
            (DataType::Int64, N::TinyInt) => Codec::Int(1),
            (DataType::Int64, N::SmallInt) => Codec::Int(2),
            (DataType::Int64, N::Int) => Codec::Int(4),
            (DataType::Int64, N::BigInt | N::Counter) => Codec::Int(8),
            (DataType::Int64, N::Varint) => Codec::VarInt,
            (DataType::Int64, N::Decimal) => Codec::IntDecimal,
            (DataType::Float32, N::Float) => Codec::Float,
            (DataType::Float32, N::Double) => Codec::Widened,
            (DataType::Float64, N::Double) => Codec::Double,
            (DataType::Decimal128(_, scale), N::Decimal) => Codec::Decimal(i32::from(*scale)),
            (DataType::Decimal128(_, 0), N::Varint) => Codec::Whole,
            (DataType::Utf8, N::Text) => Codec::Text,
            (DataType::Utf8, N::Ascii) => Codec::Ascii,
            (DataType::Utf8, N::Uuid) => Codec::Uuid(false),
            (DataType::Utf8, N::Timeuuid) => Codec::Uuid(true),
            (DataType::Utf8, N::Inet) => Codec::Inet,
            (DataType::Binary, N::Blob) => Codec::Blob,
            (DataType::Timestamp(unit, _), N::Timestamp) => Codec::Timestamp(*unit),
            (DataType::Date32, N::Date) => Codec::Date,
            (DataType::Time64(TimeUnit::Nanosecond), N::Time) => Codec::Time,
            (DataType::Int64, N::Time) => Codec::TimeOfDay,
            _ => return None,
        }),
        ColumnType::Collection { typ, .. } => collection(from, typ),
        ColumnType::UserDefinedType { definition, .. } => {
            let DataType::Struct(fields) = from else { return None };
            let fits = |it: &Field| definition.field_types.iter().any(|(name, _)| name.eq_ignore_ascii_case(it.name()));
            // A field that the type lacks would be dropped without a word.
            if !fields.iter().all(|it| fits(it)) {
                return None;
            }
            let field = |name: &str, to: &ColumnType<'_>| {
                let found = fields.iter().position(|it| it.name().eq_ignore_ascii_case(name));
                let Some(at) = found else { return Some(None) };
                let codec = codec(fields.get(at)?.data_type(), to)?;
                Some(Some((at, codec)))
            };
            let all: Option<Vec<_>> = definition.field_types.iter().map(|(name, to)| field(name, to)).collect();
            all.map(Codec::Udt)
        }
        _ => None,
    }
}

fn collection(from: &DataType, to: &CollectionType<'_>) -> Option<Codec> {
    match (from, to) {
        (DataType::List(of), CollectionType::List(to) | CollectionType::Set(to)) => {
            Some(Codec::List(Box::new(codec(of.data_type(), to)?)))
        }
        (DataType::Map(entries, _), CollectionType::Map(key, value)) => {
            let DataType::Struct(fields) = entries.data_type() else { return None };
            let (from_key, from_value) = (fields.first()?, fields.get(1)?);
            let key = codec(from_key.data_type(), key)?;
            Some(Codec::Map(Box::new(key), Box::new(codec(from_value.data_type(), value)?)))
        }
        _ => None,
    }
}

/// How a column of type `from` is read as values of `to` (as `plain` gives it); `None` if that would lose any.
pub(crate) fn reading(to: &DataType, from: &ColumnType<'_>) -> Option<Codec> {
    codec(to, from).filter(keeps_all)
}

/// Whether what is in a table can be had as what may be written there.
fn keeps_all(codec: &Codec) -> bool {
    match codec {
        Codec::Null | Codec::Widened => false,
        Codec::List(of) => keeps_all(of),
        Codec::Map(key, value) => keeps_all(key) && keeps_all(value),
        Codec::Udt(fields) => fields.iter().flatten().all(|(_, it)| keeps_all(it)),
        _ => true,
    }
}

/// The type that a column is read as if none was declared (Spark Cassandra Connector: `DataTypeConverter`); `None` if it can't
/// be read.
pub(crate) fn natural(of: &ColumnType<'_>) -> Option<DataType> {
    use NativeType as N;
    let field = |name: &str, of: &ColumnType<'_>| Some(Field::new(name, natural(of)?, true));
    Some(match of {
        ColumnType::Native(it) => match it {
            N::Boolean => DataType::Boolean,
            N::TinyInt => DataType::Int8,
            N::SmallInt => DataType::Int16,
            N::Int => DataType::Int32,
            N::BigInt | N::Counter | N::Time => DataType::Int64,
            N::Float => DataType::Float32,
            N::Double => DataType::Float64,
            N::Varint => DataType::Decimal128(38, 0),
            N::Decimal => DataType::Decimal128(38, 18),
            N::Text | N::Ascii | N::Uuid | N::Timeuuid | N::Inet => DataType::Utf8,
            N::Blob => DataType::Binary,
            N::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            N::Date => DataType::Date32,
            _ => return None,
        },
        ColumnType::Collection { typ: CollectionType::List(it) | CollectionType::Set(it), .. } => {
            DataType::List(Arc::new(field("item", it)?))
        }
        ColumnType::Collection { typ: CollectionType::Map(key, value), .. } => {
            let entries = Fields::from(vec![field("key", key)?.with_nullable(false), field("value", value)?]);
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
        }
        ColumnType::UserDefinedType { definition, .. } => {
            let fields = definition.field_types.iter().map(|(name, of)| field(name, of));
            DataType::Struct(fields.collect::<Option<Fields>>()?)
        }
        _ => return None,
    })
}

/// The name of a CQL type, as `CREATE TABLE` would have it.
pub(crate) fn cql_name(of: &ColumnType<'_>) -> String {
    let frozen = |frozen: bool, name: String| if frozen { format!("frozen<{name}>") } else { name };
    match of {
        ColumnType::Native(it) => format!("{it:?}").to_ascii_lowercase(),
        ColumnType::Collection { frozen: is, typ } => match typ {
            CollectionType::List(of) => frozen(*is, format!("list<{}>", cql_name(of))),
            CollectionType::Set(of) => frozen(*is, format!("set<{}>", cql_name(of))),
            CollectionType::Map(key, value) => frozen(*is, format!("map<{}, {}>", cql_name(key), cql_name(value))),
            _ => "a collection".to_owned(),
        },
        ColumnType::Vector { typ, dimensions } => format!("vector<{}, {dimensions}>", cql_name(typ)),
        ColumnType::UserDefinedType { frozen: is, definition } => frozen(*is, definition.name.to_string()),
        ColumnType::Tuple(of) => format!("tuple<{}>", of.iter().map(cql_name).collect::<Vec<_>>().join(", ")),
        _ => "an unknown type".to_owned(),
    }
}
