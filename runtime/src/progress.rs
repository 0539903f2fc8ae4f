//! What is told while queries run: a live line for people, or Spark's progress objects for programs.

use serde_json::Value;
use tidegate_epoch::QueryProgress;

use crate::screen::Screen;

/// How progress is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// A line a query, drawn again with each epoch.
    Line,
    /// An object a line on stderr.
    Json,
    /// Not at all.
    None,
}

/// A function that is called with each progress object.
pub(crate) type Listener = Box<dyn Fn(&QueryProgress) + Send + Sync>;

/// The listener of a query, if any.
pub(crate) fn listener(style: Style, name: &str, screen: &Screen) -> Option<Listener> {
    match style {
        Style::None => None,
        Style::Json => {
            let screen = screen.clone();
            Some(Box::new(move |progress| {
                if let Ok(line) = serde_json::to_string(progress) {
                    screen.note(&line);
                }
            }))
        }
        Style::Line => {
            let (bar, screen, name) = (screen.bar(), screen.clone(), name.to_owned());
            bar.set_message(format!("{name}  waiting for data"));
            Some(Box::new(move |progress| {
                if let Ok(json) = serde_json::to_value(progress) {
                    let line = live_line(&name, &json);
                    bar.set_message(screen.secrets().hide(&line).into_owned());
                    bar.tick();
                }
            }))
        }
    }
}

/// `clicks  epoch 12  34,000 rows/s  87 ms  watermark 2026-03-01 10:16:00  lag 1.2 s`
fn live_line(name: &str, progress: &Value) -> String {
    let number = progress.get("batchId").and_then(Value::as_u64).unwrap_or_default();
    // What comes in each second of the day; the pace within an epoch only where there was none before it.
    let rate = |key: &str| progress.get(key).and_then(Value::as_f64).filter(|it| *it > 0.0);
    let rate = rate("inputRowsPerSecond").or_else(|| rate("processedRowsPerSecond")).unwrap_or_default();
    let took = progress.get("batchDuration").and_then(Value::as_u64).unwrap_or_default();
    let mut parts =
        vec![name.to_owned(), format!("epoch {number}"), format!("{} rows/s", grouped(rate)), format!("{took} ms")];
    let event_time = |key: &str| progress.get("eventTime").and_then(|it| it.get(key)).and_then(Value::as_str);
    // At 1970 it has not moved yet.
    if let Some(watermark) = event_time("watermark").filter(|it| millis(it) != Some(0)) {
        parts.push(format!("watermark {}", short_time(watermark)));
    }
    if let Some(lag) = lag(progress, event_time("max")) {
        parts.push(format!("lag {lag}"));
    }
    parts.join("  ")
}

/// How far the query is behind: the rows that a source says are waiting, else the age of the newest event.
fn lag(progress: &Value, newest: Option<&str>) -> Option<String> {
    let sources = progress.get("sources").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let waiting = |source: &Value| source.get("metrics")?.get("maxOffsetsBehindLatest")?.as_str()?.parse::<f64>().ok();
    let behind: Vec<f64> = sources.iter().filter_map(waiting).collect();
    if !behind.is_empty() {
        return Some(format!("{} rows", grouped(behind.iter().sum())));
    }
    let now = millis(progress.get("timestamp")?.as_str()?)?;
    let age = now - millis(newest?)?;
    let seconds = age / 1000;
    match seconds {
        ..60 => Some(format!("{}.{} s", seconds.max(0), (age.max(0) % 1000) / 100)),
        60..7200 => Some(format!("{} min", seconds / 60)),
        7200..172_800 => Some(format!("{} h", seconds / 3600)),
        // Old data read anew: its age says nothing about the query.
        _ => None,
    }
}

/// Milliseconds since 1970 of a time as progress objects write it.
pub(crate) fn millis(text: &str) -> Option<i64> {
    let nanos = arrow_cast::parse::string_to_timestamp_nanos(text).ok()?;
    Some(nanos.div_euclid(1_000_000))
}

fn short_time(text: &str) -> String {
    text.split('.').next().unwrap_or(text).trim_end_matches('Z').replace('T', " ")
}

/// `1234567.8` as `1,234,568`.
fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
