//! `to_timestamp(text[, pattern])`, `date_format(timestamp, pattern)` and `timestamp_seconds(number)`.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, Decimal128Array, StringArray, TimestampMicrosecondArray};
use arrow_schema::DataType;
use datafusion::common::{DataFusionError, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use tidegate_formats::datetime::{JavaPattern, parse_timestamp};

use super::{constant, constant_text};
use crate::error::external;
use crate::event_time::timestamp;

#[cfg(test)]
mod tests;

const MICROS: i64 = 1_000_000;
const MICROS_DIGITS: i8 = 6;

/// `to_timestamp(text[, pattern])`: null for a text that does not match. A timestamp or date passes, a number is
/// seconds.
pub(crate) fn to_timestamp() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(ToTimestamp { signature: Signature::user_defined(Volatility::Immutable) }))
}

/// `date_format(timestamp, pattern)`: as text, by Java's letters; a date is its midnight, a text is read as a timestamp first.
pub(crate) fn date_format() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(DateFormat { signature: Signature::user_defined(Volatility::Immutable) }))
}

/// `timestamp_seconds(number)`: seconds since 1970, with fractions.
pub(crate) fn timestamp_seconds() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(TimestampSeconds { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToTimestamp {
    signature: Signature,
}

impl ScalarUDFImpl for ToTimestamp {
    fn name(&self) -> &str {
        "to_timestamp"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>, DataFusionError> {
        let text = |it: &DataType| it.is_string() || it.is_null();
        match types {
            [first] if text(first) => Ok(vec![DataType::Utf8]),
            [DataType::Timestamp(..) | DataType::Date32] => Ok(vec![timestamp()]),
            [first] => Ok(vec![number(first, "to_timestamp")?]),
            [first, second] if text(first) && text(second) => Ok(vec![DataType::Utf8, DataType::Utf8]),
            _ => plan_err!("to_timestamp: expected a text and perhaps a pattern, found {}", names(types)),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(timestamp())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<arrow_schema::FieldRef, DataFusionError> {
        if let [_, pattern] = args.scalar_arguments {
            check_pattern(self.name(), *pattern)?;
        }
        Ok(Arc::new(arrow_schema::Field::new(self.name(), timestamp(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let Some(values) = args.args.first() else { return plan_err!("to_timestamp: expected a text") };
        let values = values.to_array(args.number_rows)?;
        let times = match values.data_type() {
            DataType::Timestamp(..) => values,
            DataType::Utf8 if args.args.len() == 2 => {
                let pattern = JavaPattern::compile(constant_text(args.args.get(1), "to_timestamp: the pattern")?);
                let pattern = pattern.map_err(external)?;
                texts(values.as_string(), |text| pattern.parse(text))
            }
            DataType::Utf8 => texts(values.as_string(), |text| parse_timestamp(text.as_bytes())),
            _ => seconds(&values)?,
        };
        Ok(ColumnarValue::Array(times))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateFormat {
    signature: Signature,
}

impl ScalarUDFImpl for DateFormat {
    fn name(&self) -> &str {
        "date_format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>, DataFusionError> {
        let time = |it: &DataType| matches!(it, DataType::Timestamp(..) | DataType::Date32 | DataType::Null);
        let text = |it: &DataType| it.is_string() || it.is_null();
        match types {
            [first, second] if time(first) && text(second) => Ok(vec![timestamp(), DataType::Utf8]),
            [first, second] if text(first) && text(second) => Ok(vec![DataType::Utf8, DataType::Utf8]),
            _ => plan_err!("date_format: expected a TIMESTAMP and a pattern, found {}", names(types)),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<arrow_schema::FieldRef, DataFusionError> {
        if let [_, pattern] = args.scalar_arguments {
            check_pattern(self.name(), *pattern)?;
        }
        Ok(Arc::new(arrow_schema::Field::new(self.name(), DataType::Utf8, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let [times, pattern] = args.args.as_slice() else {
            return plan_err!("date_format: expected a TIMESTAMP and a pattern");
        };
        let pattern = constant(Some(pattern), "date_format: the pattern")?;
        if pattern.is_null() {
            return Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None)));
        }
        let pattern = pattern.try_as_str().flatten().unwrap_or_default();
        let pattern = JavaPattern::compile(pattern).map_err(external)?;
        let mut times = times.to_array(args.number_rows)?;
        if times.data_type() == &DataType::Utf8 {
            times = texts(times.as_string(), |text| parse_timestamp(text.as_bytes()));
        }
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let formatted: StringArray = times.iter().map(|it| it.map(|us| pattern.format(us))).collect();
        Ok(ColumnarValue::Array(Arc::new(formatted)))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimestampSeconds {
    signature: Signature,
}

impl ScalarUDFImpl for TimestampSeconds {
    fn name(&self) -> &str {
        "timestamp_seconds"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>, DataFusionError> {
        match types {
            [only] => Ok(vec![number(only, "timestamp_seconds")?]),
            _ => plan_err!("timestamp_seconds: expected one number, found {}", names(types)),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(timestamp())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let Some(values) = args.args.first() else { return plan_err!("timestamp_seconds: expected a number") };
        Ok(ColumnarValue::Array(seconds(&values.to_array(args.number_rows)?)?))
    }
}

/// A wrong pattern is the query's fault: this says so before any row comes.
fn check_pattern(function: &str, pattern: Option<&ScalarValue>) -> Result<(), DataFusionError> {
    match pattern {
        Some(ScalarValue::Null) => Ok(()),
        Some(pattern) => {
            let pattern = pattern.try_as_str().flatten().unwrap_or_default();
            JavaPattern::compile(pattern).map(|_| ()).map_err(|error| external(error.within(function)))
        }
        None => plan_err!("{function}: the pattern must be a constant such as 'yyyy-MM-dd HH:mm:ss'"),
    }
}

fn texts(values: &StringArray, parse: impl Fn(&str) -> Option<i64>) -> ArrayRef {
    let times: TimestampMicrosecondArray = values.iter().map(|text| parse(text?)).collect();
    Arc::new(times.with_timezone("UTC"))
}

/// Seconds as timestamps. What is out of range is null: one bad number must not stop a stream.
fn seconds(values: &ArrayRef) -> Result<ArrayRef, DataFusionError> {
    let times: TimestampMicrosecondArray = match values.data_type() {
        DataType::Int64 => values.as_primitive::<Int64Type>().unary_opt(|it| it.checked_mul(MICROS)),
        DataType::Float64 => values.as_primitive::<Float64Type>().unary_opt(float_micros),
        DataType::Decimal128(_, scale) => {
            let decimals: &Decimal128Array = values.as_primitive::<Decimal128Type>();
            decimals.unary_opt(|it| decimal_micros(it, *scale))
        }
        other => return exec_err!("timestamp_seconds: expected a number, found {other}"),
    };
    Ok(Arc::new(times.with_timezone("UTC")))
}

fn float_micros(seconds: f64) -> Option<i64> {
    let micros = seconds * 1e6;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "cut to whole microseconds, as Spark does; the range is checked"
    )]
    (micros.abs() < 9.2e18).then_some(micros as i64)
}

fn decimal_micros(value: i128, scale: i8) -> Option<i64> {
    let digits = u32::from(scale.abs_diff(MICROS_DIGITS));
    let factor = 10_i128.checked_pow(digits)?;
    let micros = if scale <= MICROS_DIGITS { value.checked_mul(factor)? } else { value / factor };
    i64::try_from(micros).ok()
}

fn number(found: &DataType, function: &str) -> Result<DataType, DataFusionError> {
    match found {
        DataType::Null => Ok(DataType::Int64),
        it if it.is_integer() => Ok(DataType::Int64),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Ok(DataType::Float64),
        DataType::Decimal128(..) => Ok(found.clone()),
        other => plan_err!("{function}: expected a number, found {other}"),
    }
}

fn names(types: &[DataType]) -> String {
    types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
