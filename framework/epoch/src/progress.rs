//! Progress objects with Spark's names, in Spark's order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use serde::Serialize;
use serde_json::Value;

use crate::log::Plan;
use crate::manifest::Counts;
use crate::program::{EpochNumbers, EventTimes, OperatorNumbers};
use crate::sink_task::SinkReport;
use crate::source_task::SourceReport;
use crate::watermark::{GroupMark, Levels};

/// The metric of sources and sinks that counts the dead letters of an epoch.
const DEAD: &str = "deadLetters";

/// What an epoch did (Spark: `StreamingQueryProgress`). Its JSON is one line.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryProgress {
    /// The query, minted with its checkpoint.
    pub id: String,
    /// This run.
    pub run_id: String,
    /// The query's name.
    pub name: Option<String>,
    /// When the trigger fired.
    pub timestamp: String,
    /// The epoch.
    #[serde(rename = "batchId")]
    pub epoch: u64,
    /// All of it, milliseconds; 0 counts as 1.
    #[serde(rename = "batchDuration")]
    pub duration: u64,
    /// Rows read.
    pub num_input_rows: u64,
    /// Rows read, by the time since the trigger before fired.
    #[serde(skip_serializing_if = "is_not_a_number")]
    pub input_rows_per_second: f64,
    /// Rows read, by the time that the epoch took.
    #[serde(skip_serializing_if = "is_not_a_number")]
    pub processed_rows_per_second: f64,
    /// Milliseconds by step.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub duration_ms: BTreeMap<&'static str, u64>,
    /// `avg`, `max`, `min` of the first watermark node with data; `watermark`: the one that the epoch evicted with.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub event_time: BTreeMap<&'static str, String>,
    /// The watermarks of groups of sinks that the epoch evicted with, if there are several; none in Spark.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub watermark_groups: Vec<GroupProgress>,
    /// Downstream first.
    pub state_operators: Vec<OperatorProgress>,
    /// In the order of the query.
    pub sources: Vec<SourceProgress>,
    /// The first sink.
    pub sink: SinkProgress,
    /// All sinks, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<SinkProgress>,
    /// Always empty.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub observed_metrics: BTreeMap<String, Value>,
    /// The watermark that the epoch evicted with.
    #[serde(skip)]
    pub watermark_ms: Option<i64>,
    /// The watermark that the next one evicts with.
    #[serde(skip)]
    pub next_watermark_ms: Option<i64>,
    /// Event times of the first watermark node that saw any.
    #[serde(skip)]
    pub event_times: EventTimes,
    /// Calls of fsync in the epoch.
    #[serde(skip)]
    pub fsyncs: u64,
    /// Time spent in them.
    #[serde(skip)]
    pub fsync_time: Duration,
}

/// The watermark of sinks that the same nodes feed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupProgress {
    /// The watermark nodes, by name.
    pub nodes: Vec<Arc<str>>,
    /// The sinks, in the order of the query.
    pub sinks: Vec<Arc<str>>,
    /// The watermark that the epoch evicted with.
    pub watermark: String,
}

impl From<&GroupMark> for GroupProgress {
    fn from(mark: &GroupMark) -> Self {
        Self { nodes: mark.nodes.clone(), sinks: mark.sinks.clone(), watermark: iso(mark.watermark_ms) }
    }
}

/// What a stateful operator did (Spark: `StateOperatorProgress`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are Spark's; OperatorNumbers says what they count")]
pub struct OperatorProgress {
    pub operator_name: String,
    pub num_rows_total: u64,
    pub num_rows_updated: u64,
    pub all_updates_time_ms: u64,
    pub num_rows_removed: u64,
    pub all_removals_time_ms: u64,
    pub commit_time_ms: u64,
    pub memory_used_bytes: u64,
    pub num_rows_dropped_by_watermark: u64,
    pub num_shuffle_partitions: u64,
    pub num_state_store_instances: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_metrics: BTreeMap<&'static str, u64>,
}

/// What a source brought (Spark: `SourceProgress`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are Spark's")]
pub struct SourceProgress {
    pub description: String,
    pub start_offset: Value,
    pub end_offset: Value,
    pub latest_offset: Value,
    pub num_input_rows: u64,
    #[serde(skip_serializing_if = "is_not_a_number")]
    pub input_rows_per_second: f64,
    #[serde(skip_serializing_if = "is_not_a_number")]
    pub processed_rows_per_second: f64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, String>,
}

/// What a sink got (Spark: `SinkProgress`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are Spark's")]
pub struct SinkProgress {
    pub description: String,
    /// -1 if unknown.
    pub num_output_rows: i64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, String>,
}

/// Time spent in the steps of an epoch, under Spark's names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timings(BTreeMap<&'static str, Duration>);

impl Timings {
    pub(crate) fn add(&mut self, step: &'static str, took: Duration) {
        *self.0.entry(step).or_default() += took;
    }

    fn in_ms(&self) -> BTreeMap<&'static str, u64> {
        self.0.iter().map(|(step, took)| (*step, whole_ms(*took))).collect()
    }
}

/// All that a progress object is made of.
pub(crate) struct Facts<'a> {
    pub(crate) id: &'a str,
    pub(crate) run_id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) triggered_ms: i64,
    /// When the trigger before fired.
    pub(crate) previous_ms: Option<i64>,
    pub(crate) took: Duration,
    pub(crate) plan: &'a Plan,
    /// The watermarks that the next one evicts with.
    pub(crate) next: Levels,
    pub(crate) numbers: &'a EpochNumbers,
    pub(crate) timings: &'a Timings,
    pub(crate) sources: Vec<SourceReport>,
    pub(crate) sinks: Vec<SinkReport>,
    pub(crate) counts: &'a Counts,
    /// Rows that waited for their sink and were not taken, by sink.
    pub(crate) rejected: &'a [u64],
    pub(crate) fsyncs: u64,
    pub(crate) fsync_time: Duration,
}

impl Facts<'_> {
    pub(crate) fn progress(self) -> QueryProgress {
        let duration = whole_ms(self.took).max(1);
        let since = self.previous_ms.map(|it| self.triggered_ms.saturating_sub(it));
        let rates = Rates { since_ms: since, took_ms: duration };
        let num_input_rows = self.numbers.source_rows.iter().sum();
        let event_times = self.numbers.event_times.iter().copied().find(|it| it.count > 0).unwrap_or_default();
        let used = self.plan.levels();
        let mut duration_ms = self.timings.in_ms();
        duration_ms.insert("triggerExecution", whole_ms(self.took));
        let mut sinks = self.sink_progress();
        let sink = match sinks.first() {
            Some(first) => first.clone(),
            None => SinkProgress { description: "none".to_owned(), num_output_rows: -1, metrics: BTreeMap::new() },
        };
        if sinks.len() == 1 {
            sinks.clear();
        }
        QueryProgress {
            id: self.id.to_owned(),
            run_id: self.run_id.to_owned(),
            name: Some(self.name.to_owned()).filter(|it| !it.is_empty()),
            timestamp: iso(self.triggered_ms),
            epoch: self.plan.epoch,
            duration,
            num_input_rows,
            input_rows_per_second: rates.input(num_input_rows),
            processed_rows_per_second: rates.processed(num_input_rows),
            event_time: event_time(&event_times, used.query_ms),
            watermark_groups: used.groups.iter().map(GroupProgress::from).collect(),
            state_operators: self.operators(&duration_ms),
            duration_ms,
            sources: self.source_progress(&rates),
            sink,
            sinks,
            observed_metrics: BTreeMap::new(),
            watermark_ms: used.query_ms,
            next_watermark_ms: self.next.query_ms,
            event_times,
            fsyncs: self.fsyncs,
            fsync_time: self.fsync_time,
        }
    }

    fn operators(&self, duration_ms: &BTreeMap<&'static str, u64>) -> Vec<OperatorProgress> {
        let commit_ms = duration_ms.get("walCommit").copied().unwrap_or(0);
        let one = |(at, it): (usize, &OperatorNumbers)| OperatorProgress {
            operator_name: it.name.clone(),
            num_rows_total: it.rows_total,
            num_rows_updated: it.rows_updated,
            all_updates_time_ms: it.updates_ms,
            num_rows_removed: it.rows_removed,
            all_removals_time_ms: it.removals_ms,
            commit_time_ms: commit_ms,
            memory_used_bytes: it.memory_bytes,
            num_rows_dropped_by_watermark: it.rows_dropped_by_watermark,
            num_shuffle_partitions: 1,
            num_state_store_instances: 1,
            // All operators share one record, so its cost stands with the first.
            custom_metrics: match at {
                0 => self.costs().into_iter().chain(it.custom.clone()).collect(),
                _ => it.custom.clone(),
            },
        };
        self.numbers.operators.iter().enumerate().map(one).collect()
    }

    /// Whole milliseconds are too coarse for an epoch without data.
    fn costs(&self) -> BTreeMap<&'static str, u64> {
        BTreeMap::from([
            ("epochTimeUs", whole_us(self.took)),
            ("fsyncs", self.fsyncs),
            ("fsyncTimeMs", whole_ms(self.fsync_time)),
            ("fsyncTimeUs", whole_us(self.fsync_time)),
        ])
    }

    fn source_progress(&self, rates: &Rates) -> Vec<SourceProgress> {
        let rows = self.numbers.source_rows.iter().copied().chain(std::iter::repeat(0));
        let one = |(report, rows): (&SourceReport, u64)| {
            // A plan from the log may list the sources in another order.
            let range = self.plan.sources.iter().find(|it| it.name == report.name)?;
            Some(SourceProgress {
                description: report.description.clone(),
                start_offset: range.start.0.clone(),
                end_offset: range.end.0.clone(),
                latest_offset: report.latest.as_ref().map_or_else(|| range.end.0.clone(), |it| it.0.clone()),
                num_input_rows: rows,
                input_rows_per_second: rates.input(rows),
                processed_rows_per_second: rates.processed(rows),
                metrics: report.metrics.clone().into_iter().chain(self.undecoded(&report.name)).collect(),
            })
        };
        self.sources.iter().zip(rows).filter_map(one).collect()
    }

    fn undecoded(&self, source: &str) -> Option<(String, String)> {
        self.counts.undecoded.get(source).map(|it| (DEAD.to_owned(), it.to_string()))
    }

    fn sink_progress(&self) -> Vec<SinkProgress> {
        let none = || std::iter::repeat(&0);
        let dead = self.counts.dead.iter().chain(none()).zip(self.rejected.iter().chain(none()));
        let one = |((report, rows), (dead, rejected)): ((&SinkReport, &u64), (&u64, &u64))| {
            // What waited for its sink was counted before the sink had a look; the letters of it were not.
            let rows = if report.takes_letters { rows + self.rejected.iter().sum::<u64>() } else { *rows };
            let counts = [("missedEpochs", report.failures), (DEAD, dead + rejected)];
            let counts = counts.into_iter().filter(|it| it.1 > 0);
            SinkProgress {
                description: report.description.clone(),
                num_output_rows: i64::try_from(rows.saturating_sub(*rejected)).unwrap_or(-1),
                metrics: counts.map(|(name, count)| (name.to_owned(), count.to_string())).collect(),
            }
        };
        self.sinks.iter().zip(&self.counts.sink_rows).zip(dead).map(one).collect()
    }
}

impl QueryProgress {
    /// What is told while nothing happens: this epoch, with no rows.
    pub(crate) fn idle(&self, triggered_ms: i64) -> Self {
        let mut idle = self.clone();
        idle.timestamp = iso(triggered_ms);
        idle.num_input_rows = 0;
        idle.input_rows_per_second = 0.0;
        idle.processed_rows_per_second = 0.0;
        idle.duration_ms.clear();
        idle.event_time.retain(|key, _| *key == "watermark");
        idle.event_times = EventTimes::default();
        for operator in &mut idle.state_operators {
            (operator.num_rows_updated, operator.num_rows_removed) = (0, 0);
            operator.num_rows_dropped_by_watermark = 0;
            operator.custom_metrics.clear();
        }
        for source in &mut idle.sources {
            source.start_offset.clone_from(&source.end_offset);
            source.num_input_rows = 0;
            source.input_rows_per_second = 0.0;
            source.processed_rows_per_second = 0.0;
            source.metrics.remove(DEAD);
        }
        for sink in std::iter::once(&mut idle.sink).chain(&mut idle.sinks) {
            sink.num_output_rows = 0;
            sink.metrics.remove(DEAD);
        }
        (idle.fsyncs, idle.fsync_time) = (0, Duration::ZERO);
        idle
    }
}

struct Rates {
    since_ms: Option<i64>,
    took_ms: u64,
}

#[expect(clippy::cast_precision_loss, reason = "a rate is an estimate")]
impl Rates {
    /// The first epoch has no trigger before it: Spark divides by infinity.
    fn input(&self, rows: u64) -> f64 {
        self.since_ms.map_or(0.0, |ms| rows as f64 / (ms as f64 / 1000.0))
    }

    fn processed(&self, rows: u64) -> f64 {
        rows as f64 / (self.took_ms as f64 / 1000.0)
    }
}

fn event_time(times: &EventTimes, watermark_ms: Option<i64>) -> BTreeMap<&'static str, String> {
    let mut map = BTreeMap::new();
    let Some(watermark_ms) = watermark_ms else { return map };
    if times.count > 0 {
        let average = times.sum_ms / i128::from(times.count);
        map.insert("avg", iso(i64::try_from(average).unwrap_or(times.max_ms)));
        map.insert("max", iso(times.max_ms));
        map.insert("min", iso(times.min_ms));
    }
    map.insert("watermark", iso(watermark_ms));
    map
}

/// `2016-12-05T20:54:20.827Z`.
pub(crate) fn iso(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn whole_us(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn whole_ms(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_not_a_number(value: &f64) -> bool {
    !value.is_finite()
}
