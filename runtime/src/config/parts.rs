//! Sources, views and sinks: their own keys, and those that go to their connectors.

use std::sync::Arc;
use std::time::Duration;

use tidegate_api::config::{ConfigKey, ConfigValue, nearest, normalised};
use tidegate_api::{OutputMode, Registry, Settings};
use tidegate_engine::{
    DeduplicateSpec, SinkInput, SinkPart, SourceSpec, ValueFormat, ValueMode, ViewSpec, WatermarkSpec,
};
use tidegate_formats::ddl;

use super::flat;
use super::options::{Support, TopLevel, output_mode};
use super::sections::{Entry, Findings, Section};

const SOURCE_KEYS: [&str; 8] = [
    "connector.class",
    "value.format",
    "value.mode",
    "schema",
    "static",
    "watermark.column",
    "watermark.delay",
    "watermark.idle.timeout",
];
const VIEW_KEYS: [&str; 6] = [
    "sql",
    "watermark.column",
    "watermark.delay",
    "watermark.idle.timeout",
    "deduplicate",
    "deduplicate.within.watermark",
];
const SINK_KEYS: [&str; 6] = ["connector.class", "output.mode", "sql", "from", "best.effort", "exactly.once.support"];

/// Reads a source; nothing if it can't be planned.
pub(super) fn source(mut section: Section, registry: &Registry, findings: &mut Findings) -> Option<SourceSpec> {
    let connector = class(&mut section, findings);
    let format = section.parsed("value.format", findings, value_format);
    let mode = section.parsed("value.mode", findings, value_mode).unwrap_or_default();
    let before = findings.problems.len();
    let schema =
        section.parsed("schema", findings, |text| ddl::parse_schema(text).map(Arc::new).map_err(|e| e.to_string()));
    let schema_is_wrong = findings.problems.len() > before;
    let watermark = watermark(&mut section, findings);
    let is_static = section.value("static", findings).unwrap_or_default();
    let connector = connector?;
    let keys = match registry.find_source(&connector.value) {
        _ if connector.open => None,
        Ok(found) => {
            if schema.is_none() && found.tells_columns() {
                later(&format!("{}schema", section.prefix), findings);
            }
            Some(found.keys())
        }
        Err(e) => {
            findings.add(&connector.written, without_key(&e.to_string()));
            None
        }
    };
    let settings = hand_on(&mut section, keys?, &SOURCE_KEYS, findings);
    let name = section.name;
    let spec = SourceSpec { name, connector: connector.value, settings, format, mode, schema, watermark, is_static };
    (!schema_is_wrong).then_some(spec)
}

/// Notes a key whose value is only known when the query starts.
fn later(key: &str, findings: &mut Findings) {
    findings.written.insert(key.to_owned(), key.to_owned());
    findings.unresolved.insert(key.to_owned());
}

/// Reads a view; nothing if it can't be planned.
pub(super) fn view(mut section: Section, findings: &mut Findings) -> Option<ViewSpec> {
    let sql = section.take("sql", findings);
    let watermark = watermark(&mut section, findings);
    let deduplicate = deduplicate(&mut section, findings);
    let (name, path) = (section.name.clone(), section.path().to_owned());
    section.finish(&VIEW_KEYS, findings);
    let Some(sql) = sql else {
        findings.add(path, "found no 'sql', expected the query of the view");
        return None;
    };
    Some(ViewSpec { name, sql: sql.value, watermark, deduplicate, process: None })
}

/// Reads a sink; nothing if it can't be planned.
pub(super) fn sink(
    mut section: Section,
    registry: &Registry,
    top: &TopLevel,
    findings: &mut Findings,
) -> Option<SinkPart> {
    let support = Support::take(&mut section, findings);
    let connector = class(&mut section, findings);
    let mode: OutputMode = section.parsed("output.mode", findings, output_mode).unwrap_or_default();
    let best_effort: bool = section.value("best.effort", findings).unwrap_or_default();
    section.refuse(&["stage.outputs"], findings);
    let gets_late = top.late_rows.as_ref().filter(|it| it.value == section.name);
    let input = sink_input(&mut section, gets_late, findings);
    let connector = connector?;
    let found = match registry.find_sink(&connector.value) {
        _ if connector.open => None,
        Ok(found) => Some(found),
        Err(e) => {
            findings.add(&connector.written, without_key(&e.to_string()));
            None
        }
    }?;
    let settings = hand_on(&mut section, found.keys(), &SINK_KEYS, findings);
    if let Some(support) = support.as_ref().or(top.support.as_ref()).filter(|_| !best_effort) {
        support.check(&section.name, found.name(), found.guarantee(&settings), findings);
    }
    Some(SinkPart { name: section.name, connector: connector.value, settings, mode, input: input?, best_effort })
}

/// What a sink gets: a query, a source or view, or late rows if the query's `late.rows.sink` names it.
fn sink_input(section: &mut Section, gets_late: Option<&Entry>, findings: &mut Findings) -> Option<SinkInput> {
    match (section.take("sql", findings), section.take("from", findings), gets_late) {
        (None, None, Some(_)) => Some(SinkInput::LateRows),
        (Some(own), _, Some(late)) | (None, Some(own), Some(late)) => {
            findings.add(
                &own.written,
                format!("found beside '{}', which gives this sink late rows and no others", late.written),
            );
            None
        }
        (Some(sql), None, None) => Some(SinkInput::Sql(sql.value)),
        (None, Some(from), None) => Some(SinkInput::From(from.value)),
        (Some(sql), Some(from), None) => {
            findings
                .add(&from.written, format!("found '{}' and '{}', expected one of them", sql.written, from.written));
            None
        }
        (None, None, None) => {
            findings.add(section.path(), "found neither 'sql' nor 'from', expected one of them");
            None
        }
    }
}

pub(super) fn class(section: &mut Section, findings: &mut Findings) -> Option<Entry> {
    let class = section.take("connector.class", findings);
    if class.is_none() {
        findings.add(section.path(), "found no 'connector.class', expected the name of a connector");
    }
    class
}

/// The registry puts the key in front of its message; here the key is said already.
pub(super) fn without_key(message: &str) -> String {
    message.strip_prefix("connector.class ").unwrap_or(message).to_owned()
}

fn watermark(section: &mut Section, findings: &mut Findings) -> Option<WatermarkSpec> {
    let idle_timeout = section.parsed("watermark.idle.timeout", findings, idle_timeout);
    let (column, delay) = (section.take("watermark.column", findings), section.take("watermark.delay", findings));
    match (column, delay) {
        (None, None) => {
            if idle_timeout.is_some() {
                let key = format!("{}watermark.idle.timeout", section.prefix);
                let written = findings.written.get(&key).cloned().unwrap_or(key);
                findings.add(written, "found no 'watermark.column' beside it, expected the watermark that it is of");
            }
            None
        }
        (Some(column), Some(delay)) => Some(WatermarkSpec { column: column.value, delay: delay.value, idle_timeout }),
        (column, delay) => {
            let (found, missing) = if column.is_some() { ("column", "delay") } else { ("delay", "column") };
            let written = column.or(delay).map(|it| it.written).unwrap_or_default();
            findings.add(written, format!("found the watermark's '{found}' without '{missing}', expected both"));
            None
        }
    }
}

/// At 0 a source would be idle in each epoch that another one has rows in.
fn idle_timeout(text: &str) -> Result<Duration, String> {
    match Duration::parse_value(text)? {
        it if it.is_zero() => Err(format!("found '{text}', expected more than 0")),
        it => Ok(it),
    }
}

fn deduplicate(section: &mut Section, findings: &mut Findings) -> Option<DeduplicateSpec> {
    let within = section.take("deduplicate.within.watermark", findings);
    let columns = section.take("deduplicate", findings);
    let Some(columns) = columns else {
        if let Some(within) = within {
            findings.add(
                within.written,
                "found no 'deduplicate' beside it, expected the columns that make two rows the same",
            );
        }
        return None;
    };
    let within_watermark = within.filter(|it| !it.open).map(|it| {
        bool::parse_value(&it.value).map_err(|message| findings.add(&it.written, message)).unwrap_or_default()
    });
    let names: Vec<String> = columns.value.split(',').map(|it| it.trim().to_owned()).collect();
    if names.iter().any(String::is_empty) {
        findings.add(columns.written, format!("found '{}', expected names of columns", columns.value));
        return None;
    }
    Some(DeduplicateSpec { columns: names, within_watermark: within_watermark.unwrap_or_default() })
}

/// The keys that the connector knows; the others are refused, with the nearest of its keys and the common ones.
pub(super) fn hand_on(
    section: &mut Section,
    keys: &[ConfigKey],
    common: &[&'static str],
    findings: &mut Findings,
) -> Settings {
    let names = || keys.iter().flat_map(|key| std::iter::once(key.name).chain(key.synonyms.iter().copied()));
    let mut settings = Settings::default();
    for entry in std::mem::take(&mut section.entries) {
        let below = |prefix: &str| entry.key.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix));
        let known = keys.iter().any(|it| it.prefix && below(it.name))
            || (flat::pass_through(&entry.key).is_none()
                && names().any(|name| normalised(name) == normalised(&entry.key)));
        if known {
            findings.written.insert(format!("{}{}", section.prefix, entry.key), entry.written.clone());
            settings.push(entry.key, entry.value);
            continue;
        }
        let hint = nearest(&entry.key, names().chain(common.iter().copied()));
        let hint = hint.map(|name| format!("; did you mean '{name}'?")).unwrap_or_default();
        findings.add(entry.written, format!("unknown key{hint}"));
    }
    settings
}

fn value_format(text: &str) -> Result<ValueFormat, String> {
    match text.to_ascii_lowercase().as_str() {
        "raw" => Ok(ValueFormat::Raw),
        "json" => Ok(ValueFormat::Json),
        "text" => Ok(ValueFormat::Text),
        later @ ("csv" | "avro" | "protobuf") => {
            Err(format!("format '{later}' is not supported yet, only raw, json and text"))
        }
        _ => Err(format!("found '{text}', expected raw, json or text")),
    }
}

fn value_mode(text: &str) -> Result<ValueMode, String> {
    match text.to_ascii_lowercase().as_str() {
        "permissive" => Ok(ValueMode::Permissive),
        "fail" | "failfast" => Ok(ValueMode::Fail),
        "drop" | "dropmalformed" => Ok(ValueMode::Drop),
        _ => Err(format!("found '{text}', expected permissive, fail or drop")),
    }
}
