//! Settings: flat text keys outside, one typed struct a connector inside.
//!
//! Keys are compared after lower-casing and dropping `.`, `_` and `-`, so `startingOffsets`, `starting.offsets` and
//! `starting_offsets` are one key.

use std::collections::BTreeMap;
use std::fmt;

mod settings;
mod value;

pub use settings::{KeyReader, Settings, nearest, normalised};
pub use value::{ByteSize, ConfigValue, Secret, parse_duration};

/// How much a user has to care about a key (Kafka Connect: `Importance`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// Must be thought about.
    High,
    /// Worth knowing.
    Medium,
    /// Has a good default.
    Low,
}

/// One key of a connector, as `plugins`, `validate` and the documentation show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigKey {
    /// Its name, dotted and lower case. For a pass-through key the prefix, with its dot.
    pub name: &'static str,
    /// Other names for the same key.
    pub synonyms: &'static [&'static str],
    /// What it does: the field's doc comment.
    pub doc: &'static str,
    /// The kind of value, in words.
    pub kind: &'static str,
    /// The default as it would be written; none: required, or nothing if `optional`.
    pub default: Option<&'static str>,
    /// May be left out.
    pub optional: bool,
    /// How much a user has to care.
    pub importance: Importance,
    /// Never shown.
    pub secret: bool,
    /// Everything below `name` is passed on as it is.
    pub prefix: bool,
}

/// A problem with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigIssue {
    /// The key it is about, as the user wrote it.
    pub key: String,
    /// What was found and what was expected.
    pub message: String,
}

impl ConfigIssue {
    /// `message` about `key`.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}

impl fmt::Display for ConfigIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// The settings of a connector; made by `#[derive(ConfigDef)]`.
///
/// Each field's doc comment is the key's documentation and must be there. `Option<T>` may be left out; `Vec<T>` is a
/// comma-separated list; a field with `#[config(prefix = "kafka.")]` is a `BTreeMap<String, String>` that takes all keys
/// below the prefix as they are.
///
/// ```
/// use std::time::Duration;
/// use tidegate_api::{ConfigDef, Secret, Settings};
///
/// /// Settings of an imaginary source.
/// #[derive(ConfigDef)]
/// struct TickConfig {
///     /// Rows produced per second.
///     #[config(default = "1", importance = "high")]
///     rows_per_second: u64,
///     /// Time to reach full speed.
///     #[config(default = "0s", synonym = "ramp.time")]
///     ramp_up_time: Duration,
///     /// Sent with every request.
///     token: Option<Secret>,
/// }
///
/// let settings = Settings::from_iter([("rowsPerSecond", "5"), ("token", "s3cret")]);
/// let config = TickConfig::parse(&settings).unwrap();
/// assert_eq!(config.rows_per_second, 5);
/// assert!(!format!("{config:?}").contains("s3cret"));
///
/// let issues = TickConfig::parse(&Settings::from_iter([("rows.per.secnd", "5")])).unwrap_err();
/// assert!(issues[0].message.contains("rows.per.second"));
/// ```
pub trait ConfigDef: Sized + Send + fmt::Debug + 'static {
    /// All keys, in the order of the fields.
    fn keys() -> &'static [ConfigKey];

    /// Reads the settings, or says everything that is wrong with them.
    ///
    /// # Errors
    /// One issue for each unknown, missing, doubled or malformed key.
    fn parse(settings: &Settings) -> Result<Self, Vec<ConfigIssue>>;
}

/// Keys below a pass-through prefix, as the user wrote them (without the prefix).
pub type PassThrough = BTreeMap<String, String>;
