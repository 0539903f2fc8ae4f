//! When an epoch may begin.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_api::config::parse_duration;
use tidegate_api::{Error, Result};

/// When epochs run (Spark: `Trigger`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Trigger {
    /// As soon as there is something to do.
    #[default]
    Default,
    /// The first at once, then at whole multiples of the interval since 1970.
    Interval(Duration),
    /// One epoch with all there is, limits ignored, none without data; a pending epoch counts as the one.
    Once,
    /// Epochs up to the ends that were there at the start, then the epoch without data.
    AvailableNow,
    /// As soon as possible, with at least this long between commits.
    Continuous(Duration),
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Interval(interval) => write!(f, "{} ms", interval.as_millis()),
            Self::Once => f.write_str("once"),
            Self::AvailableNow => f.write_str("available-now"),
            Self::Continuous(interval) => write!(f, "continuous {} ms", interval.as_millis()),
        }
    }
}

impl FromStr for Trigger {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            let expected = "a duration such as '10 seconds', once, available-now or continuous <duration>";
            Error::config(format!("trigger '{text}': {why}expected {expected}"))
        };
        let lower = text.trim().to_ascii_lowercase();
        match lower.replace(['-', '_', '.'], "").as_str() {
            "default" => return Ok(Self::Default),
            "once" => return Ok(Self::Once),
            "availablenow" => return Ok(Self::AvailableNow),
            _ => {}
        }
        if let Some(rest) = lower.strip_prefix("continuous") {
            let interval = parse_duration(rest).map_err(|e| wrong(&format!("{e}; ")))?;
            return Ok(Self::Continuous(interval));
        }
        match parse_duration(&lower) {
            // Spark: an interval of nothing is "as soon as possible".
            Ok(interval) if interval.as_millis() == 0 => Ok(Self::Default),
            Ok(interval) => Ok(Self::Interval(interval)),
            Err(_) => Err(wrong("")),
        }
    }
}

impl From<Trigger> for String {
    fn from(trigger: Trigger) -> Self {
        trigger.to_string()
    }
}

impl TryFrom<String> for Trigger {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// What the trigger says now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Now,
    At(i64),
    Never,
}

/// The turns of a trigger; all times are milliseconds of the query's clock.
#[derive(Debug)]
pub(crate) struct Turns {
    trigger: Trigger,
    /// From the beginning of an epoch to that of the next.
    least: Duration,
    next_ms: Option<i64>,
    began_ms: i64,
    over: bool,
}

impl Turns {
    pub(crate) fn new(trigger: Trigger, least: Duration) -> Self {
        Self { trigger, least, next_ms: None, began_ms: 0, over: false }
    }

    pub(crate) fn due(&self, now_ms: i64) -> Due {
        match self.next_ms {
            _ if self.over => Due::Never,
            Some(next) if next > now_ms => Due::At(next),
            _ => Due::Now,
        }
    }

    /// A turn begins; the next tick is counted from here, so missed ones are not made up for.
    pub(crate) fn begin(&mut self, now_ms: i64) {
        self.began_ms = now_ms;
        if let Trigger::Interval(interval) = self.trigger {
            let interval = whole_ms(interval);
            self.next_ms = Some(now_ms.div_euclid(interval).saturating_mul(interval).saturating_add(interval));
        }
    }

    /// A turn is over, with an epoch or without. True if it took longer than the interval.
    pub(crate) fn end(&mut self, now_ms: i64, ran: bool) -> bool {
        match self.trigger {
            Trigger::Once => self.over = true,
            Trigger::AvailableNow => self.over = !ran,
            Trigger::Continuous(interval) if ran => self.next_ms = Some(now_ms.saturating_add(whole_ms(interval))),
            Trigger::Interval(_) | Trigger::Default | Trigger::Continuous(_) => {}
        }
        if ran && !self.least.is_zero() {
            let soonest = self.began_ms.saturating_add(whole_ms(self.least));
            self.next_ms = Some(self.next_ms.map_or(soonest, |it| it.max(soonest)));
        }
        matches!(self.trigger, Trigger::Interval(it) if now_ms.saturating_sub(self.began_ms) > whole_ms(it))
    }

    /// The next tick of an interval trigger.
    pub(crate) fn tick(&self) -> Option<i64> {
        matches!(self.trigger, Trigger::Interval(_)).then_some(self.next_ms).flatten()
    }
}

fn whole_ms(interval: Duration) -> i64 {
    i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests;
