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

#[inline]
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
#[inline]
fn finish(mut civil: Civil, mut cursor: Cursor<'_>) -> Option<(Civil, Option<i64>)> {
    if let [b'.', a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'Z'] = cursor.rest() {
        let digit = |it: &u8| u32::from(it - b'0');
        civil.micros = (digit(a) * 100 + digit(b) * 10 + digit(c)) * 1_000;
        return Some((civil, Some(0)));
    }
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
#[inline]
fn usual(text: &[u8]) -> Option<Civil> {
    const DATE: Form = Form::new(*b"0000-00-");
    const TIME: Form = Form::new(*b"00:00:00");
    let [day @ .., b' ' | b'T'] = text.get(8..)?.first_chunk::<3>()? else { return None };
    let [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = day else { return None };
    let [century, _, year, _, _, month, ..] = DATE.pairs(text)?;
    let [hour, _, _, minute, _, _, second, _] = TIME.pairs(text.get(11..)?)?;
    Some(Civil {
        year: i64::from(century) * 100 + i64::from(year),
        month: month.into(),
        day: u32::from(tens - b'0') * 10 + u32::from(ones - b'0'),
        hour: hour.into(),
        minute: minute.into(),
        second: second.into(),
        micros: 0,
    })
}

/// Eight bytes of a fixed form, read at once.
struct Form {
    bytes: u64,
    /// What added to a byte's difference from the form reaches 0x80 if it is too large.
    slack: u64,
}

impl Form {
    /// Digits where `form` has a 0, elsewhere its very bytes.
    const fn new(form: [u8; 8]) -> Self {
        let (mut slack, mut place) = (0, 0);
        let mut rest: &[u8] = &form;
        while let [byte, tail @ ..] = rest {
            slack |= (if *byte == b'0' { 0x76 } else { 0x7f }) << place;
            place += 8;
            rest = tail;
        }
        Self { bytes: u64::from_le_bytes(form), slack }
    }

    /// The numbers that two neighbours make, at the place of the first; without meaning next to what is no digit.
    #[inline]
    fn pairs(&self, text: &[u8]) -> Option<[u8; 8]> {
        let word = u64::from_le_bytes(*text.first_chunk()?) ^ self.bytes;
        let wrong = (word.wrapping_add(self.slack) | word) & u64::from_ne_bytes([0x80; 8]);
        (wrong == 0).then(|| (word * 10 + (word >> 8)).to_le_bytes())
    }
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
