//! One cell as Spark's `show()` prints it.

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DecimalType, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Float32Type, Float64Type, IntervalMonthDayNanoType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, downcast_dictionary_array};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};
use tidegate_api::{Error, Result};

use crate::number::push_float;
use crate::time::{push_calendar, push_date, push_duration, push_timestamp};

/// Appends row `row` of `array`.
pub(crate) fn push_cell(out: &mut String, array: &dyn Array, row: usize) -> Result<()> {
    if array.is_null(row) || array.data_type().is_null() {
        out.push_str("NULL");
        return Ok(());
    }
    match array.data_type() {
        DataType::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => out.push_str(array.as_string::<i64>().value(row)),
        DataType::Utf8View => out.push_str(array.as_string_view().value(row)),
        DataType::Binary => push_bytes(out, array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => push_bytes(out, array.as_binary::<i64>().value(row)),
        DataType::BinaryView => push_bytes(out, array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => push_bytes(out, array.as_fixed_size_binary().value(row)),
        DataType::Float32 => {
            let value = number::<Float32Type>(array, row);
            push_float(out, &value, f64::from(value).abs());
        }
        DataType::Float64 => {
            let value = number::<Float64Type>(array, row);
            push_float(out, &value, value.abs());
        }
        DataType::Decimal32(_, scale) => push_decimal::<Decimal32Type>(out, array, row, *scale),
        DataType::Decimal64(_, scale) => push_decimal::<Decimal64Type>(out, array, row, *scale),
        DataType::Decimal128(_, scale) => push_decimal::<Decimal128Type>(out, array, row, *scale),
        DataType::Decimal256(_, scale) => push_decimal::<Decimal256Type>(out, array, row, *scale),
        DataType::Date32 => push_date(out, i64::from(number::<Date32Type>(array, row))),
        DataType::Date64 => push_date(out, number::<Date64Type>(array, row).div_euclid(86_400_000)),
        DataType::Timestamp(unit, _) => push_timestamp(out, timestamp_us(array, row, *unit)),
        DataType::Duration(unit) => push_duration(out, duration_us(array, row, *unit)),
        DataType::Interval(arrow_schema::IntervalUnit::MonthDayNano) => {
            let it = number::<IntervalMonthDayNanoType>(array, row);
            push_calendar(out, it.months, it.days, it.nanoseconds / 1000);
        }
        DataType::List(_) => push_list(out, &*array.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => push_list(out, &*array.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(..) => push_list(out, &*array.as_fixed_size_list().value(row))?,
        DataType::Struct(_) => push_struct(out, array, row)?,
        DataType::Map(..) => push_map(out, array, row)?,
        DataType::Dictionary(..) => push_dictionary(out, array, row)?,
        _ => push_other(out, array, row)?,
    }
    Ok(())
}

fn number<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> T::Native {
    array.as_primitive::<T>().value(row)
}

fn push_decimal<T: DecimalType>(out: &mut String, array: &dyn Array, row: usize, scale: i8) {
    out.push_str(&T::format_decimal(number::<T>(array, row), T::MAX_PRECISION, scale));
}

fn timestamp_us(array: &dyn Array, row: usize, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => number::<TimestampSecondType>(array, row).saturating_mul(1_000_000),
        TimeUnit::Millisecond => number::<TimestampMillisecondType>(array, row).saturating_mul(1000),
        TimeUnit::Microsecond => number::<TimestampMicrosecondType>(array, row),
        TimeUnit::Nanosecond => number::<TimestampNanosecondType>(array, row).div_euclid(1000),
    }
}

fn duration_us(array: &dyn Array, row: usize, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => number::<DurationSecondType>(array, row).saturating_mul(1_000_000),
        TimeUnit::Millisecond => number::<DurationMillisecondType>(array, row).saturating_mul(1000),
        TimeUnit::Microsecond => number::<DurationMicrosecondType>(array, row),
        TimeUnit::Nanosecond => number::<DurationNanosecondType>(array, row) / 1000,
    }
}

/// `[61 62]`
fn push_bytes(out: &mut String, bytes: &[u8]) {
    out.push('[');
    for (at, byte) in bytes.iter().enumerate() {
        let gap = if at == 0 { "" } else { " " };
        // Writing to a string can't fail.
        let _ = write!(out, "{gap}{byte:02X}");
    }
    out.push(']');
}

/// `[1, 2]`
fn push_list(out: &mut String, values: &dyn Array) -> Result<()> {
    out.push('[');
    for row in 0..values.len() {
        push_gap(out, row);
        push_cell(out, values, row)?;
    }
    out.push(']');
    Ok(())
}

/// `{a, b}`
fn push_struct(out: &mut String, array: &dyn Array, row: usize) -> Result<()> {
    out.push('{');
    for (at, column) in array.as_struct().columns().iter().enumerate() {
        push_gap(out, at);
        push_cell(out, column, row)?;
    }
    out.push('}');
    Ok(())
}

/// `{k -> v}`
fn push_map(out: &mut String, array: &dyn Array, row: usize) -> Result<()> {
    let entries = array.as_map().value(row);
    out.push('{');
    for entry in 0..entries.len() {
        push_gap(out, entry);
        push_cell(out, entries.column(0), entry)?;
        out.push_str(" -> ");
        push_cell(out, entries.column(1), entry)?;
    }
    out.push('}');
    Ok(())
}

fn push_dictionary(out: &mut String, array: &dyn Array, row: usize) -> Result<()> {
    downcast_dictionary_array!(
        array => array.key(row).map_or(Ok(()), |key| push_cell(out, array.values(), key)),
        _ => push_other(out, array, row)
    )
}

fn push_gap(out: &mut String, at: usize) {
    if at > 0 {
        out.push_str(", ");
    }
}

/// Whole numbers, booleans and whatever Spark has no type for.
fn push_other(out: &mut String, array: &dyn Array, row: usize) -> Result<()> {
    let failed = |e| Error::internal(format!("console: a {} can't be printed", array.data_type())).because(e);
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::new()).map_err(failed)?;
    out.push_str(&formatter.value(row).to_string());
    Ok(())
}
