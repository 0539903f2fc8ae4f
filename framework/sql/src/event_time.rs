//! Event time is traced by field metadata, as in Spark: the watermark node sets it, column references, aliases and
//! `window` carry it, every other expression loses it.
//!
//! The mark itself has no value. A union keeps only metadata that all its inputs share, and two streams with different
//! delays must still make one event-time column. For the same reason the children of a window struct bear no marks: all
//! window columns are of one type and can be compared without a cast.

use std::collections::HashMap;

use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};

/// Marks an event-time column, or a window of one.
pub const WATERMARK: &str = "tidegate.watermark";
/// The watermark's delay in milliseconds; lost where streams with different delays are united.
pub const DELAY: &str = "tidegate.delay";
/// Marks a window column; the value is the window's size in microseconds.
pub const WINDOW: &str = "tidegate.window";

/// Marks a session column: `{start, end}` of any length.
pub const SESSION: &str = "tidegate.session";

/// What kind of event time a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventTime {
    /// A timestamp.
    Instant,
    /// A window of event time, `{start, end}`; its `end` is what is compared with the watermark.
    Window {
        /// `end - start`, microseconds.
        size_us: i64,
    },
    /// A session of event time, `{start, end}`; its `end` is what is compared with the watermark.
    Session,
}

/// The event time that a column holds, if any.
pub fn event_time(field: &Field) -> Option<EventTime> {
    if !field.metadata().contains_key(WATERMARK) {
        return None;
    }
    if *field.data_type() == timestamp() {
        return Some(EventTime::Instant);
    }
    if is_session(field) {
        return Some(EventTime::Session);
    }
    window_size_us(field).map(|size_us| EventTime::Window { size_us })
}

/// True if a column holds sessions, with or without a watermark.
pub fn is_session(field: &Field) -> bool {
    *field.data_type() == window_type() && field.metadata().contains_key(SESSION)
}

/// The size of the windows that a column holds, with or without a watermark.
pub fn window_size_us(field: &Field) -> Option<i64> {
    (*field.data_type() == window_type()).then(|| field.metadata().get(WINDOW)?.parse().ok()).flatten()
}

/// All columns with event time, by index.
pub fn event_time_columns(schema: &Schema) -> Vec<(usize, EventTime)> {
    let fields = schema.fields().iter().enumerate();
    fields.filter_map(|(index, field)| Some((index, event_time(field)?))).collect()
}

/// The delay of the watermark that marks a column, unless a union has mixed several.
pub fn delay_ms(field: &Field) -> Option<i64> {
    field.metadata().get(DELAY)?.parse().ok()
}

/// The one type of TIMESTAMP: microseconds, UTC.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The type of a window column: `STRUCT<start: TIMESTAMP, end: TIMESTAMP>`.
pub fn window_type() -> DataType {
    DataType::Struct(window_fields())
}

pub(crate) fn window_fields() -> Fields {
    Fields::from(vec![Field::new("start", timestamp(), true), Field::new("end", timestamp(), true)])
}

/// The metadata of an event-time column.
pub(crate) fn marks(delay_ms: i64) -> HashMap<String, String> {
    HashMap::from([(WATERMARK.to_owned(), String::new()), (DELAY.to_owned(), delay_ms.to_string())])
}
