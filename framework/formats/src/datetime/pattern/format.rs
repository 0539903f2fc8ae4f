//! Writing a timestamp by a pattern.

use super::{Field, Item, OffsetStyle};
use crate::datetime::civil::{Civil, MICROS_PER_DAY, days_from_civil};

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

pub(super) fn format(items: &[Item], micros: i64, out: &mut String) {
    sequence(items, &Civil::from_micros(micros), micros, out);
}

fn sequence(items: &[Item], civil: &Civil, micros: i64, out: &mut String) {
    for item in items {
        match item {
            Item::Literal(text) => out.push_str(text),
            Item::Number { field: Field::Year, min, .. } => push_year(out, civil.year, *min),
            Item::Number { field, min, .. } => push_padded(out, value(*field, civil), *min),
            Item::ShortYear => push_padded(out, u32::try_from(civil.year.rem_euclid(100)).unwrap_or(0), 2),
            Item::Fraction(count) => fraction(civil.micros, *count, out),
            Item::Month { full } => name(&MONTHS, usize::try_from(civil.month).unwrap_or(1) - 1, *full, out),
            Item::Weekday { full } => {
                // 1970-01-01 was a Thursday.
                let day = (micros.div_euclid(MICROS_PER_DAY) + 3).rem_euclid(7);
                name(&WEEKDAYS, usize::try_from(day).unwrap_or(0), *full, out);
            }
            Item::HalfOfDay => out.push_str(if civil.hour < 12 { "AM" } else { "PM" }),
            Item::Offset(style) => out.push_str(utc(*style)),
            Item::ZoneName { full } => out.push_str(if *full { "Coordinated Universal Time" } else { "UTC" }),
            Item::Optional(inner) => sequence(inner, civil, micros, out),
        }
    }
}

/// A year beyond the pattern's width gets a plus sign, one before 0 a minus, as in Java.
pub(crate) fn push_year(out: &mut String, year: i64, min: usize) {
    let digits = u32::try_from(year.unsigned_abs()).unwrap_or(u32::MAX);
    if year < 0 {
        out.push('-');
    } else if min >= 4 && u64::from(digits) >= 10_u64.pow(u32::try_from(min).unwrap_or(0)) {
        out.push('+');
    }
    push_padded(out, digits, min);
}

fn value(field: Field, civil: &Civil) -> u32 {
    match field {
        Field::Year => 0,
        Field::Month => civil.month,
        Field::Day => civil.day,
        Field::DayOfYear => {
            let first = days_from_civil(civil.year, 1, 1);
            let today = days_from_civil(civil.year, civil.month, civil.day);
            first.zip(today).and_then(|(first, today)| u32::try_from(today - first + 1).ok()).unwrap_or(1)
        }
        Field::Hour => civil.hour,
        Field::ClockHour => (civil.hour + 23) % 24 + 1,
        Field::HalfHour => civil.hour % 12,
        Field::ClockHalfHour => (civil.hour + 11) % 12 + 1,
        Field::Minute => civil.minute,
        Field::Second => civil.second,
    }
}

fn fraction(micros: u32, count: usize, out: &mut String) {
    let kept = count.min(6);
    let cut = micros / 10_u32.pow(u32::try_from(6 - kept).unwrap_or(0));
    push_padded(out, cut, kept);
    out.extend(std::iter::repeat_n('0', count - kept));
}

fn name(names: &[&str], index: usize, full: bool, out: &mut String) {
    let name = names.get(index).copied().unwrap_or_default();
    out.push_str(if full { name } else { name.get(..3).unwrap_or(name) });
}

fn utc(style: OffsetStyle) -> &'static str {
    match style {
        OffsetStyle { zulu: true, .. } => "Z",
        OffsetStyle { minutes_optional: true, .. } => "+00",
        OffsetStyle { colon: true, .. } => "+00:00",
        OffsetStyle { .. } => "+0000",
    }
}

/// Appends `value` with at least `width` digits.
pub(crate) fn push_padded(out: &mut String, value: u32, width: usize) {
    let mut rest = value;
    let mut digits = [b'0'; 10];
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        if rest == 0 && used >= width {
            break;
        }
        *slot = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        used += 1;
    }
    let text = digits.get(digits.len() - used..).unwrap_or_default();
    out.push_str(std::str::from_utf8(text).unwrap_or_default());
}
