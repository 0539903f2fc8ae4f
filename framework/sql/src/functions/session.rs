//! `session_end` and `session_of`: what `session_window(..)` is made of.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::timezone::Tz;
use arrow_array::types::{IntervalMonthDayNanoType, TimestampMicrosecondType};
use arrow_array::{ArrayRef, StructArray, TimestampMicrosecondArray};
use arrow_buffer::IntervalMonthDayNano;
use arrow_schema::{DataType, Field, FieldRef, IntervalUnit};
use datafusion::common::{DataFusionError, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use tidegate_formats::interval::{self, Interval};

use super::constant_int;
use crate::error::external;
use crate::event_time::{SESSION, WATERMARK, timestamp, window_fields, window_type};

/// `session_end(time, gap)`: `time + gap`; null where the gap is null, no interval, or not above zero. A gap is BIGINT
/// (microseconds, constant), INTERVAL or STRING.
pub(crate) fn session_end() -> Arc<ScalarUDF> {
    let with = |gap: DataType| TypeSignature::Exact(vec![timestamp(), gap]);
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    let forms = vec![with(DataType::Int64), with(interval), with(DataType::Utf8)];
    let signature = Signature::one_of(forms, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(SessionEnd { signature }))
}

/// `session_of(start, end, marked)`: the session as a struct; `marked` says that it is one of event time.
pub(crate) fn session_of() -> Arc<ScalarUDF> {
    let arguments = vec![timestamp(), timestamp(), DataType::Boolean];
    Arc::new(ScalarUDF::new_from_impl(SessionOf { signature: Signature::exact(arguments, Volatility::Immutable) }))
}

/// An interval as DataFusion holds it; none if it is too long.
pub(crate) fn as_month_day_nano(interval: Interval) -> Option<IntervalMonthDayNano> {
    let months = i32::try_from(interval.months).ok()?;
    let days = i32::try_from(interval.days).ok()?;
    Some(IntervalMonthDayNano::new(months, days, interval.micros.checked_mul(1000)?))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SessionEnd {
    signature: Signature,
}

impl ScalarUDFImpl for SessionEnd {
    fn name(&self) -> &str {
        "session_end"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(timestamp())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let [times, gap] = args.args.as_slice() else { return exec_err!("session_end: expected a time and a gap") };
        let times = times.to_array(args.number_rows)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let ends: TimestampMicrosecondArray = match gap.data_type() {
            DataType::Int64 => {
                let gap_us = constant_int(Some(gap), "session_end: the gap")?;
                times.unary_opt(|time| time.checked_add(gap_us).filter(|_| gap_us > 0))
            }
            DataType::Utf8 => {
                let texts = gap.to_array(args.number_rows)?;
                let mut gaps = Gaps::default();
                pairs(times, texts.as_string::<i32>().iter(), |time, text| later(time, gaps.read(text)?))
            }
            _ => {
                let gaps = gap.to_array(args.number_rows)?;
                pairs(times, gaps.as_primitive::<IntervalMonthDayNanoType>().iter(), later)
            }
        };
        Ok(ColumnarValue::Array(Arc::new(ends.with_timezone("UTC"))))
    }
}

fn pairs<T>(
    times: &TimestampMicrosecondArray,
    gaps: impl Iterator<Item = Option<T>>,
    mut end: impl FnMut(i64, T) -> Option<i64>,
) -> TimestampMicrosecondArray {
    times.iter().zip(gaps).map(|(time, gap)| end(time?, gap?)).collect()
}

/// `time + gap`, if that is later.
fn later(time: i64, gap: IntervalMonthDayNano) -> Option<i64> {
    let utc: Tz = "+00:00".parse().ok()?;
    TimestampMicrosecondType::add_month_day_nano(time, gap, utc).filter(|end| *end > time)
}

/// Texts that were read before: there are few.
#[derive(Default)]
struct Gaps<'t>(BTreeMap<&'t str, Option<IntervalMonthDayNano>>);

impl<'t> Gaps<'t> {
    fn read(&mut self, text: &'t str) -> Option<IntervalMonthDayNano> {
        *self.0.entry(text).or_insert_with(|| interval::parse(text).ok().and_then(as_month_day_nano))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SessionOf {
    signature: Signature,
}

impl ScalarUDFImpl for SessionOf {
    fn name(&self) -> &str {
        "session_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(window_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef, DataFusionError> {
        let [_, _, Some(ScalarValue::Boolean(Some(marked)))] = args.scalar_arguments else {
            return plan_err!("session_of: expected a start, an end and a constant mark");
        };
        let mut marks = HashMap::from([(SESSION.to_owned(), String::new())]);
        if *marked {
            marks.insert(WATERMARK.to_owned(), String::new());
        }
        Ok(Arc::new(Field::new(self.name(), window_type(), false).with_metadata(marks)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let [starts, ends, _] = args.args.as_slice() else {
            return exec_err!("session_of: expected a start and an end");
        };
        let columns: Vec<ArrayRef> = vec![starts.to_array(args.number_rows)?, ends.to_array(args.number_rows)?];
        Ok(ColumnarValue::Array(Arc::new(StructArray::try_new(window_fields(), columns, None)?)))
    }
}

/// The end of an event's session: the gap must be an interval, whatever it is made of.
pub(crate) fn fixed_gap(text: &str) -> Result<ScalarValue, DataFusionError> {
    let interval = interval::parse(text).map_err(|error| external(error.within(format!("gap '{text}'"))))?;
    Ok(match (interval.fixed_micros(), as_month_day_nano(interval)) {
        (Some(gap_us), _) => ScalarValue::Int64(Some(gap_us)),
        (None, gap) => ScalarValue::IntervalMonthDayNano(gap),
    })
}
