//! The grammar of interval texts.

use super::Interval;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const EXPECTED_UNIT: &str =
    "year, month, week, day, hour, minute, second, millisecond or microsecond, or one of these in the plural";

type Read<T> = Result<T, String>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Year,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Milli,
    Micro,
}

/// Reads the whole text.
pub(super) fn read(text: &str) -> Read<Interval> {
    let lower = text.to_ascii_lowercase();
    let mut reader = Reader { rest: lower.trim() };
    if let Some(rest) = reader.rest.strip_prefix("interval")
        && !rest.starts_with(|it: char| it.is_alphanumeric() || it == '_')
    {
        reader.rest = rest.trim_start();
    }
    reader.units(true)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// Numbers and units in turn; `quotes`: numbers may be quoted.
    fn units(&mut self, quotes: bool) -> Read<Interval> {
        if self.rest.is_empty() {
            return Err("expected a number and a unit, found nothing".to_owned());
        }
        let mut total = Interval::default();
        while !self.rest.is_empty() {
            let negative = self.sign();
            let part = if quotes && self.rest.starts_with(['\'', '"']) {
                self.quoted()?
            } else {
                let number = Number::read(&mut self.rest)?;
                self.space();
                number.of(self.unit()?)?
            };
            total = add(total, if negative { negate(part)? } else { part })?;
            self.space();
        }
        Ok(total)
    }

    /// A quoted text, then one unit, `<unit> to <unit>`, or nothing if the quotes hold the units too.
    fn quoted(&mut self) -> Read<Interval> {
        let quote = if self.rest.starts_with('"') { '"' } else { '\'' };
        let (content, rest) =
            self.rest.get(1..).and_then(|it| it.split_once(quote)).ok_or("a quote is not closed".to_owned())?;
        self.rest = rest.trim_start();
        let mut content = Reader { rest: content.trim() };
        if self.rest.is_empty() {
            return content.units(false);
        }
        let from = self.unit()?;
        self.space();
        if let Some(rest) = self.rest.strip_prefix("to ") {
            self.rest = rest.trim_start();
            let to = self.unit()?;
            return content.range(from, to);
        }
        let negative = content.sign();
        let part = Number::read(&mut content.rest)?.of(from)?;
        if !content.rest.is_empty() {
            return Err(format!("expected one number in quotes, found '{}' behind it", content.rest));
        }
        if negative { negate(part) } else { Ok(part) }
    }

    /// What stands before `<unit> to <unit>`: `1-2`, or `1 2:3:4.5` and cuts of it.
    fn range(&mut self, from: Unit, to: Unit) -> Read<Interval> {
        let negative = self.sign();
        let total = match (from, to) {
            (Unit::Year, Unit::Month) => {
                let years = self.field(None)?;
                self.separator('-')?;
                let months = self.field(Some(11))?;
                let months = years.checked_mul(12).and_then(|it| it.checked_add(months)).ok_or_else(too_long)?;
                Interval { months, ..Interval::default() }
            }
            (Unit::Day, Unit::Hour | Unit::Minute | Unit::Second)
            | (Unit::Hour, Unit::Minute | Unit::Second)
            | (Unit::Minute, Unit::Second) => self.day_time(from, to)?,
            _ => return Err("expected year to month, or day, hour or minute to a smaller unit".to_owned()),
        };
        if !self.rest.is_empty() {
            return Err(format!("found '{}' behind the last field", self.rest));
        }
        if negative { negate(total) } else { Ok(total) }
    }

    fn day_time(&mut self, from: Unit, to: Unit) -> Read<Interval> {
        let mut total = Interval::default();
        for (unit, limit) in [(Unit::Day, None), (Unit::Hour, Some(23)), (Unit::Minute, Some(59))] {
            if unit < from || unit > to {
                continue;
            }
            if unit > from {
                self.separator(if unit == Unit::Hour { ' ' } else { ':' })?;
            }
            // The first field carries what the units above it would.
            let value = self.field(if unit == from { None } else { limit })?;
            total = add(total, Number { whole: value, micros: None }.of(unit)?)?;
        }
        if to == Unit::Second {
            self.separator(':')?;
            let number = Number::read(&mut self.rest)?;
            if number.whole > 59 {
                return Err(format!("expected at most 59 seconds, found {}", number.whole));
            }
            total = add(total, number.of(Unit::Second)?)?;
        }
        Ok(total)
    }

    fn field(&mut self, limit: Option<i64>) -> Read<i64> {
        let number = Number::read(&mut self.rest)?;
        match limit {
            _ if number.micros.is_some() => Err("only seconds may have a fraction".to_owned()),
            Some(limit) if number.whole > limit => {
                Err(format!("expected at most {limit} in a field, found {}", number.whole))
            }
            _ => Ok(number.whole),
        }
    }

    fn separator(&mut self, expected: char) -> Read<()> {
        let rest = self.rest.strip_prefix(expected);
        self.rest = rest.ok_or_else(|| format!("expected '{expected}' {}", found(self.rest)))?.trim_start();
        Ok(())
    }

    fn unit(&mut self) -> Read<Unit> {
        let end = self.rest.find(|it: char| !it.is_alphabetic()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let unit = match word {
            "y" | "year" | "years" => Unit::Year,
            "month" | "months" => Unit::Month,
            "w" | "week" | "weeks" => Unit::Week,
            "d" | "day" | "days" => Unit::Day,
            "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
            "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
            "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
            "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => Unit::Milli,
            "us" | "micro" | "micros" | "microsecond" | "microseconds" => Unit::Micro,
            _ => return Err(format!("expected {EXPECTED_UNIT}, {}", found(self.rest))),
        };
        self.rest = rest;
        Ok(unit)
    }

    fn sign(&mut self) -> bool {
        let negative = self.rest.starts_with('-');
        if let Some(rest) = self.rest.strip_prefix(['-', '+']) {
            self.rest = rest.trim_start();
        }
        negative
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

/// A number without sign; a fraction is kept as millionths.
struct Number {
    whole: i64,
    micros: Option<i64>,
}

impl Number {
    fn read(rest: &mut &str) -> Read<Self> {
        let text = *rest;
        let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
        let (whole, tail) = text.split_at(end);
        let fraction = tail.strip_prefix('.').map(|it| {
            let end = it.find(|it: char| !it.is_ascii_digit()).unwrap_or(it.len());
            it.split_at(end)
        });
        *rest = fraction.map_or(tail, |it| it.1);
        let fraction = fraction.map(|it| it.0);
        if whole.is_empty() && fraction.is_none_or(str::is_empty) {
            return Err(format!("expected a number, {}", found(text)));
        }
        let value = if whole.is_empty() { Ok(0) } else { whole.parse() };
        let micros = fraction.map(|it| {
            let digits = it.bytes().chain(std::iter::repeat(b'0')).take(6);
            digits.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
        });
        Ok(Self { whole: value.map_err(|_| too_long())?, micros })
    }

    fn of(&self, unit: Unit) -> Read<Interval> {
        if self.micros.is_some() && unit != Unit::Second {
            return Err("only seconds may have a fraction".to_owned());
        }
        let times = |factor: i64| self.whole.checked_mul(factor).ok_or_else(too_long);
        let zero = Interval::default();
        Ok(match unit {
            Unit::Year => Interval { months: times(12)?, ..zero },
            Unit::Month => Interval { months: self.whole, ..zero },
            Unit::Week => Interval { days: times(7)?, ..zero },
            Unit::Day => Interval { days: times(1)?, ..zero },
            Unit::Hour => Interval { micros: times(HOUR)?, ..zero },
            Unit::Minute => Interval { micros: times(MINUTE)?, ..zero },
            Unit::Second => {
                let micros = times(SECOND)?.checked_add(self.micros.unwrap_or(0)).ok_or_else(too_long)?;
                Interval { micros, ..zero }
            }
            Unit::Milli => Interval { micros: times(1_000)?, ..zero },
            Unit::Micro => Interval { micros: self.whole, ..zero },
        })
    }
}

fn add(left: Interval, right: Interval) -> Read<Interval> {
    let sum = |left: i64, right: i64| left.checked_add(right).ok_or_else(too_long);
    Ok(Interval {
        months: sum(left.months, right.months)?,
        days: sum(left.days, right.days)?,
        micros: sum(left.micros, right.micros)?,
    })
}

fn negate(it: Interval) -> Read<Interval> {
    let flip = |value: i64| value.checked_neg().ok_or_else(too_long);
    Ok(Interval { months: flip(it.months)?, days: flip(it.days)?, micros: flip(it.micros)? })
}

fn too_long() -> String {
    "a part is beyond 64 bits".to_owned()
}

fn found(rest: &str) -> String {
    if rest.is_empty() { "found the end".to_owned() } else { format!("found '{rest}'") }
}
