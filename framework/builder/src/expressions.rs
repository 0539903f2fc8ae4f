//! Texts of the expressions that streams have beside those of tables; all others are written as in SQL.

/// Tumbling windows: `window(ts, '5 minutes')`. The column `window` has the fields `start` and `end`.
pub fn window(time: &str, size: &str) -> String {
    format!("window({time}, {})", literal(size))
}

/// Sliding windows: `window(ts, '10 minutes', '5 minutes')`.
pub fn sliding_window(time: &str, size: &str, slide: &str) -> String {
    format!("window({time}, {}, {})", literal(size), literal(slide))
}

/// Windows that begin at an offset from whole multiples of the slide since 1970.
pub fn offset_window(time: &str, size: &str, slide: &str, offset: &str) -> String {
    format!("window({time}, {}, {}, {})", literal(size), literal(slide), literal(offset))
}

/// Session windows with a fixed gap: `session_window(ts, '5 minutes')`. For a gap that is an expression write the call
/// itself: `session_window(ts, CASE … END)`.
pub fn session_window(time: &str, gap: &str) -> String {
    format!("session_window({time}, {})", literal(gap))
}

/// The event time of a window, for a further window over it: `window_time(window)`.
pub fn window_time(window: &str) -> String {
    format!("window_time({window})")
}

/// Text as a literal of SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
