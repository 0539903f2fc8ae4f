//! The functions that DataFusion lacks or has with another meaning, by what they are about.

use std::sync::Arc;

use datafusion::common::{DataFusionError, ScalarValue, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF};

use crate::clock::EpochClock;

pub(crate) mod clock;
pub(crate) mod json;
pub(crate) mod multiset;
pub(crate) mod session;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod window;

/// All functions of ours, for one query.
pub(crate) fn all(clock: Arc<EpochClock>) -> Vec<Arc<ScalarUDF>> {
    vec![
        clock::epoch_time(clock),
        json::from_json(),
        json::to_json(),
        session::session_end(),
        session::session_of(),
        text::concat(),
        text::lossy_string(),
        text::split(),
        time::date_format(),
        time::timestamp_seconds(),
        time::to_timestamp(),
        window::window_of(),
        window::window_start(),
        window::window_starts(),
        window::window_time(),
    ]
}

/// The value of a constant argument.
fn constant<'a>(argument: Option<&'a ColumnarValue>, what: &str) -> Result<&'a ScalarValue, DataFusionError> {
    match argument {
        Some(ColumnarValue::Scalar(value)) => Ok(value),
        _ => exec_err!("{what} must be a constant"),
    }
}

/// The value of a constant text argument.
fn constant_text<'a>(argument: Option<&'a ColumnarValue>, what: &str) -> Result<&'a str, DataFusionError> {
    match constant(argument, what)?.try_as_str() {
        Some(Some(text)) => Ok(text),
        _ => exec_err!("{what} must be a constant text"),
    }
}

/// The value of a constant BIGINT argument.
fn constant_int(argument: Option<&ColumnarValue>, what: &str) -> Result<i64, DataFusionError> {
    match constant(argument, what)? {
        ScalarValue::Int64(Some(value)) => Ok(*value),
        _ => exec_err!("{what} must be a constant BIGINT"),
    }
}
