//! Dates, timestamps and intervals as Spark prints them.

use std::fmt::Write;

const DAY_US: i64 = 86_400_000_000;

/// Appends a date; `days` since 1970-01-01.
pub(crate) fn push_date(out: &mut String, days: i64) {
    let (year, month, day) = civil(days);
    let _ = match year {
        10_000.. => write!(out, "+{year}-{month:02}-{day:02}"),
        ..0 => write!(out, "-{:04}-{month:02}-{day:02}", -year),
        _ => write!(out, "{year:04}-{month:02}-{day:02}"),
    };
}

/// Appends a timestamp in UTC; `us` since 1970.
pub(crate) fn push_timestamp(out: &mut String, us: i64) {
    push_date(out, us.div_euclid(DAY_US));
    let time = us.rem_euclid(DAY_US);
    out.push(' ');
    push_clock(out, time);
}

/// Appends `INTERVAL '1 02:03:04.5' DAY TO SECOND`.
pub(crate) fn push_duration(out: &mut String, us: i64) {
    let sign = if us < 0 { "-" } else { "" };
    let us = us.unsigned_abs();
    let days = us / DAY_US.unsigned_abs();
    let _ = write!(out, "INTERVAL '{sign}{days} ");
    push_clock(out, i64::try_from(us % DAY_US.unsigned_abs()).unwrap_or(0));
    out.push_str("' DAY TO SECOND");
}

/// Appends `1 years 2 months 3 days 4 hours 5 minutes 6.5 seconds`, without the parts that are 0.
pub(crate) fn push_calendar(out: &mut String, months: i32, days: i32, us: i64) {
    let mut words = Vec::new();
    let (hours, us) = (us / 3_600_000_000, us % 3_600_000_000);
    let (minutes, us) = (us / 60_000_000, us % 60_000_000);
    let years = (i64::from(months / 12), "years");
    for (count, unit) in
        [years, (i64::from(months % 12), "months"), (i64::from(days), "days"), (hours, "hours"), (minutes, "minutes")]
    {
        if count != 0 {
            words.push(format!("{count} {unit}"));
        }
    }
    if us != 0 || words.is_empty() {
        let sign = if us < 0 { "-" } else { "" };
        let us = us.unsigned_abs();
        let mut seconds = format!("{sign}{}", us / 1_000_000);
        push_fraction(&mut seconds, us % 1_000_000);
        words.push(format!("{seconds} seconds"));
    }
    out.push_str(&words.join(" "));
}

fn push_clock(out: &mut String, us: i64) {
    let seconds = us / 1_000_000;
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    push_fraction(out, (us % 1_000_000).unsigned_abs());
}

fn push_fraction(out: &mut String, us: u64) {
    if us != 0 {
        let digits = format!("{us:06}");
        out.push('.');
        out.push_str(digits.trim_end_matches('0'));
    }
}

/// Year, month and day of a day number, in the Gregorian calendar without end (Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
