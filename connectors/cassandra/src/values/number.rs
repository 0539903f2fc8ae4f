//! Numbers, times and addresses as CQL writes them, read.

use std::net::{Ipv4Addr, Ipv6Addr};

use arrow_buffer::i256;
use arrow_schema::TimeUnit;

/// How bytes become a BIGINT.
#[derive(Clone, Copy)]
pub(crate) enum Long {
    /// So many bytes.
    Fixed(usize),
    VarInt,
    /// A decimal without digits after the point.
    Decimal,
    /// Milliseconds, as this unit.
    Timestamp(TimeUnit),
}

/// How bytes become a DECIMAL.
#[derive(Clone, Copy)]
pub(crate) struct Digits {
    precision: u8,
    scale: i8,
    /// 10 to the precision: what is not below it has too many digits.
    limit: i128,
    /// A varint, which has no scale of its own.
    whole: bool,
}

impl Long {
    pub(crate) fn read(self, bytes: &[u8]) -> Result<i64, String> {
        match self {
            Self::Fixed(1) => fixed(bytes).map(i8::from_be_bytes).map(i64::from),
            Self::Fixed(2) => fixed(bytes).map(i16::from_be_bytes).map(i64::from),
            Self::Fixed(4) => fixed(bytes).map(i32::from_be_bytes).map(i64::from),
            Self::Fixed(_) => fixed(bytes).map(i64::from_be_bytes),
            Self::VarInt => bigint(varint(bytes)),
            Self::Decimal => {
                let (scale, unscaled) = decimal(bytes)?;
                let exact = match u32::try_from(scale) {
                    Ok(scale) => over_ten_to(unscaled, scale),
                    Err(_) => times_ten_to(unscaled, scale.unsigned_abs()),
                };
                bigint(exact)
            }
            Self::Timestamp(unit) => {
                let ms = fixed(bytes).map(i64::from_be_bytes)?;
                let time = match unit {
                    TimeUnit::Second => Some(ms.div_euclid(1000)),
                    TimeUnit::Millisecond => Some(ms),
                    TimeUnit::Microsecond => ms.checked_mul(1000),
                    TimeUnit::Nanosecond => ms.checked_mul(1_000_000),
                };
                time.ok_or_else(|| format!("holds {ms} ms since 1970, which is a time out of range"))
            }
        }
    }
}

impl Digits {
    pub(crate) fn new(precision: u8, scale: i8, whole: bool) -> Self {
        // 38 is the most that there is: it fits.
        let limit = 10_i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX);
        Self { precision, scale, limit, whole }
    }

    /// Digits after the scale are rounded half up (Spark: `Decimal.toPrecision`).
    pub(crate) fn read(self, bytes: &[u8]) -> Result<i128, String> {
        let (from, unscaled) = if self.whole { (0, bytes) } else { split_decimal(bytes)? };
        let more = i64::from(self.scale) - i64::from(from);
        let value = match u32::try_from(more) {
            Ok(more) => varint(unscaled).and_then(|it| times_ten_to(it, more)),
            Err(_) => rounded(unscaled, more.unsigned_abs()),
        };
        let fits = |it: &i128| it.unsigned_abs() < self.limit.unsigned_abs();
        value
            .filter(fits)
            .ok_or_else(|| format!("holds a number that does not fit DECIMAL({}, {})", self.precision, self.scale))
    }
}

/// The bytes, if there are as many as that.
pub(crate) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], String> {
    bytes.try_into().map_err(|_| format!("has a value of {} bytes, expected {N}", bytes.len()))
}

/// Days since 1970, which CQL counts from the middle of the unsigned numbers.
pub(crate) fn days(bytes: &[u8]) -> Result<i32, String> {
    fixed(bytes).map(|it| (u32::from_be_bytes(it) ^ 0x8000_0000).cast_signed())
}

/// An address as Java prints it (`InetAddress.getHostAddress`): of the longer kind all eight groups.
pub(crate) fn address(bytes: &[u8]) -> Result<String, String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(four).to_string());
    }
    let long = Ipv6Addr::from(fixed::<16>(bytes)?);
    if let Some(four) = long.to_ipv4_mapped() {
        return Ok(four.to_string());
    }
    Ok(long.segments().map(|it| format!("{it:x}")).join(":"))
}

/// A two's complement of any length, big endian; nothing if it does not fit.
fn varint(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first()? & 0x80 != 0;
    let mut all = if negative { [0xff; 16] } else { [0; 16] };
    let start = all.len().checked_sub(bytes.len())?;
    all.get_mut(start..)?.copy_from_slice(bytes);
    Some(i128::from_be_bytes(all))
}

/// The scale of a decimal, and the bytes of its number.
fn split_decimal(bytes: &[u8]) -> Result<(i32, &[u8]), String> {
    let split = bytes.split_first_chunk::<4>();
    split.map(|(scale, rest)| (i32::from_be_bytes(*scale), rest)).ok_or_else(super::cut_short)
}

fn decimal(bytes: &[u8]) -> Result<(i32, i128), String> {
    let (scale, rest) = split_decimal(bytes)?;
    varint(rest).map(|it| (scale, it)).ok_or_else(|| "holds a number that does not fit BIGINT".to_owned())
}

fn bigint(value: Option<i128>) -> Result<i64, String> {
    value.and_then(|it| i64::try_from(it).ok()).ok_or_else(|| "holds a number that does not fit BIGINT".to_owned())
}

fn times_ten_to(value: i128, power: u32) -> Option<i128> {
    if value == 0 { Some(0) } else { value.checked_mul(10_i128.checked_pow(power)?) }
}

/// Nothing if digits would be lost.
fn over_ten_to(value: i128, power: u32) -> Option<i128> {
    if value == 0 {
        return Some(0);
    }
    let ten = 10_i128.checked_pow(power)?;
    (value % ten == 0).then_some(value / ten)
}

/// The number over 10 to `power`, rounded half up, away from zero.
fn rounded(unscaled: &[u8], power: u64) -> Option<i128> {
    let negative = unscaled.first()? & 0x80 != 0;
    let mut all = if negative { [0xff; 32] } else { [0; 32] };
    let start = all.len().checked_sub(unscaled.len()).filter(|it| *it > 0)?;
    all.get_mut(start..)?.copy_from_slice(unscaled);
    let value = i256::from_be_bytes(all);
    // What 31 bytes hold is less than half of a power that 32 don't.
    let Some(ten) = u32::try_from(power).ok().and_then(|it| i256::from_i128(10).checked_pow(it)) else {
        return Some(0);
    };
    let whole = value.checked_div(ten)?;
    let rest = value.checked_rem(ten)?.checked_abs()?;
    let up = rest >= ten.checked_sub(rest)?;
    let step = if negative { i256::MINUS_ONE } else { i256::ONE };
    let rounded = if up { whole.checked_add(step)? } else { whole };
    rounded.to_i128()
}
