//! Reading a text by a pattern.

use super::format::{MONTHS, WEEKDAYS};
use super::{Field, Item, OffsetStyle};
use crate::datetime::civil::{Civil, civil_from_days, days_from_civil, days_in_year};
use crate::datetime::cursor::Cursor;
use crate::datetime::text::zone;

/// What has been read so far.
#[derive(Clone, Copy, Default)]
struct Fields {
    year: Option<i64>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: Option<u32>,
    half_hour: Option<u32>,
    afternoon: bool,
    minute: u32,
    second: u32,
    micros: u32,
    offset: i64,
}

pub(super) fn parse(items: &[Item], text: &str) -> Option<i64> {
    let mut cursor = Cursor::new(text.as_bytes());
    let mut fields = Fields::default();
    sequence(items, &mut cursor, &mut fields)?;
    if cursor.at_end() { resolve(&fields) } else { None }
}

fn sequence(items: &[Item], cursor: &mut Cursor<'_>, fields: &mut Fields) -> Option<()> {
    for item in items {
        match item {
            Item::Literal(text) => cursor.eat_word(text).then_some(())?,
            Item::Number { field: Field::Year, min, reserve, .. } => {
                fields.year = Some(year(cursor, *min, *reserve)?);
            }
            Item::Number { field, min, max, reserve } => {
                let available = cursor.run().saturating_sub(*reserve).max(*min);
                let (value, count) = cursor.digits(available.min(*max));
                if count < *min {
                    return None;
                }
                set(fields, *field, u32::try_from(value).ok()?)?;
            }
            Item::ShortYear => {
                let (value, count) = cursor.digits(2);
                fields.year = Some(2000 + (count == 2).then_some(value)?);
            }
            Item::Fraction(max) => fields.micros = fraction(cursor, *max)?,
            Item::Month { full } => fields.month = Some(1 + named(cursor, &MONTHS, *full)?),
            Item::Weekday { full } => {
                named(cursor, &WEEKDAYS, *full)?;
            }
            Item::HalfOfDay => fields.afternoon = half_of_day(cursor)?,
            Item::Offset(style) => fields.offset = offset(cursor, *style)?,
            Item::ZoneName { .. } => fields.offset = zone_name(cursor)?,
            Item::Optional(inner) => {
                let before = (*cursor, *fields);
                if sequence(inner, cursor, fields).is_none() {
                    (*cursor, *fields) = before;
                }
            }
        }
    }
    Some(())
}

/// A year; more digits than the pattern has letters need a plus sign, as in Java.
fn year(cursor: &mut Cursor<'_>, min: usize, reserve: usize) -> Option<i64> {
    let sign = cursor.sign();
    let available = cursor.run().saturating_sub(reserve).clamp(min, 18);
    let (value, count) = cursor.digits(if min >= 4 && reserve > 0 { min } else { available });
    let padded = min >= 4;
    let fits = match sign {
        Some(false) => padded && count > min,
        Some(true) => count >= min,
        None => count >= min && (!padded || count == min),
    };
    fits.then_some(if sign == Some(true) { -value } else { value })
}

fn set(fields: &mut Fields, field: Field, value: u32) -> Option<()> {
    let (range, place) = match field {
        Field::Year => return None,
        Field::Month => (1..=12, &mut fields.month),
        Field::Day => (1..=31, &mut fields.day),
        Field::DayOfYear => (1..=366, &mut fields.day_of_year),
        Field::Hour => (0..=23, &mut fields.hour),
        Field::ClockHour => (1..=24, &mut fields.hour),
        Field::HalfHour => (0..=11, &mut fields.half_hour),
        Field::ClockHalfHour => (1..=12, &mut fields.half_hour),
        Field::Minute | Field::Second => {
            let place = if field == Field::Minute { &mut fields.minute } else { &mut fields.second };
            *place = (value < 60).then_some(value)?;
            return Some(());
        }
    };
    if !range.contains(&value) {
        return None;
    }
    *place = Some(match field {
        Field::ClockHour => value % 24,
        Field::ClockHalfHour => value % 12,
        _ => value,
    });
    Some(())
}

fn fraction(cursor: &mut Cursor<'_>, max: usize) -> Option<u32> {
    let count = cursor.run().min(max);
    let mut digits = Cursor::new(cursor.rest().get(..count)?);
    cursor.advance(count);
    (count > 0).then(|| digits.micros())
}

fn named(cursor: &mut Cursor<'_>, names: &[&str], full: bool) -> Option<u32> {
    let found = names.iter().position(|it| cursor.eat_word(if full { it } else { it.get(..3).unwrap_or(it) }))?;
    u32::try_from(found).ok()
}

fn half_of_day(cursor: &mut Cursor<'_>) -> Option<bool> {
    if cursor.eat_word("AM") {
        return Some(false);
    }
    cursor.eat_word("PM").then_some(true)
}

fn offset(cursor: &mut Cursor<'_>, style: OffsetStyle) -> Option<i64> {
    if style.zulu && cursor.eat_word("Z") {
        return Some(0);
    }
    let negative = cursor.sign()?;
    let mut pair = || {
        let (value, count) = cursor.digits(2);
        (count == 2).then_some(value)
    };
    let hours = pair()?;
    let mut part = |optional: bool| {
        let before = *cursor;
        if style.colon && !cursor.eat(b':') {
            return optional.then_some(0);
        }
        let (value, count) = cursor.digits(2);
        if count == 2 && value < 60 {
            return Some(value);
        }
        *cursor = before;
        optional.then_some(0)
    };
    let minutes = part(style.minutes_optional)?;
    let seconds = if style.seconds_optional { part(true)? } else { 0 };
    let total = hours * 3_600 + minutes * 60 + seconds;
    (total <= 18 * 3_600).then_some(if negative { -total } else { total })
}

fn zone_name(cursor: &mut Cursor<'_>) -> Option<i64> {
    if cursor.eat_word("Coordinated Universal Time") {
        return Some(0);
    }
    let length = cursor.rest().iter().take_while(|it| it.is_ascii_alphanumeric() || b"+-:".contains(it)).count();
    let offset = zone(cursor.rest().get(..length)?)?;
    cursor.advance(length);
    Some(offset)
}

fn resolve(fields: &Fields) -> Option<i64> {
    let mut civil = Civil::year(fields.year.unwrap_or(1970));
    match fields.day_of_year {
        Some(day) if fields.month.is_none() && fields.day.is_none() => {
            if day > days_in_year(civil.year) {
                return None;
            }
            let first = days_from_civil(civil.year, 1, 1)?;
            (_, civil.month, civil.day) = civil_from_days(first + i64::from(day) - 1);
        }
        _ => {
            civil.month = fields.month.unwrap_or(1);
            civil.day = fields.day.unwrap_or(1);
        }
    }
    civil.hour = match (fields.hour, fields.half_hour) {
        (Some(hour), _) => hour,
        (None, half) => half.unwrap_or(0) + if fields.afternoon { 12 } else { 0 },
    };
    (civil.minute, civil.second, civil.micros) = (fields.minute, fields.second, fields.micros);
    civil.to_micros(fields.offset)
}
