//! Flat dotted keys: how a tree becomes them, and when two keys are the same one.

use tidegate_api::config::normalised;
use tidegate_api::{ConfigIssue, Settings};

use super::Node;

/// Below these, keys are handed on as they are written.
const PASS_THROUGH: [&str; 7] =
    ["kafka.", "consumer.override.", "producer.override.", "admin.override.", "storage.", "properties.", "headers."];

/// The parts of a query whose next segment is a name that the user chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Sources,
    Views,
    Sinks,
    Transforms,
    Predicates,
}

impl Group {
    const ALL: [(&str, Self); 5] = [
        ("sources", Self::Sources),
        ("views", Self::Views),
        ("sinks", Self::Sinks),
        ("transforms", Self::Transforms),
        ("predicates", Self::Predicates),
    ];

    pub(super) fn of(segment: &str) -> Option<Self> {
        let segment = normalised(segment);
        Self::ALL.iter().find(|(name, _)| *name == segment).map(|(_, group)| *group)
    }

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, group)| *group == self).map_or("", |(name, _)| name)
    }
}

/// A key, taken apart: `sources.clicks.starting.offsets` is (sources, clicks), `starting.offsets`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) part: Option<(Group, &'a str)>,
    pub(super) key: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn of(written: &'a str) -> Self {
        let whole = Self { part: None, key: written };
        let Some((head, tail)) = written.split_once('.') else { return whole };
        let Some(group) = Group::of(head) else { return whole };
        let (name, key) = tail.split_once('.').unwrap_or((tail, ""));
        // A view may be just its text.
        let key = if key.is_empty() && group == Group::Views { "sql" } else { key };
        Self { part: Some((group, name)), key }
    }

    /// The form in which two keys of a query are compared.
    pub(super) fn identity(&self) -> String {
        let key = match pass_through(self.key) {
            Some(prefix) => format!("{prefix}{}", self.key.get(prefix.len()..).unwrap_or_default()),
            None => normalised(self.key),
        };
        match self.part {
            Some((group, name)) => format!("{}.{name}.{key}", group.name()),
            None => key,
        }
    }
}

/// The prefix that makes a key verbatim.
pub(super) fn pass_through(key: &str) -> Option<&'static str> {
    PASS_THROUGH
        .into_iter()
        .find(|prefix| key.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix)))
}

/// The form in which two keys of a query are compared.
pub(super) fn identity(written: &str) -> String {
    Place::of(written).identity()
}

/// The tree as flat keys: maps are dots, lists are commas, nulls are nothing.
///
/// # Errors
/// All places that have no flat form.
pub fn flatten(node: &Node) -> Result<Settings, Vec<ConfigIssue>> {
    let mut flat = Settings::default();
    let mut issues = Vec::new();
    match node {
        Node::Map(entries) => {
            for (key, value) in entries {
                walk(key, value, &mut flat, &mut issues);
            }
        }
        other => issues.push(ConfigIssue::new("", format!("found {}, expected a map of keys", other.kind()))),
    }
    if issues.is_empty() { Ok(flat) } else { Err(issues) }
}

fn walk(path: &str, node: &Node, flat: &mut Settings, issues: &mut Vec<ConfigIssue>) {
    match node {
        // `{ sql: SELECT a, b FROM t }` is two keys to YAML, and the second has no value.
        Node::Null if path.contains(char::is_whitespace) => {
            let hint = "a text with commas inside { } needs quotes";
            issues.push(ConfigIssue::new(path, format!("found no value, expected one; {hint}")));
        }
        Node::Null => {}
        Node::Map(entries) if entries.is_empty() => {
            issues.push(ConfigIssue::new(path, "found an empty map, expected keys below it"));
        }
        Node::Map(entries) => {
            for (key, value) in entries {
                walk(&format!("{path}.{key}"), value, flat, issues);
            }
        }
        Node::List(items) => match items.iter().map(Node::scalar).collect::<Option<Vec<_>>>() {
            Some(items) => flat.push(path, items.join(",")),
            None => issues.push(ConfigIssue::new(path, "found a list of lists or maps, expected plain values")),
        },
        plain => flat.push(path, plain.scalar().unwrap_or_default()),
    }
}

/// `settings` with those of `over` in the place of the same keys, or added.
#[must_use]
pub fn overlay(settings: &Settings, over: &Settings) -> Settings {
    let over: Vec<(String, &str, &str)> = over.iter().map(|(key, value)| (identity(key), key, value)).collect();
    let kept = settings.iter().filter(|(key, _)| {
        let this = identity(key);
        !over.iter().any(|(it, ..)| *it == this)
    });
    kept.chain(over.iter().map(|(_, key, value)| (*key, *value))).collect()
}

/// Takes `key=value` apart.
///
/// # Errors
/// What was expected.
pub fn parse_assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(format!("found '{text}', expected key=value")),
    }
}
