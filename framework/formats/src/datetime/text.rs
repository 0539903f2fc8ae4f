//! Text to a timestamp or date, as Spark's cast reads it.

use super::civil::{Civil, days_from_civil};
use super::cursor::Cursor;

/// Reads a timestamp, in UTC microseconds (Spark: `CAST(text AS TIMESTAMP)`).
///
/// `yyyy[-[m]m[-[d]d]]`, then after `T` or a space `[h]h[:[m]m[:[s]s[.fraction]]]`, then a zone (`Z`, `UTC`, `+hh`,
/// `+hh:mm`, `+hhmm`), else UTC. Space around it is ignored, a fraction is cut to microseconds. Named regions and
/// a time without date give nothing.
pub fn parse_timestamp(text: &[u8]) -> Option<i64> {
    let (civil, offset) = read(trim(text))?;
    civil.to_micros(offset.unwrap_or(0))
}

/// As [`parse_timestamp`] for TIMESTAMP_NTZ: a zone in the text gives nothing.
pub fn parse_local_timestamp(text: &[u8]) -> Option<i64> {
    match read(trim(text))? {
        (civil, None) => civil.to_micros(0),
        _ => None,
    }
}

/// Reads a date, in days since 1970 (Spark: `CAST(text AS DATE)`): `yyyy[-[m]m[-[d]d]]`; after a whole date and `T`
/// or a space anything may follow.
pub fn parse_date(text: &[u8]) -> Option<i32> {
    let mut cursor = Cursor::new(trim(text));
    let (year, month, day) = date(&mut cursor, 7)?;
    if !cursor.at_end() && (day.is_none() || !matches!(cursor.peek(), Some(b'T' | b' '))) {
        return None;
    }
    i32::try_from(days_from_civil(year, month, day.unwrap_or(1))?).ok()
}

/// A zone in seconds east of UTC.
pub(super) fn zone(text: &[u8]) -> Option<i64> {
    let mut cursor = Cursor::new(trim(text));
    if cursor.eat_word("Z") {
        return cursor.at_end().then_some(0);
    }
    if (cursor.eat_word("UTC") || cursor.eat_word("GMT") || cursor.eat_word("UT")) && cursor.at_end() {
        return Some(0);
    }
    let negative = cursor.sign()?;
    let together = match cursor.run() {
        1 | 2 => false,
        4 | 6 => true,
        _ => return None,
    };
    let (hours, _) = cursor.digits(2);
    let mut part = || {
        if !cursor.at_end() && (together || cursor.eat(b':')) {
            let (value, count) = cursor.digits(2);
            return (count == 2).then_some(value);
        }
        Some(0)
    };
    let (minutes, seconds) = (part()?, part()?);
    let total = hours * 3_600 + minutes * 60 + seconds;
    let possible = cursor.at_end() && minutes < 60 && seconds < 60 && total <= 18 * 3_600;
    possible.then_some(if negative { -total } else { total })
}

fn read(text: &[u8]) -> Option<(Civil, Option<i64>)> {
    let mut cursor = Cursor::new(text);
    if let Some(civil) = usual(text) {
        cursor.advance(19);
        return finish(civil, cursor);
    }
    let (year, month, day) = date(&mut cursor, 6)?;
    let mut civil = Civil { month, day: day.unwrap_or(1), ..Civil::year(year) };
    if cursor.at_end() {
        return Some((civil, None));
    }
    day?;
    if !(cursor.eat(b' ') || cursor.eat_word("T")) {
        return None;
    }
    civil.hour = cursor.two()?;
    if cursor.at_end() {
        return Some((civil, None));
    }
    if !cursor.eat(b':') {
        return None;
    }
    civil.minute = cursor.two()?;
    if cursor.eat(b':') {
        civil.second = cursor.two()?;
        return finish(civil, cursor);
    }
    if cursor.at_end() { Some((civil, None)) } else { Some((civil, Some(zone(cursor.rest())?))) }
}

/// Fraction and zone.
fn finish(mut civil: Civil, mut cursor: Cursor<'_>) -> Option<(Civil, Option<i64>)> {
    if cursor.eat(b'.') {
        civil.micros = cursor.micros();
    }
    match cursor.rest() {
        [] => Some((civil, None)),
        b"Z" => Some((civil, Some(0))),
        rest => Some((civil, Some(zone(rest)?))),
    }
}

/// The spelling that nearly all texts have: `yyyy-mm-ddThh:mm:ss`, digits at fixed places.
fn usual(text: &[u8]) -> Option<Civil> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b' ' | b'T', h1, h2, b':', n1, n2, b':', s1, s2] =
        text.first_chunk::<19>()?
    else {
        return None;
    };
    let two = |tens: &u8, ones: &u8| {
        let both = tens.is_ascii_digit() && ones.is_ascii_digit();
        both.then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
    };
    Some(Civil {
        year: i64::from(two(y1, y2)?) * 100 + i64::from(two(y3, y4)?),
        month: two(m1, m2)?,
        day: two(d1, d2)?,
        hour: two(h1, h2)?,
        minute: two(n1, n2)?,
        second: two(s1, s2)?,
        micros: 0,
    })
}

/// `[+-]yyyy[-[m]m[-[d]d]]`; the day is none if the text does not name one.
fn date(cursor: &mut Cursor<'_>, year_digits: usize) -> Option<(i64, u32, Option<u32>)> {
    let negative = cursor.sign().unwrap_or(false);
    let (year, count) = cursor.digits(year_digits);
    if count < 4 {
        return None;
    }
    let year = if negative { -year } else { year };
    if !cursor.eat(b'-') {
        return cursor.at_end().then_some((year, 1, None));
    }
    let month = cursor.two()?;
    if !cursor.eat(b'-') {
        return cursor.at_end().then_some((year, month, None));
    }
    Some((year, month, Some(cursor.two()?)))
}

/// Without the white space and control characters around it.
fn trim(text: &[u8]) -> &[u8] {
    let blank = |it: &u8| *it <= b' ' || *it == 0x7f;
    let start = text.iter().position(|it| !blank(it)).unwrap_or(text.len());
    let end = text.iter().rposition(|it| !blank(it)).map_or(start, |it| it + 1);
    text.get(start..end).unwrap_or_default()
}
