//! `window_start`, `window_starts`, `window_of`: what `window(..)` is made of; and `window_time`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, TimestampMicrosecondBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, StructArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, ScalarValue, exec_err, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::constant_int;
use crate::event_time::{DELAY, WATERMARK, WINDOW, timestamp, window_fields, window_type};

#[cfg(test)]
mod tests;

/// `window_start(time, slide, offset)`: the start of the last window that begins at or before `time`.
pub(crate) fn window_start() -> Arc<ScalarUDF> {
    let signature = Signature::exact(vec![timestamp(), DataType::Int64, DataType::Int64], Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(WindowStart { signature }))
}

/// `window_starts(time, size, slide, offset)`: the starts of all windows that hold `time`, latest first.
pub(crate) fn window_starts() -> Arc<ScalarUDF> {
    let arguments = vec![timestamp(), DataType::Int64, DataType::Int64, DataType::Int64];
    let signature = Signature::exact(arguments, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(WindowStarts { signature }))
}

/// `window_of(start, size, marked)`: the window as a struct; `marked` says that it is one of event time.
pub(crate) fn window_of() -> Arc<ScalarUDF> {
    let arguments = vec![timestamp(), DataType::Int64, DataType::Boolean];
    let signature = Signature::exact(arguments, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(WindowOf { signature }))
}

/// `window_time(window)`: the last microsecond of a window.
pub(crate) fn window_time() -> Arc<ScalarUDF> {
    let signature = Signature::exact(vec![window_type()], Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(WindowTime { signature }))
}

/// Starts of windows for times in order of arrival: neighbours mostly share a window, which saves the division.
struct Starts {
    slide: i64,
    offset: i64,
    last: i64,
}

impl Starts {
    fn new(slide: i64, offset: i64) -> Result<Self, DataFusionError> {
        if slide <= 0 {
            return internal_err!("a window's slide is {slide}");
        }
        Ok(Self { slide, offset, last: offset })
    }

    fn of(&mut self, time: i64) -> i64 {
        if !(0..self.slide).contains(&time.wrapping_sub(self.last)) || time < self.last {
            self.last = time.saturating_sub(time.wrapping_sub(self.offset).rem_euclid(self.slide));
        }
        self.last
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowStart {
    signature: Signature,
}

impl ScalarUDFImpl for WindowStart {
    fn name(&self) -> &str {
        "window_start"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(timestamp())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let mut starts =
            Starts::new(constant_int(args.args.get(1), "slide")?, constant_int(args.args.get(2), "offset")?)?;
        let times = times(&args)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let values = times.values().iter().map(|it| starts.of(*it)).collect();
        let starts = TimestampMicrosecondArray::try_new(values, times.nulls().cloned())?;
        Ok(ColumnarValue::Array(Arc::new(starts.with_timezone("UTC"))))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowStarts {
    signature: Signature,
}

impl ScalarUDFImpl for WindowStarts {
    fn name(&self) -> &str {
        "window_starts"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::new_list(timestamp(), true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let size = constant_int(args.args.get(1), "size")?;
        let slide = constant_int(args.args.get(2), "slide")?;
        let mut starts = Starts::new(slide, constant_int(args.args.get(3), "offset")?)?;
        let times = times(&args)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let per_row = usize::try_from(size / slide).unwrap_or(1).saturating_add(1);
        let values = TimestampMicrosecondBuilder::with_capacity(times.len().saturating_mul(per_row).min(1 << 20))
            .with_timezone("UTC");
        let mut lists = ListBuilder::with_capacity(values, times.len());
        for time in times {
            if let Some(time) = time {
                let mut start = starts.of(time);
                while start.saturating_add(size) > time {
                    lists.values().append_value(start);
                    let Some(earlier) = start.checked_sub(slide) else { break };
                    start = earlier;
                }
            }
            lists.append(time.is_some());
        }
        Ok(ColumnarValue::Array(Arc::new(lists.finish())))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowOf {
    signature: Signature,
}

impl ScalarUDFImpl for WindowOf {
    fn name(&self) -> &str {
        "window_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(window_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef, DataFusionError> {
        let [_, Some(ScalarValue::Int64(Some(size))), Some(ScalarValue::Boolean(Some(marked)))] = args.scalar_arguments
        else {
            return plan_err!("window_of: expected a start, a constant size and a constant mark");
        };
        let mut marks = HashMap::from([(WINDOW.to_owned(), size.to_string())]);
        if *marked {
            marks.insert(WATERMARK.to_owned(), String::new());
        }
        Ok(Arc::new(Field::new(self.name(), window_type(), false).with_metadata(marks)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let size = constant_int(args.args.get(1), "size")?;
        let starts = times(&args)?;
        let ends: TimestampMicrosecondArray =
            starts.as_primitive::<TimestampMicrosecondType>().unary(|it| it.saturating_add(size));
        let ends: ArrayRef = Arc::new(ends.with_timezone("UTC"));
        Ok(ColumnarValue::Array(Arc::new(StructArray::try_new(window_fields(), vec![starts, ends], None)?)))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowTime {
    signature: Signature,
}

impl ScalarUDFImpl for WindowTime {
    fn name(&self) -> &str {
        "window_time"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(timestamp())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef, DataFusionError> {
        let [window] = args.arg_fields else { return plan_err!("window_time: expected one argument") };
        let kept = window.metadata().iter().filter(|(key, _)| [WATERMARK, DELAY].contains(&key.as_str()));
        let marks = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok(Arc::new(Field::new(self.name(), timestamp(), window.is_nullable()).with_metadata(marks)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let windows = times(&args)?;
        let windows = windows.as_struct();
        let Some(ends) = windows.column_by_name("end") else { return exec_err!("window_time: expected a window") };
        let ends = ends.as_primitive::<TimestampMicrosecondType>();
        let nulls = arrow_buffer::NullBuffer::union(windows.nulls(), ends.nulls());
        let last: TimestampMicrosecondArray = ends.unary(|it| it.saturating_sub(1));
        let last = TimestampMicrosecondArray::try_new(last.values().clone(), nulls)?;
        Ok(ColumnarValue::Array(Arc::new(last.with_timezone("UTC"))))
    }
}

/// The first argument as an array.
fn times(args: &ScalarFunctionArgs) -> Result<ArrayRef, DataFusionError> {
    match args.args.first() {
        Some(value) => value.to_array(args.number_rows),
        None => exec_err!("expected an argument"),
    }
}
