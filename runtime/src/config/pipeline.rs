//! Flat keys to a `QuerySpec`, with everything that is wrong at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tidegate_api::{Error, Registry, Settings};
use tidegate_engine::{QueryPlan, QuerySpec, ask_columns, plan};

use super::flat::identity;
use super::sections::{Findings, Section, Sections};
use super::{Problem, References, options, parts};

/// The sink's name when a file gives none.
const ONLY_SINK: &str = "sink";

/// What a file need not say.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// The query's name.
    pub name: String,
    /// The folder below which checkpoints lie; wins over `data.dir`.
    pub data_dir: Option<PathBuf>,
    /// `connector.class` of the sink when there are no `sinks`.
    pub sink: &'static str,
}

/// A query as read from a file.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Where it comes from.
    pub file: String,
    /// What the engine plans.
    pub spec: QuerySpec,
    written: BTreeMap<String, String>,
    unresolved: BTreeSet<String>,
}

/// What came of reading a file.
#[derive(Debug)]
pub struct Loaded {
    /// The query, if enough of it could be read to plan it.
    pub pipeline: Option<Pipeline>,
    /// All that is wrong.
    pub problems: Vec<Problem>,
}

/// Reads a query from flat settings.
pub fn load(
    file: &str,
    settings: &Settings,
    defaults: &Defaults,
    registry: &Registry,
    references: &References,
) -> Loaded {
    let mut findings = Findings::new(file);
    let sections = Sections::of(settings, references, &mut findings);
    let Sections { query, sources, views, sinks } = sections;
    let top = options::read(query, defaults, registry, &mut findings);
    let counts = (sources.len(), views.len());
    if sources.is_empty() {
        findings.add("sources", "found none, expected at least one source");
    }
    let sinks = only_sink(sinks, &top, defaults, &mut findings);
    let wanted = sinks.len();
    let sources: Vec<_> = sources.into_iter().filter_map(|it| parts::source(it, registry, &mut findings)).collect();
    let views: Vec<_> = views.into_iter().filter_map(|it| parts::view(it, &mut findings)).collect();
    check_late_rows(&sinks, &top, &mut findings);
    let sinks: Vec<_> = sinks.into_iter().filter_map(|it| parts::sink(it, registry, &top, &mut findings)).collect();
    let whole = counts == (sources.len(), views.len()) && wanted == sinks.len() && !sources.is_empty();
    let Findings { problems, written, unresolved, .. } = findings;
    let pipeline = top.options.filter(|_| whole).map(|options| {
        let spec = QuerySpec { name: top.name, sources, views, sinks, options };
        Pipeline { file: file.to_owned(), spec, written, unresolved }
    });
    Loaded { pipeline, problems }
}

/// The sink that late rows go to must be one of the query's.
fn check_late_rows(sinks: &[Section], top: &options::TopLevel, findings: &mut Findings) {
    let Some(late) = top.late_rows.as_ref().filter(|it| !it.open) else { return };
    if sinks.iter().all(|it| it.name != late.value) {
        let known: Vec<_> = sinks.iter().map(|it| it.name.as_str()).collect();
        findings.add(&late.written, format!("found '{}', expected one of the sinks: {}", late.value, known.join(", ")));
    }
}

/// With one sink, beside that of late rows, `sql` and `output.mode` may stand at the top level; without any, it is made here.
fn only_sink(
    mut sinks: Vec<Section>,
    top: &options::TopLevel,
    defaults: &Defaults,
    findings: &mut Findings,
) -> Vec<Section> {
    let gets_late = |it: &Section| top.late_rows.as_ref().is_some_and(|late| late.value == it.name);
    if sinks.iter().all(gets_late) {
        let prefix = format!("sinks.{ONLY_SINK}.");
        let mut sink = Section { prefix, name: ONLY_SINK.to_owned(), entries: Vec::new() };
        if top.sql.is_none() {
            let found = if sinks.is_empty() {
                "found neither 'sinks' nor 'sql', expected one of them"
            } else {
                "found that of late rows only, expected another one, or 'sql'"
            };
            findings.add("sinks", found);
            return sinks;
        }
        sink.entries.push(super::sections::Entry {
            written: "connector.class".to_owned(),
            key: "connector.class".to_owned(),
            value: defaults.sink.to_owned(),
            open: false,
        });
        sinks.insert(0, sink);
    }
    for entry in [&top.sql, &top.mode].into_iter().flatten() {
        let mut own: Vec<_> = sinks.iter_mut().filter(|it| !gets_late(it)).collect();
        match own.as_mut_slice() {
            [only] => only.entries.push(entry.clone()),
            several => {
                let count = several.len();
                findings.add(&entry.written, format!("goes with one sink, found {count}; write it below each sink"));
            }
        }
    }
    sinks
}

impl Pipeline {
    /// Plans the query. No I/O. An error without problems: a value that the plan needs is a reference that was kept, or the
    /// columns that a source is asked for when the query starts.
    ///
    /// # Errors
    /// All that is wrong with it, by the keys as the user wrote them.
    pub async fn plan(&self, registry: &Registry) -> Result<QueryPlan, Vec<Problem>> {
        let planned = Box::pin(plan(self.spec.clone(), registry)).await;
        planned.map_err(|problems| problems.into_iter().filter_map(|it| self.in_their_words(it)).collect())
    }

    /// Plans the query that is to run: sources that declare no columns are asked for them.
    ///
    /// # Errors
    /// As the sources that are asked; inside, as [`plan`](Self::plan).
    pub async fn plan_to_run(&mut self, registry: &Registry) -> Result<Result<QueryPlan, Vec<Problem>>, Error> {
        let asked = Box::pin(ask_columns(&mut self.spec, registry)).await;
        asked.map_err(|e| e.within(format_args!("query '{}' can't be planned", self.spec.name)))?;
        Ok(self.plan(registry).await)
    }

    /// A problem of the engine by the key that the user wrote: `sql` for `sinks.sink`, `views.v` for `views.v.sql`.
    /// Nothing if the key's value is a reference that was kept.
    fn in_their_words(&self, problem: tidegate_engine::Problem) -> Option<Problem> {
        let tidegate_engine::Problem { place, message } = problem;
        let written = |key: &str| {
            let wanted = identity(key);
            self.written.iter().find(|(it, _)| identity(it) == wanted).map(|(_, written)| written.clone())
        };
        // A connector's problem names its key in front.
        let inner = message.split_once(": ").filter(|(key, _)| !key.contains(' '));
        let inner = inner.and_then(|(key, rest)| Some((written(&format!("{place}.{key}"))?, rest.to_owned())));
        let (key, message) = match inner {
            Some(found) => found,
            None => (written(&place).unwrap_or_else(|| self.part(&place)), message),
        };
        let sql = written(&format!("{place}.sql"));
        let open = |key: &String| self.unresolved.contains(key);
        (!open(&key) && !sql.as_ref().is_some_and(open)).then(|| Problem { file: self.file.clone(), key, message })
    }

    /// A part's place; the sink that was made of the top level has no place of its own.
    fn part(&self, place: &str) -> String {
        let made = self.written.get(&format!("{place}.sql")).filter(|it| *it == "sql");
        made.cloned().unwrap_or_else(|| place.to_owned())
    }
}
