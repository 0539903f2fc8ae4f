//! Spans of time as Spark writes them: `10 seconds`, `interval '5' hour`, `interval '1 2:3:4' day to second`.

use tidegate_api::{Error, Result};

mod reader;

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// A month as a delay (Spark: `IntervalUtils.getDuration` with 31 days a month).
const DAYS_PER_MONTH: i64 = 31;

/// A span of time in three parts that don't convert into each other by themselves (Spark: `CalendarInterval`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interval {
    /// Calendar months; a year is 12.
    pub months: i64,
    /// Days; a week is 7.
    pub days: i64,
    /// Everything below a day, in microseconds.
    pub micros: i64,
}

impl Interval {
    /// Milliseconds as a watermark's delay: a month is 31 days. None if that is beyond 64 bits.
    pub fn to_delay_ms(self) -> Option<i64> {
        let days = self.months.checked_mul(DAYS_PER_MONTH)?.checked_add(self.days)?;
        Some(days.checked_mul(MICROS_PER_DAY)?.checked_add(self.micros)? / 1_000)
    }

    /// Microseconds, if the interval always has the same length: none with months, or beyond 64 bits.
    pub fn fixed_micros(self) -> Option<i64> {
        if self.months != 0 {
            return None;
        }
        self.days.checked_mul(MICROS_PER_DAY)?.checked_add(self.micros)
    }
}

/// Reads an interval, without regard to case.
///
/// Numbers and units in turn (`1 day 2 hours`, `500ms`, `-10 seconds`, `1.5 seconds`), with or without `interval` in
/// front; numbers may stand in quotes, and `'…' day to second` and its kin are SQL's own spelling.
///
/// ```
/// use tidegate_formats::interval::{Interval, parse};
///
/// let span = parse("interval '1 2:3:4' day to second").unwrap();
/// assert_eq!(span, Interval { months: 0, days: 1, micros: 7_384_000_000 });
/// assert_eq!(span.to_delay_ms(), Some(93_784_000));
/// ```
///
/// # Errors
/// `Config`, with what was found and what was expected.
pub fn parse(text: &str) -> Result<Interval> {
    let wrong = |reason: String| Error::config(format!("'{text}' is not an interval: {reason}"));
    reader::read(text).map_err(wrong)
}

/// Reads the delay of a watermark, in milliseconds.
///
/// # Errors
/// `Config` if the text is not an interval, or the sum is negative or beyond 64 bits.
pub fn parse_delay_ms(text: &str) -> Result<i64> {
    let delay = parse(text)?;
    let ms = delay.to_delay_ms().ok_or_else(|| Error::config(format!("delay '{text}' is too long")))?;
    // Below a millisecond is cut towards 0, but it is negative all the same.
    if ms < 0 || (ms == 0 && delay.micros < 0) {
        return Err(Error::config(format!("delay '{text}' is negative, expected 0 or more")));
    }
    Ok(ms)
}

#[cfg(test)]
mod tests;
