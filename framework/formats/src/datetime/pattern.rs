//! Java's `DateTimeFormatter` patterns, compiled once.

use tidegate_api::{Error, Result};

mod format;
mod parse;

pub(crate) use format::{push_padded, push_year};

const SUPPORTED: &str = "y u M L d D H k K h m s S a E X x Z z V, quoted text and [optional sections]";

/// A compiled pattern (Spark: `to_timestamp(text, pattern)`, `date_format(ts, pattern)`).
///
/// What a text does not say is 1970-01-01 00:00:00 UTC; a fraction may have fewer digits than the pattern; names of
/// months and days are English, in any case.
///
/// ```
/// use tidegate_formats::datetime::JavaPattern;
///
/// let pattern = JavaPattern::compile("dd/MMM/yyyy:HH:mm:ss[ XX]").unwrap();
/// let micros = pattern.parse("01/Mar/2026:10:00:00 +0100").unwrap();
/// assert_eq!(pattern.format(micros), "01/Mar/2026:09:00:00 Z");
///
/// let refused = JavaPattern::compile("yyyy-'W'ww").unwrap_err();
/// assert!(refused.to_string().contains("'w'"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JavaPattern {
    items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Literal(String),
    /// `reserve`: digits that the numbers right behind it need.
    Number {
        field: Field,
        min: usize,
        max: usize,
        reserve: usize,
    },
    /// Two digits, counted from 2000.
    ShortYear,
    Fraction(usize),
    Month {
        full: bool,
    },
    Weekday {
        full: bool,
    },
    HalfOfDay,
    Offset(OffsetStyle),
    ZoneName {
        full: bool,
    },
    Optional(Vec<Item>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Year,
    Month,
    Day,
    DayOfYear,
    /// 0-23
    Hour,
    /// 1-24
    ClockHour,
    /// 0-11
    HalfHour,
    /// 1-12
    ClockHalfHour,
    Minute,
    Second,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OffsetStyle {
    zulu: bool,
    colon: bool,
    minutes_optional: bool,
    seconds_optional: bool,
}

impl JavaPattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// `Config`, naming the letter that is not supported, and where it stands.
    pub fn compile(pattern: &str) -> Result<Self> {
        let mut reader = Reader { pattern, chars: pattern.chars().collect(), at: 0 };
        let mut items = reader.sequence(0)?;
        reserve(&mut items);
        Ok(Self { items })
    }

    /// Microseconds since 1970, UTC, if the whole text fits the pattern.
    pub fn parse(&self, text: &str) -> Option<i64> {
        parse::parse(&self.items, text)
    }

    /// The timestamp as text.
    pub fn format(&self, micros: i64) -> String {
        let mut out = String::new();
        self.format_into(micros, &mut out);
        out
    }

    /// Appends the timestamp as text.
    pub fn format_into(&self, micros: i64, out: &mut String) {
        format::format(&self.items, micros, out);
    }
}

struct Reader<'a> {
    pattern: &'a str,
    chars: Vec<char>,
    at: usize,
}

impl Reader<'_> {
    /// Items up to the end, or up to the bracket that closes an optional section.
    fn sequence(&mut self, depth: usize) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        while let Some(&next) = self.chars.get(self.at) {
            match next {
                '\'' => items.push(Item::Literal(self.quoted()?)),
                '[' if depth < 16 => {
                    self.at += 1;
                    let mut inner = self.sequence(depth + 1)?;
                    reserve(&mut inner);
                    items.push(Item::Optional(inner));
                }
                ']' if depth > 0 => {
                    self.at += 1;
                    return Ok(items);
                }
                '[' | ']' | '{' | '}' | '#' => return Err(self.wrong(&format!("has a '{next}' out of place"))),
                letter if letter.is_ascii_alphabetic() => {
                    let count = self.chars.iter().skip(self.at).take_while(|it| **it == letter).count();
                    let item = item(letter, count).ok_or_else(|| self.refuse(letter, count))?;
                    items.push(item);
                    self.at += count;
                }
                other => {
                    items.push(Item::Literal(other.to_string()));
                    self.at += 1;
                }
            }
        }
        if depth > 0 { Err(self.wrong("has a '[' that is not closed")) } else { Ok(items) }
    }

    /// The text between quotes; two quotes are one quote.
    fn quoted(&mut self) -> Result<String> {
        let mut text = String::new();
        let mut at = self.at + 1;
        loop {
            match (self.chars.get(at), self.chars.get(at + 1)) {
                (Some('\''), Some('\'')) if at > self.at + 1 => {
                    text.push('\'');
                    at += 2;
                }
                (Some('\''), _) => break,
                (Some(other), _) => {
                    text.push(*other);
                    at += 1;
                }
                (None, _) => return Err(self.wrong("has a quote that is not closed")),
            }
        }
        self.at = at + 1;
        Ok(if text.is_empty() { "'".to_owned() } else { text })
    }

    fn refuse(&self, letter: char, count: usize) -> Error {
        let letters: String = std::iter::repeat_n(letter, count).collect();
        if item(letter, 1).is_some() || item(letter, 2).is_some() {
            return self.wrong(&format!("has '{letters}': '{letter}' is not supported {count} times in a row"));
        }
        self.wrong(&format!("has the letter '{letter}', which is not supported; supported are {SUPPORTED}"))
    }

    fn wrong(&self, what: &str) -> Error {
        Error::config(format!("date pattern '{}' at position {} {what}", self.pattern, self.at + 1))
    }
}

fn item(letter: char, count: usize) -> Option<Item> {
    let number = |field, widest| {
        let (min, max) = if count == 1 { (1, 18) } else { (count, count) };
        (count <= widest).then_some(Item::Number { field, min, max, reserve: 0 })
    };
    match (letter, count) {
        ('y' | 'u', 2) => Some(Item::ShortYear),
        ('y' | 'u', 1..=6) => Some(Item::Number { field: Field::Year, min: count, max: 18, reserve: 0 }),
        ('M' | 'L', 3 | 4) => Some(Item::Month { full: count == 4 }),
        ('M' | 'L', _) => number(Field::Month, 2),
        ('d', _) => number(Field::Day, 2),
        ('D', 2) => Some(Item::Number { field: Field::DayOfYear, min: 2, max: 3, reserve: 0 }),
        ('D', _) => number(Field::DayOfYear, 3),
        ('H', _) => number(Field::Hour, 2),
        ('k', _) => number(Field::ClockHour, 2),
        ('K', _) => number(Field::HalfHour, 2),
        ('h', _) => number(Field::ClockHalfHour, 2),
        ('m', _) => number(Field::Minute, 2),
        ('s', _) => number(Field::Second, 2),
        ('S', 1..=9) => Some(Item::Fraction(count)),
        ('a', 1) => Some(Item::HalfOfDay),
        ('E', 1..=4) => Some(Item::Weekday { full: count == 4 }),
        ('X' | 'x', 1..=5) => Some(Item::Offset(OffsetStyle {
            zulu: letter == 'X',
            colon: count == 3 || count == 5,
            minutes_optional: count == 1,
            seconds_optional: count >= 4,
        })),
        ('Z', 1..=3) => Some(Item::Offset(OffsetStyle {
            zulu: false,
            colon: false,
            minutes_optional: false,
            seconds_optional: false,
        })),
        ('Z', 5) => item('X', 5),
        ('z', 1..=4) => Some(Item::ZoneName { full: count == 4 }),
        ('V', 2) => Some(Item::ZoneName { full: false }),
        _ => None,
    }
}

/// Tells each number how many digits the fixed numbers right behind it take, so that `yyyyMMdd` can be read.
fn reserve(items: &mut [Item]) {
    let mut behind = 0;
    for item in items.iter_mut().rev() {
        match item {
            Item::Number { min, max, reserve, .. } => {
                *reserve = behind;
                behind = if min == max { behind + *min } else { 0 };
            }
            Item::ShortYear => behind += 2,
            Item::Fraction(count) => behind = *count,
            _ => behind = 0,
        }
    }
}
