//! The settings of the `console` sink.

use tidegate_api::prelude::*;

/// Settings of the `console` sink.
#[derive(Clone, ConfigDef)]
pub struct ConsoleConfig {
    /// Most rows shown in an epoch.
    #[config(default = "20")]
    pub num_rows: u32,
    /// Whether cells are cut to 20 characters, or to how many.
    #[config(default = "true")]
    pub truncate: Truncate,
}

/// Characters (UTF-16, as in Spark) to which a cell is cut; 0: it is not, and cells stand on the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncate(pub usize);

impl ConfigValue for Truncate {
    const KIND: &'static str = "true, false or a number of characters";
    fn parse_value(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" => Ok(Self(20)),
            "false" => Ok(Self(0)),
            number => number.parse().map(Self).map_err(|_| format!("'{text}' is not {}", Self::KIND)),
        }
    }
}
