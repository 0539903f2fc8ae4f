//! Floating-point numbers as Java prints them: `1.0`, `1.0E10`, `9.9E-4`.

use std::fmt::{LowerExp, Write};

/// Appends `value`. `magnitude` is its absolute value.
pub(crate) fn push_float<T: LowerExp>(out: &mut String, value: &T, magnitude: f64) {
    if magnitude.is_nan() {
        out.push_str("NaN");
        return;
    }
    let mut text = format!("{value:e}");
    let digits_end = text.find('e').unwrap_or(text.len());
    if magnitude.is_finite() && !text[..digits_end].contains('.') {
        // Java shows two digits at least; for the smallest numbers of all the second one is not 0.
        text = format!("{value:.1e}");
    }
    let (sign, unsigned) = text.strip_prefix('-').map_or(("", text.as_str()), |it| ("-", it));
    out.push_str(sign);
    let Some((mantissa, exponent)) = unsigned.split_once('e') else {
        out.push_str("Infinity");
        return;
    };
    if magnitude == 0.0 {
        out.push_str("0.0");
    } else if (1e-3..1e7).contains(&magnitude) {
        push_plain(out, mantissa, exponent.parse().unwrap_or(0));
    } else {
        // Writing to a string can't fail.
        let _ = write!(out, "{mantissa}E{exponent}");
    }
}

/// `d.ddd` times ten to the `exponent`, written out.
fn push_plain(out: &mut String, mantissa: &str, exponent: i32) {
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = [whole, fraction].concat();
    let Ok(shift) = usize::try_from(exponent) else {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', usize::try_from(-exponent - 1).unwrap_or(0)));
        out.push_str(&digits);
        return;
    };
    let point = shift + 1;
    for (at, digit) in digits.chars().chain(std::iter::repeat('0')).take(point.max(digits.len())).enumerate() {
        if at == point {
            out.push('.');
        }
        out.push(digit);
    }
    if digits.len() <= point {
        out.push_str(".0");
    }
}
