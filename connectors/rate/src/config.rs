//! The settings of the `rate` source.

use std::num::{NonZeroU32, NonZeroU64};

use tidegate_api::config::parse_duration;
use tidegate_api::prelude::*;

/// Settings of the `rate` source.
#[derive(ConfigDef)]
pub struct RateConfig {
    /// Rows produced per second, at full speed.
    #[config(default = "1", importance = "high")]
    pub rows_per_second: NonZeroU64,
    /// Time to reach full speed, in whole seconds.
    #[config(default = "0s")]
    pub ramp_up_time: Seconds,
    /// Pieces that are read side by side.
    #[config(default = "1", importance = "low")]
    pub num_partitions: NonZeroU32,
}

/// A duration cut to whole seconds; a bare number is seconds (Spark: `timeStringAsSec`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub u64);

impl ConfigValue for Seconds {
    const KIND: &'static str = "a duration such as 10 seconds or 5m";
    fn parse_value(text: &str) -> Result<Self, String> {
        if let Ok(seconds) = text.trim().parse() {
            return Ok(Self(seconds));
        }
        parse_duration(text).map(|it| Self(it.as_secs()))
    }
}
