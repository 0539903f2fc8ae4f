//! The keys of the query itself.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_api::config::{ByteSize, ConfigValue};
use tidegate_api::{Guarantee, OutputMode, Registry};
use tidegate_engine::QueryOptions;
use tidegate_epoch::{Trigger, WatermarkPolicy};
use tidegate_storage::{Location, StoreOptions};

use super::Defaults;
use super::errors;
use super::flat;
use super::sections::{Entry, Findings, Section};

/// All keys at the top level, for hints.
const KNOWN: [&str; 35] = [
    "name",
    "checkpoint.location",
    "checkpoint.interval",
    "lease.timeout",
    "storage.*",
    "data.dir",
    "trigger",
    "on.end",
    "watermark.policy",
    "watermark.max.ahead",
    "watermark.on.add",
    "emit.on.watermark",
    "update.mode",
    "count.distinct",
    "chained.aggregates",
    "no.data.epochs",
    "max.rows.per.epoch",
    "max.bytes.per.epoch",
    "target.latency",
    "min.epochs.to.retain",
    "stage.outputs",
    "state.memory",
    "state.spill.dir",
    "shutdown.timeout",
    "tasks.max",
    "exactly.once.support",
    "errors.tolerance",
    "errors.log.enable",
    "dead.letters",
    "late.rows.sink",
    "sources",
    "views",
    "sinks",
    "sql",
    "output.mode",
];

/// Below it stand the settings of the checkpoint's store.
const STORAGE: &str = "storage.";
const LEAST_LEASE: Duration = Duration::from_secs(1);

/// Known to the documentation, not there yet.
const LATER: [&str; 1] = ["session.time.zone"];

/// What stands at the top level.
pub(super) struct TopLevel {
    pub(super) name: String,
    /// Nothing if the checkpoint has no place.
    pub(super) options: Option<QueryOptions>,
    /// `sql` and `output.mode` of the only sink.
    pub(super) sql: Option<Entry>,
    pub(super) mode: Option<Entry>,
    /// The sink of late rows (`late.rows.sink`).
    pub(super) late_rows: Option<Entry>,
    /// What its sinks must promise.
    pub(super) support: Option<Support>,
}

/// What a sink must promise (`exactly.once.support`), and where that is said.
#[derive(Clone)]
pub(super) struct Support {
    pub(super) written: String,
    value: String,
    /// The least that will do; nothing if it is only asked for.
    pub(super) least: Option<Guarantee>,
}

impl Support {
    /// Takes it out of the section of a sink or of the query.
    pub(super) fn take(section: &mut Section, findings: &mut Findings) -> Option<Self> {
        let Entry { written, value, open, .. } = section.take("exactly.once.support", findings)?;
        let least = match value.to_ascii_lowercase().as_str() {
            "requested" => None,
            "required" => Some(Guarantee::Idempotent),
            "required-atomic" => Some(Guarantee::Transactional),
            _ if open => None,
            _ => {
                findings.add(written, format!("found '{value}', expected requested, required or required-atomic"));
                return None;
            }
        };
        Some(Self { written, value, least })
    }

    /// Refuses a sink that promises less.
    pub(super) fn check(&self, sink: &str, connector: &str, promise: Option<Guarantee>, findings: &mut Findings) {
        if self.least.is_none_or(|least| promise.is_some_and(|it| it >= least)) {
            return;
        }
        let promise = promise.map_or_else(|| "nothing".to_owned(), |it| format!("'{it}'"));
        let way_out = "best.effort: true takes it out of the epoch's commit";
        let message =
            format!("'{}' is more than sink '{sink}' ({connector}) promises: {promise}; {way_out}", self.value);
        findings.add(&self.written, message);
    }
}

/// Reads the keys of the query itself.
pub(super) fn read(
    mut section: Section,
    defaults: &Defaults,
    registry: &Registry,
    findings: &mut Findings,
) -> TopLevel {
    let sql = section.take("sql", findings);
    let mode = section.take("output.mode", findings);
    let late_rows = section.take("late.rows.sink", findings);
    let name = read_name(&mut section, defaults, findings);
    let data_dir = section.value::<String>("data.dir", findings).map(PathBuf::from);
    let data_dir = defaults.data_dir.clone().or(data_dir).unwrap_or_else(|| PathBuf::from("data"));
    let storage = storage(&mut section);
    let place = section.take("checkpoint.location", findings).filter(|it| !it.open);
    if let (None, Some(first)) = (&place, storage.first()) {
        findings.add(&first.written, "goes with a checkpoint.location on an object store, found none");
    }
    let store = store_options(&storage);
    let place = place.and_then(|it| location(&it.value, &store).map_err(|e| findings.add(it.written, e)).ok());
    let checkpoint = place.map_or_else(|| Location::at(&data_dir.join("checkpoints").join(folder_name(&name))), Ok);
    let checkpoint = checkpoint.map_err(|e| findings.add("checkpoint.location", e.to_string())).ok();
    let errors = errors::read(&mut section, registry, findings);
    let options = checkpoint.map(|it| {
        let options = QueryOptions { errors, storage: store, ..QueryOptions::new(it) };
        read_options(&mut section, options, findings)
    });
    let support = Support::take(&mut section, findings);
    section.refuse(&LATER, findings);
    section.finish(&KNOWN, findings);
    TopLevel { name, options, sql, mode, late_rows, support }
}

fn read_name(section: &mut Section, defaults: &Defaults, findings: &mut Findings) -> String {
    let name = section.parsed("name", findings, |text| match text.trim() {
        "" => Err("found no text, expected a name".to_owned()),
        name if name.chars().any(char::is_control) => Err("found control characters, expected a name".to_owned()),
        name => Ok(name.to_owned()),
    });
    name.unwrap_or_else(|| defaults.name.clone())
}

fn read_options(section: &mut Section, mut options: QueryOptions, findings: &mut Findings) -> QueryOptions {
    set(&mut options.trigger, section.parsed("trigger", findings, trigger));
    let policy =
        section.parsed("watermark.policy", findings, |text| text.parse::<WatermarkPolicy>().map_err(|e| e.to_string()));
    set(&mut options.watermark_policy, policy);
    let same_epoch = section.parsed("emit.on.watermark", findings, |text| match text.to_ascii_lowercase().as_str() {
        "next-epoch" => Ok(false),
        "same-epoch" => Ok(true),
        other => Err(format!("found '{other}', expected next-epoch or same-epoch")),
    });
    set(&mut options.emit_in_same_epoch, same_epoch);
    let follow = section.parsed("watermark.on.add", findings, |text| match text.to_ascii_lowercase().as_str() {
        "hold" => Ok(false),
        "follow" => Ok(true),
        other => Err(format!("found '{other}', expected hold or follow")),
    });
    set(&mut options.follow_when_added, follow);
    let extended = section.parsed("update.mode", findings, |text| match text.to_ascii_lowercase().as_str() {
        "spark" => Ok(false),
        "extended" => Ok(true),
        other => Err(format!("found '{other}', expected spark or extended")),
    });
    set(&mut options.extensions.update_mode, extended);
    let exact = section.parsed("count.distinct", findings, |text| match text.to_ascii_lowercase().as_str() {
        "refuse" => Ok(false),
        "exact" => Ok(true),
        other => Err(format!("found '{other}', expected refuse or exact")),
    });
    set(&mut options.extensions.count_distinct, exact);
    let retract = section.parsed("chained.aggregates", findings, |text| match text.to_ascii_lowercase().as_str() {
        "refuse" => Ok(false),
        "retract" => Ok(true),
        other => Err(format!("found '{other}', expected refuse or retract")),
    });
    set(&mut options.extensions.chained_aggregates, retract);
    options.max_ahead = section.value::<Duration>("watermark.max.ahead", findings);
    set(&mut options.no_data_epochs, section.value("no.data.epochs", findings));
    options.max_rows_per_epoch = section.value::<NonZeroU64>("max.rows.per.epoch", findings).map(NonZeroU64::get);
    options.max_bytes_per_epoch = section.value::<NonZeroU64>("max.bytes.per.epoch", findings).map(NonZeroU64::get);
    options.target_latency = section.parsed("target.latency", findings, target_latency);
    let retain = section.value::<NonZeroU64>("min.epochs.to.retain", findings).map(NonZeroU64::get);
    set(&mut options.min_epochs_to_retain, retain);
    options.checkpoint_interval = section.value::<Duration>("checkpoint.interval", findings);
    set(&mut options.lease_timeout, section.parsed("lease.timeout", findings, lease));
    set(&mut options.shutdown_timeout, section.value::<Duration>("shutdown.timeout", findings));
    set(&mut options.stage_outputs, section.value("stage.outputs", findings));
    options.state_memory = section.value::<ByteSize>("state.memory", findings).map(|it| it.0);
    options.state_spill_dir = section.value::<String>("state.spill.dir", findings).map(PathBuf::from);
    set(&mut options.tasks_max, section.value("tasks.max", findings));
    let flush = section.parsed("on.end", findings, |text| match text.to_ascii_lowercase().as_str() {
        "keep" => Ok(false),
        "flush" => Ok(true),
        other => Err(format!("found '{other}', expected keep or flush")),
    });
    set(&mut options.flush_on_end, flush);
    options
}

fn set<T>(to: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *to = value;
    }
}

/// Reads a trigger, with the error as text.
pub(super) fn trigger(text: &str) -> Result<Trigger, String> {
    text.parse::<Trigger>().map_err(|e| e.to_string())
}

/// Reads an output mode, with the error as text.
pub(super) fn output_mode(text: &str) -> Result<OutputMode, String> {
    text.parse::<OutputMode>().map_err(|e| e.to_string())
}

/// A folder on this machine or on an object store.
fn location(text: &str, storage: &StoreOptions) -> Result<Location, String> {
    match text.strip_prefix("file:").filter(|it| !it.starts_with("//")).unwrap_or(text) {
        "" => Err("found no text, expected a folder".to_owned()),
        text => Location::open(text, storage, Path::new(".")).map_err(|e| e.to_string()),
    }
}

/// The settings of the checkpoint's store, as they are written.
fn storage(section: &mut Section) -> Vec<Entry> {
    let is_one = |it: &Entry| flat::pass_through(&it.key) == Some(STORAGE);
    let (taken, left) = std::mem::take(&mut section.entries).into_iter().partition(is_one);
    section.entries = left;
    taken
}

/// By the names of the store; what is known only when the query starts is left out.
fn store_options(storage: &[Entry]) -> StoreOptions {
    let known = storage.iter().filter(|it| !it.open);
    known.map(|it| (it.key.get(STORAGE.len()..).unwrap_or_default().to_owned(), it.value.clone())).collect()
}

/// How long an epoch is to take: it takes some time.
fn target_latency(text: &str) -> Result<Duration, String> {
    match Duration::parse_value(text)? {
        it if it.is_zero() => Err(format!("found '{text}', expected more than 0")),
        it => Ok(it),
    }
}

/// A lease that a slow reply can't outlast.
fn lease(text: &str) -> Result<Duration, String> {
    match Duration::parse_value(text)? {
        it if it < LEAST_LEASE => Err(format!("found '{text}', expected at least {LEAST_LEASE:?}")),
        it => Ok(it),
    }
}

/// A query's name as the name of a folder: other characters than letters, digits, `_`, `-` and `.` as `%XX`.
fn folder_name(name: &str) -> String {
    let mut folder = String::new();
    for (i, byte) in name.bytes().enumerate() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => folder.push(char::from(byte)),
            b'.' if i > 0 => folder.push('.'),
            other => folder.push_str(&format!("%{other:02X}")),
        }
    }
    folder
}
