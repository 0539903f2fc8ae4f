use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, TimestampMicrosecondArray};
use arrow_schema::{Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF};

use super::{Starts, window_of, window_start, window_starts, window_time};
use crate::event_time::{EventTime, event_time, timestamp, window_type};

/// The windows that hold `time`, by the definition alone.
fn model(time: i64, size: i64, slide: i64, offset: i64) -> Vec<i64> {
    let last = time - (time - offset).rem_euclid(slide);
    let count = (size + slide - 1) / slide;
    (0..count).map(|i| last - i * slide).filter(|start| *start <= time && time < start + size).collect()
}

fn invoke(function: &ScalarUDF, times: ArrayRef, constants: &[ScalarValue]) -> ArrayRef {
    let number_rows = times.len();
    let mut args = vec![ColumnarValue::Array(times)];
    args.extend(constants.iter().cloned().map(ColumnarValue::Scalar));
    let arg_fields: Vec<FieldRef> = args.iter().map(|it| Arc::new(Field::new("a", it.data_type(), true))).collect();
    let scalars: Vec<Option<&ScalarValue>> = args
        .iter()
        .map(|it| match it {
            ColumnarValue::Scalar(value) => Some(value),
            ColumnarValue::Array(_) => None,
        })
        .collect();
    let return_field = function
        .return_field_from_args(ReturnFieldArgs { arg_fields: &arg_fields, scalar_arguments: &scalars })
        .unwrap();
    let config_options = Arc::new(ConfigOptions::default());
    let called = ScalarFunctionArgs { args, arg_fields, number_rows, return_field, config_options };
    function.invoke_with_args(called).unwrap().to_array(number_rows).unwrap()
}

fn times(values: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
}

fn ints(values: &[i64]) -> Vec<ScalarValue> {
    values.iter().map(|it| ScalarValue::Int64(Some(*it))).collect()
}

/// Every size, slide and offset of a small world, over times on both sides of 1970 in a mixed order.
#[test]
fn starts_are_those_of_the_definition() {
    let mixed: Vec<i64> = (0..200).map(|i| (i * 37) % 61 - 30).collect();
    let column = times(mixed.iter().map(|it| Some(*it)).collect());
    for size in 1..=9 {
        for slide in 1..=size {
            for offset in (1 - slide)..slide {
                let lists = invoke(&window_starts(), column.clone(), &ints(&[size, slide, offset]));
                let lists = lists.as_list::<i32>();
                for (row, time) in mixed.iter().enumerate() {
                    let found = lists.value(row);
                    let found = found.as_primitive::<TimestampMicrosecondType>().values().to_vec();
                    assert_eq!(
                        found,
                        model(*time, size, slide, offset),
                        "time {time} size {size} slide {slide} offset {offset}"
                    );
                }
            }
        }
        for offset in (1 - size)..size {
            let starts = invoke(&window_start(), column.clone(), &ints(&[size, offset]));
            let starts = starts.as_primitive::<TimestampMicrosecondType>().values().to_vec();
            let expected: Vec<i64> = mixed.iter().map(|it| model(*it, size, size, offset)[0]).collect();
            assert_eq!(starts, expected, "size {size} offset {offset}");
        }
    }
}

#[test]
fn extremes_do_not_panic() {
    for slide in [1, 1_000, i64::MAX] {
        for time in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX] {
            let _ = Starts::new(slide, slide - 1).unwrap().of(time);
            invoke(&window_starts(), times(vec![Some(time)]), &ints(&[slide, slide, 0]));
        }
    }
}

#[test]
fn nulls() {
    let starts = invoke(&window_start(), times(vec![None, Some(7)]), &ints(&[5, 0]));
    assert!(starts.is_null(0) && starts.is_valid(1));
    let lists = invoke(&window_starts(), times(vec![None, Some(7)]), &ints(&[5, 5, 0]));
    assert!(lists.is_null(0) && lists.as_list::<i32>().value_length(1) == 1);
}

#[test]
fn window_and_its_time() {
    let constants = [ScalarValue::Int64(Some(10)), ScalarValue::Boolean(Some(true))];
    let windows = invoke(&window_of(), times(vec![Some(-10), Some(0)]), &constants);
    assert_eq!((windows.data_type(), windows.null_count()), (&window_type(), 0));
    let ends = windows.as_struct().column(1).clone();
    assert_eq!(ends.as_primitive::<TimestampMicrosecondType>().values().to_vec(), [0, 10]);
    let last = invoke(&window_time(), windows, &[]);
    assert_eq!(last.as_primitive::<TimestampMicrosecondType>().values().to_vec(), [-1, 9]);
}

#[test]
fn marks() {
    let field = |marked: bool| {
        let start: FieldRef = Arc::new(Field::new("s", timestamp(), true));
        let scalars = [ScalarValue::Int64(Some(10)), ScalarValue::Boolean(Some(marked))];
        let scalars = [None, Some(&scalars[0]), Some(&scalars[1])];
        let arg_fields = [start.clone(), start.clone(), start];
        window_of()
            .return_field_from_args(ReturnFieldArgs { arg_fields: &arg_fields, scalar_arguments: &scalars })
            .unwrap()
    };
    assert_eq!(event_time(&field(true)), Some(EventTime::Window { size_us: 10 }));
    assert_eq!(event_time(&field(false)), None);
    let time = window_time()
        .return_field_from_args(ReturnFieldArgs { arg_fields: &[field(true)], scalar_arguments: &[None] })
        .unwrap();
    assert_eq!((event_time(&time), time.is_nullable()), (Some(EventTime::Instant), false));
}
