//! Numbers: one pass over the digits, and exact values for each type.

const MAX_POWER_OF_TEN: u32 = 38;

/// A number as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Number<'a> {
    text: &'a [u8],
    negative: bool,
    /// All digits as one number, if there are at most 19 that count.
    mantissa: u64,
    digits: u32,
    /// The value is mantissa · 10^exponent.
    exponent: i32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Integer,
    Fraction,
    /// NaN and the infinities.
    Special(f64),
}

impl<'a> Number<'a> {
    /// The number that `bytes` begins with, by JSON's grammar.
    #[inline]
    pub(super) fn scan(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0, mantissa: 0, digits: 0 };
        let negative = reader.eat(b'-');
        match reader.peek() {
            b'0' => reader.at += 1,
            b'1'..=b'9' => {
                reader.run();
            }
            _ => return special(bytes),
        }
        if reader.peek().is_ascii_digit() {
            return None;
        }
        let mut kind = Kind::Integer;
        let mut exponent = 0_i32;
        if reader.eat(b'.') {
            kind = Kind::Fraction;
            let run = reader.run();
            if run == 0 {
                return None;
            }
            exponent = -i32::try_from(run).unwrap_or(i32::MAX);
        }
        if reader.eat(b'e') || reader.eat(b'E') {
            kind = Kind::Fraction;
            exponent = exponent.saturating_add(reader.exponent()?);
        }
        let text = bytes.get(..reader.at)?;
        Some(Self { text, negative, mantissa: reader.mantissa, digits: reader.digits, exponent, kind })
    }

    /// The number that a text holds (Java: `new BigDecimal(text)`).
    pub(super) fn of_text(text: &'a [u8]) -> Option<Self> {
        let mut reader = Reader { bytes: text, at: 0, mantissa: 0, digits: 0 };
        let negative = reader.eat(b'-');
        if !negative {
            reader.eat(b'+');
        }
        let whole = reader.run();
        let fraction = if reader.eat(b'.') { reader.run() } else { 0 };
        if whole + fraction == 0 {
            return None;
        }
        let mut exponent = -i32::try_from(fraction).unwrap_or(i32::MAX);
        if reader.eat(b'e') || reader.eat(b'E') {
            exponent = exponent.saturating_add(reader.exponent()?);
        }
        let (mantissa, digits) = (reader.mantissa, reader.digits);
        let kind = Kind::Fraction;
        (reader.at == text.len()).then_some(Self { text, negative, mantissa, digits, exponent, kind })
    }

    pub(super) fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The value of a number without fraction and exponent, if it fits.
    #[inline]
    pub(super) fn to_i64(self) -> Option<i64> {
        if self.kind != Kind::Integer || self.digits > 19 {
            return None;
        }
        if self.negative { 0_i64.checked_sub_unsigned(self.mantissa) } else { i64::try_from(self.mantissa).ok() }
    }

    /// The nearest double.
    #[inline]
    pub(super) fn to_f64(self) -> Option<f64> {
        const EXACT: [f64; 23] = [
            1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
            1e19, 1e20, 1e21, 1e22,
        ];
        if let Kind::Special(value) = self.kind {
            return Some(value);
        }
        // Mantissa and power are exact doubles, so the one operation rounds right.
        let power = usize::try_from(self.exponent.unsigned_abs()).ok().and_then(|it| EXACT.get(it));
        match power {
            Some(power) if self.digits <= 15 => {
                #[expect(clippy::cast_precision_loss, reason = "15 digits are below 2^53")]
                let mantissa = self.mantissa as f64;
                let value = if self.exponent < 0 { mantissa / power } else { mantissa * power };
                Some(if self.negative { -value } else { value })
            }
            _ => std::str::from_utf8(self.text).ok()?.parse().ok(),
        }
    }

    /// The nearest float; not by way of the nearest double, which may round twice.
    #[inline]
    pub(super) fn to_f32(self) -> Option<f32> {
        if let Kind::Special(value) = self.kind {
            #[expect(clippy::cast_possible_truncation, reason = "NaN and the infinities stay what they are")]
            return Some(value as f32);
        }
        std::str::from_utf8(self.text).ok()?.parse().ok()
    }

    /// The value times 10^scale as a whole number, rounded half up (`round`) or cut towards 0.
    #[inline]
    pub(super) fn scaled(self, scale: i32, round: bool) -> Option<i128> {
        if matches!(self.kind, Kind::Special(_)) {
            return None;
        }
        let shift = self.exponent.saturating_add(scale);
        let value = if self.digits <= 19 {
            shifted(u128::from(self.mantissa), shift, round)?
        } else {
            self.scaled_from_text(shift, round)?
        };
        let value = i128::try_from(value).ok()?;
        Some(if self.negative { -value } else { value })
    }

    /// As `scaled`, for numbers of more digits than the mantissa holds.
    #[cold]
    fn scaled_from_text(self, shift: i32, round: bool) -> Option<u128> {
        let end = self.text.iter().position(|it| matches!(it, b'e' | b'E')).unwrap_or(self.text.len());
        let digits = self.text.get(..end)?.iter().filter(|it| it.is_ascii_digit());
        // Digits that a cut or a rounding drops must not count against the 38 that fit.
        let count = digits.clone().count();
        let dropped = if shift < 0 { usize::try_from(shift.unsigned_abs()).ok()? } else { 0 };
        let Some(kept) = count.checked_sub(dropped) else { return Some(0) };
        let mut value = 0_u128;
        for digit in digits.clone().take(kept) {
            value = value.checked_mul(10)?.checked_add(u128::from(digit - b'0'))?;
        }
        if round && digits.clone().nth(kept).is_some_and(|it| *it >= b'5') {
            value = value.checked_add(1)?;
        }
        shifted(value, shift.max(0), false)
    }
}

/// `value` · 10^shift.
fn shifted(value: u128, shift: i32, round: bool) -> Option<u128> {
    let power = shift.unsigned_abs();
    if shift >= 0 {
        if value == 0 {
            return Some(0);
        }
        return value.checked_mul(10_u128.checked_pow(power)?);
    }
    if power > MAX_POWER_OF_TEN {
        return Some(0);
    }
    let divisor = 10_u128.checked_pow(power)?;
    let up = round && value % divisor >= divisor.div_ceil(2);
    Some(value / divisor + u128::from(up))
}

const POWERS_OF_TEN: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The digits that eight bytes begin with.
struct Digits {
    count: usize,
    /// How many of them are zeros in front.
    zeros: usize,
    value: u64,
}

impl Digits {
    /// All eight bytes at once: a loop over few digits costs a branch that can't be foreseen.
    #[inline]
    fn lead(bytes: [u8; 8]) -> Self {
        const ONES: u64 = u64::from_ne_bytes([1; 8]);
        let word = u64::from_le_bytes(bytes) ^ (ONES * u64::from(b'0'));
        // Bits above the lowest one set may be wrong, the lowest never is.
        let other = (word.wrapping_add(ONES * 0x76) | word) & (ONES * 0x80);
        let bits = other.trailing_zeros() & !7;
        // The digits move to the end, and zeros come in front of them.
        let digits = word.checked_shl(64 - bits).unwrap_or(0);
        let zeros = if digits == 0 { bits } else { (digits.trailing_zeros() & !7) - (64 - bits) };
        let pairs = (digits.wrapping_mul(10) + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
        let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
        let value = (fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff;
        let bytes = |bits: u32| usize::try_from(bits / 8).unwrap_or(0);
        Self { count: bytes(bits), zeros: bytes(zeros), value }
    }
}

/// A whole number of up to seven digits that nothing of a longer or another number follows, and how many they are.
#[inline]
pub(super) fn small_integer(bytes: &[u8]) -> Option<(i64, usize)> {
    let chunk = bytes.first_chunk::<8>()?;
    let digits = Digits::lead(*chunk);
    let next = chunk.get(digits.count)?;
    let plain = digits.count > 0 && !matches!(next, b'.' | b'e' | b'E') && (digits.zeros == 0 || digits.count == 1);
    plain.then_some((i64::try_from(digits.value).ok()?, digits.count))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    mantissa: u64,
    digits: u32,
}

impl Reader<'_> {
    #[inline]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    /// Takes digits into the mantissa; how many there were.
    #[inline]
    fn run(&mut self) -> usize {
        let start = self.at;
        while let Some(chunk) = self.bytes.get(self.at..).and_then(|it| it.first_chunk()) {
            let digits = Digits::lead(*chunk);
            let power = POWERS_OF_TEN.get(digits.count).copied().unwrap_or_default();
            self.mantissa = self.mantissa.wrapping_mul(power).wrapping_add(digits.value);
            // As below: zeros in front don't count.
            let zeros = if self.digits == 0 { digits.zeros } else { 0 };
            self.digits += u32::try_from(digits.count - zeros).unwrap_or(0);
            self.at += digits.count;
            if digits.count < 8 {
                return self.at - start;
            }
        }
        while let digit @ b'0'..=b'9' = self.peek() {
            self.mantissa = self.mantissa.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            // Zeros in front don't count. A mantissa that has wrapped to 0 has counted its digits already.
            self.digits += u32::from(self.mantissa != 0 || self.digits > 0);
            self.at += 1;
        }
        self.at - start
    }

    /// The exponent behind its letter, held at what no type reaches.
    fn exponent(&mut self) -> Option<i32> {
        let negative = self.eat(b'-');
        if !negative {
            self.eat(b'+');
        }
        let start = self.at;
        let mut value = 0_i32;
        while let digit @ b'0'..=b'9' = self.peek() {
            value = (value * 10 + i32::from(digit - b'0')).min(1_000_000);
            self.at += 1;
        }
        (self.at > start).then_some(if negative { -value } else { value })
    }
}

/// The numbers that have no digits.
fn special(bytes: &[u8]) -> Option<Number<'_>> {
    let (text, value) = SPECIAL.iter().find(|it| bytes.starts_with(it.0))?;
    let text = bytes.get(..text.len())?;
    Some(Number { text, negative: false, mantissa: 0, digits: 0, exponent: 0, kind: Kind::Special(*value) })
}

/// The value of a text that may stand for a double.
pub(super) fn special_text(text: &[u8]) -> Option<f64> {
    SPECIAL.iter().find(|it| it.0 == text).map(|it| it.1)
}

const SPECIAL: [(&[u8], f64); 6] = [
    (b"NaN", f64::NAN),
    (b"Infinity", f64::INFINITY),
    (b"+Infinity", f64::INFINITY),
    (b"-Infinity", f64::NEG_INFINITY),
    (b"+INF", f64::INFINITY),
    (b"-INF", f64::NEG_INFINITY),
];

#[cfg(test)]
mod tests;
