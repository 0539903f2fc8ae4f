//! How one value is read from text.

use std::fmt;
use std::time::Duration;

/// A type that a key may have.
///
/// ```
/// use tidegate_api::prelude::*;
///
/// enum Level { Low, High }
///
/// impl ConfigValue for Level {
///     const KIND: &'static str = "low or high";
///     fn parse_value(text: &str) -> Result<Self, String> {
///         match text {
///             "low" => Ok(Self::Low),
///             "high" => Ok(Self::High),
///             _ => Err(format!("'{text}' is not {}", Self::KIND)),
///         }
///     }
/// }
/// ```
pub trait ConfigValue: Sized {
    /// The kind in words, for documentation and errors.
    const KIND: &'static str;
    /// True for types whose value must never be shown.
    const SECRET: bool = false;

    /// Reads the value.
    ///
    /// # Errors
    /// What was expected.
    fn parse_value(text: &str) -> Result<Self, String>;
}

/// Text that is never shown: `Debug` prints `[hidden]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself; for the call that needs it and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl ConfigValue for Secret {
    const KIND: &'static str = "secret text";
    const SECRET: bool = true;
    fn parse_value(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }
}

impl ConfigValue for String {
    const KIND: &'static str = "text";
    fn parse_value(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl ConfigValue for bool {
    const KIND: &'static str = "true or false";
    fn parse_value(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("'{text}' is not true or false")),
        }
    }
}

macro_rules! whole_numbers {
    ($($t:ty: $kind:literal),*) => { $(
        impl ConfigValue for $t {
            const KIND: &'static str = $kind;
            fn parse_value(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|_| format!("'{text}' is not {}", $kind))
            }
        }
    )* };
}
whole_numbers!(u16: "a whole number from 0 to 65535", u32: "a whole number, 0 or more", u64: "a whole number, 0 or more",
    usize: "a whole number, 0 or more", i32: "a whole number", i64: "a whole number", f64: "a number",
    std::num::NonZeroU32: "a positive whole number", std::num::NonZeroU64: "a positive whole number");

impl ConfigValue for Duration {
    const KIND: &'static str = "a duration such as 10 seconds, 500ms or 2h";
    fn parse_value(text: &str) -> Result<Self, String> {
        parse_duration(text)
    }
}

/// A number of bytes, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl ConfigValue for ByteSize {
    const KIND: &'static str = "a size such as 64MB, 1 GiB or 1048576";

    fn parse_value(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not {}", Self::KIND);
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" => 1_000,
            "kib" => 1 << 10,
            "m" | "mb" => 1_000_000,
            "mib" => 1 << 20,
            "g" | "gb" => 1_000_000_000,
            "gib" => 1 << 30,
            _ => return Err(wrong()),
        };
        number.checked_mul(unit).filter(|bytes| *bytes > 0).map(Self).ok_or_else(wrong)
    }
}

impl<T: ConfigValue> ConfigValue for Vec<T> {
    const KIND: &'static str = "a list, separated by commas";
    fn parse_value(text: &str) -> Result<Self, String> {
        text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(T::parse_value).collect()
    }
}

/// Reads a duration: `10 seconds`, `1 minute 30 seconds`, `500ms`, `2h`; a bare number is milliseconds.
///
/// # Errors
/// What was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not {}", Duration::KIND);
    let mut rest = text.trim();
    if let Ok(ms) = rest.parse::<u64>() {
        return Ok(Duration::from_millis(ms));
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let tail = tail.trim_start();
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let nanos: u64 = match unit.to_ascii_lowercase().as_str() {
            "us" | "microsecond" | "microseconds" => 1_000,
            "ms" | "millisecond" | "milliseconds" => 1_000_000,
            "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000_000,
            "h" | "hour" | "hours" => 3_600_000_000_000,
            "d" | "day" | "days" => 86_400_000_000_000,
            "w" | "week" | "weeks" => 604_800_000_000_000,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(nanos).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_nanos(part)).ok_or_else(wrong)?;
        rest = tail.trim_start();
    }
    Ok(total)
}
