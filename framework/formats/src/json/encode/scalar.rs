//! Single values as JSON.

use std::fmt::{LowerExp, Write};

use crate::datetime::{Civil, civil_from_days, push_padded, push_year};
use crate::json::string::find_special;

pub(super) fn integer(out: &mut String, value: i64) {
    if value < 0 {
        out.push('-');
    }
    digits(out, u128::from(value.unsigned_abs()), 1);
}

/// A text in quotes; only what must be escaped is.
pub(super) fn text(out: &mut String, value: &str) {
    out.push('"');
    let mut rest = value;
    loop {
        let at = find_special(rest.as_bytes(), 0, b'"');
        // What is found is ASCII, so this cuts between characters.
        let (plain, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(plain);
        let mut characters = tail.chars();
        match characters.next() {
            None => break,
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\u{8}') => out.push_str("\\b"),
            Some('\u{c}') => out.push_str("\\f"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(other) => {
                // Writing to a String can't fail.
                let _ = write!(out, "\\u{:04X}", u32::from(other));
            }
        }
        rest = characters.as_str();
    }
    out.push('"');
}

/// A number as Java's `toString` writes it; NaN and the infinities as texts.
pub(super) fn float<T: LowerExp + Into<f64> + Copy>(out: &mut String, value: T) {
    let wide: f64 = value.into();
    if !wide.is_finite() {
        out.push_str(match (wide.is_nan(), wide > 0.0) {
            (true, _) => "\"NaN\"",
            (false, true) => "\"Infinity\"",
            (false, false) => "\"-Infinity\"",
        });
        return;
    }
    // The shortest digits that give the value back, as `[-]d[.ddd]e<exponent>`.
    let shortest = format!("{value:e}");
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
    if unsigned.len() < mantissa.len() {
        out.push('-');
    }
    let (first, rest) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let or_zero = |it: &'static str, digits: &str| if digits.is_empty() { it } else { "" };
    match exponent.parse::<i32>().unwrap_or(0) {
        exponent @ 0..7 => {
            let whole = usize::try_from(exponent).unwrap_or(0);
            let (moved, left) = rest.split_at_checked(whole).unwrap_or((rest, ""));
            out.push_str(first);
            out.push_str(moved);
            out.extend(std::iter::repeat_n('0', whole - moved.len()));
            out.push('.');
            out.push_str(left);
            out.push_str(or_zero("0", left));
        }
        exponent @ -3..0 => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', usize::try_from(-1 - exponent).unwrap_or(0)));
            out.push_str(first);
            out.push_str(rest);
        }
        exponent => {
            out.push_str(first);
            out.push('.');
            out.push_str(rest);
            out.push_str(or_zero("0", rest));
            out.push('E');
            integer(out, i64::from(exponent));
        }
    }
}

/// A decimal in full, never with an exponent.
pub(super) fn decimal(out: &mut String, value: i128, scale: i8) {
    if value < 0 {
        out.push('-');
    }
    let magnitude = value.unsigned_abs();
    match u32::try_from(scale).ok().and_then(|it| 10_u128.checked_pow(it)) {
        None | Some(0 | 1) => {
            digits(out, magnitude, 1);
            if magnitude != 0 {
                out.extend(std::iter::repeat_n('0', usize::from(scale.min(0).unsigned_abs())));
            }
        }
        Some(divisor) => {
            digits(out, magnitude / divisor, 1);
            out.push('.');
            digits(out, magnitude % divisor, usize::from(scale.unsigned_abs()));
        }
    }
}

pub(super) fn date(out: &mut String, days: i32) {
    let (year, month, day) = civil_from_days(i64::from(days));
    out.push('"');
    push_year(out, year, 4);
    pair(out, '-', month);
    pair(out, '-', day);
    out.push('"');
}

pub(super) fn timestamp(out: &mut String, micros: i64, zoned: bool) {
    let it = Civil::from_micros(micros);
    out.push('"');
    push_year(out, it.year, 4);
    pair(out, '-', it.month);
    pair(out, '-', it.day);
    pair(out, 'T', it.hour);
    pair(out, ':', it.minute);
    pair(out, ':', it.second);
    out.push('.');
    push_padded(out, it.micros / 1_000, 3);
    out.push_str(if zoned { "Z\"" } else { "\"" });
}

fn pair(out: &mut String, before: char, value: u32) {
    out.push(before);
    push_padded(out, value, 2);
}

fn digits(out: &mut String, value: u128, width: usize) {
    let mut buffer = [b'0'; 40];
    let mut used = 0;
    let mut rest = value;
    for slot in buffer.iter_mut().rev() {
        if rest == 0 && used >= width {
            break;
        }
        // Divisions of 128 bits are slow; nearly all values need none.
        let (quotient, digit) = match u64::try_from(rest) {
            Ok(small) => (u128::from(small / 10), small % 10),
            Err(_) => (rest / 10, u64::try_from(rest % 10).unwrap_or(0)),
        };
        *slot = b'0' + u8::try_from(digit).unwrap_or(0);
        rest = quotient;
        used += 1;
    }
    let text = buffer.get(buffer.len() - used..).unwrap_or_default();
    out.push_str(std::str::from_utf8(text).unwrap_or_default());
}
