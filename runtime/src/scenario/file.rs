//! A scenario as its file tells it.

use std::path::Path;
use std::time::Duration;

use tidegate_api::Settings;
use tidegate_api::config::parse_duration;

use crate::config::{Node, flatten, overlay};

/// A scenario file.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// The query, with the scenario's options.
    pub settings: Settings,
    /// What is done and expected, in order.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its number, from 1.
    pub number: usize,
    pub(super) action: Action,
}

/// A row as written: column and value.
pub(super) type Row = Vec<(String, Node)>;

/// What a step does.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Add(Vec<(String, Vec<Row>)>),
    Expect(Scope, Expected),
    Watermark(Node),
    State(Vec<(Counter, Counts)>),
    EventTime(Vec<(String, Node)>),
    Restart(Settings),
    AdvanceClock(Duration),
    Error { at: At, contains: String },
}

/// Which rows an `expect` looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Since the last `expect`.
    Since,
    /// Everything, or the current result in complete mode.
    All,
    /// Those of the last epoch that ran.
    LastEpoch,
}

/// The rows that are expected.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    Only(Vec<Row>),
    BySink(Vec<(String, Vec<Row>)>),
}

/// A number of a stateful operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    Total,
    Updated,
    Removed,
    Dropped,
}

/// What a counter is expected to be.
#[derive(Clone, Debug)]
pub(super) enum Counts {
    /// The sum over all operators.
    Sum(u64),
    /// One for each operator, downstream first.
    Each(Vec<u64>),
}

/// When an error is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Start,
    Run,
}

impl Counter {
    const ALL: [(&str, Self); 4] = [
        ("total", Self::Total),
        ("updated", Self::Updated),
        ("removed", Self::Removed),
        ("dropped_by_watermark", Self::Dropped),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, it)| *it == self).map_or("", |(name, _)| name)
    }
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let node = Node::read(path)?;
        let name = path.file_stem().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
        Self::of(&node, &name)
    }

    /// Takes a scenario out of a tree.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(node: &Node, fallback_name: &str) -> Result<Self, String> {
        let entries = node.entries().ok_or_else(|| format!("found {}, expected a scenario", node.kind()))?;
        let (mut name, mut settings, mut options) = (fallback_name.to_owned(), None, Settings::default());
        let mut steps = Vec::new();
        for (key, value) in entries {
            match key.as_str() {
                "name" => name = value.scalar().ok_or_else(|| wrong(key, value, "text"))?,
                "pipeline" => settings = Some(flat(key, value)?),
                "options" => options = flat(key, value)?,
                "steps" => steps = read_steps(value)?,
                "quirk" => {}
                _ => return Err(format!("unknown key '{key}', expected name, pipeline, options, steps or quirk")),
            }
        }
        let settings = settings.ok_or("found no 'pipeline', expected one")?;
        if steps.is_empty() {
            return Err("found no 'steps', expected at least one".to_owned());
        }
        Ok(Self { name, settings: overlay(&settings, &options), steps })
    }
}

fn wrong(key: &str, found: &Node, expected: &str) -> String {
    format!("{key}: found {}, expected {expected}", found.kind())
}

fn flat(key: &str, node: &Node) -> Result<Settings, String> {
    flatten(node).map_err(|issues| {
        let issues: Vec<_> = issues.iter().map(ToString::to_string).collect();
        format!("{key}: {}", issues.join("; "))
    })
}

fn read_steps(node: &Node) -> Result<Vec<Step>, String> {
    let Node::List(items) = node else { return Err(wrong("steps", node, "a list")) };
    let steps = items.iter().zip(1..).map(|(item, number)| {
        let action = read_step(item).map_err(|e| format!("step {number}: {e}"))?;
        Ok(Step { number, action })
    });
    steps.collect()
}

fn read_step(node: &Node) -> Result<Action, String> {
    let [(key, value)] = node.entries().unwrap_or_default() else {
        return Err(format!("found {}, expected a map of one key", node.kind()));
    };
    match key.as_str() {
        "add" => Ok(Action::Add(rows_by_name(key, value)?)),
        "expect" => Ok(Action::Expect(Scope::Since, expected(key, value)?)),
        "expect_all" => Ok(Action::Expect(Scope::All, expected(key, value)?)),
        "expect_last_epoch" => Ok(Action::Expect(Scope::LastEpoch, expected(key, value)?)),
        "watermark" => Ok(Action::Watermark(value.clone())),
        "state" => read_state(value),
        "event_time" => read_event_time(value),
        "restart" => read_restart(value),
        "advance_clock" => {
            let text = value.scalar().ok_or_else(|| wrong(key, value, "a duration"))?;
            parse_duration(&text).map(Action::AdvanceClock).map_err(|e| format!("{key}: {e}"))
        }
        "error" => read_error(value),
        _ => Err(format!(
            "unknown step '{key}', expected add, expect, expect_all, expect_last_epoch, watermark, state, event_time, \
             restart, advance_clock or error"
        )),
    }
}

fn rows_by_name(key: &str, node: &Node) -> Result<Vec<(String, Vec<Row>)>, String> {
    let entries = node.entries().ok_or_else(|| wrong(key, node, "a map from names to rows"))?;
    entries.iter().map(|(name, value)| Ok((name.clone(), rows(&format!("{key}.{name}"), value)?))).collect()
}

fn rows(key: &str, node: &Node) -> Result<Vec<Row>, String> {
    let Node::List(items) = node else { return Err(wrong(key, node, "a list of rows")) };
    let rows = items.iter().map(|it| it.entries().map(<[_]>::to_vec).ok_or_else(|| wrong(key, it, "a row as a map")));
    rows.collect()
}

fn expected(key: &str, node: &Node) -> Result<Expected, String> {
    match node {
        Node::Map(_) => rows_by_name(key, node).map(Expected::BySink),
        _ => rows(key, node).map(Expected::Only),
    }
}

fn read_state(node: &Node) -> Result<Action, String> {
    let entries = node.entries().ok_or_else(|| wrong("state", node, "a map of counters"))?;
    let counts = entries.iter().map(|(key, value)| {
        let known = Counter::ALL.iter().find(|(name, _)| name == key).map(|(_, counter)| *counter);
        let counter = known.ok_or_else(|| {
            format!("state: unknown counter '{key}', expected total, updated, removed or dropped_by_watermark")
        })?;
        let counts = match value {
            Node::List(items) => items.iter().map(whole).collect::<Option<Vec<_>>>().map(Counts::Each),
            plain => whole(plain).map(Counts::Sum),
        };
        Ok((counter, counts.ok_or_else(|| wrong(key, value, "a whole number or a list of them"))?))
    });
    counts.collect::<Result<_, String>>().map(Action::State)
}

fn whole(node: &Node) -> Option<u64> {
    match node {
        Node::Number(it) => it.as_u64(),
        _ => None,
    }
}

fn read_event_time(node: &Node) -> Result<Action, String> {
    let entries = node.entries().ok_or_else(|| wrong("event_time", node, "a map of times"))?;
    match entries.iter().find(|(key, _)| !["min", "max", "avg", "watermark"].contains(&key.as_str())) {
        Some((key, _)) => Err(format!("event_time: unknown key '{key}', expected min, max, avg or watermark")),
        None => Ok(Action::EventTime(entries.to_vec())),
    }
}

fn read_restart(node: &Node) -> Result<Action, String> {
    match node {
        Node::Bool(true) => Ok(Action::Restart(Settings::default())),
        Node::Map(entries) => match entries.as_slice() {
            [(key, set)] if key == "set" => flat("restart.set", set).map(Action::Restart),
            _ => Err("restart: expected true or { set: … }".to_owned()),
        },
        other => Err(wrong("restart", other, "true or { set: … }")),
    }
}

fn read_error(node: &Node) -> Result<Action, String> {
    let text = |key: &str| node.get(key).and_then(Node::scalar);
    let at = match text("at").as_deref() {
        Some("start") => At::Start,
        Some("run") => At::Run,
        _ => return Err("error: expected 'at' to be start or run".to_owned()),
    };
    let contains = text("contains").ok_or("error: expected 'contains', a text that the error holds")?;
    Ok(Action::Error { at, contains })
}

#[cfg(test)]
mod tests;
