//! `KafkaSource`: plans ranges of offsets and reads them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::{Schema, SchemaRef};
use async_trait::async_trait;
use tidegate_api::{
    BatchStream, Bound, Clock, ConfigIssue, ConnectorContext, Error, Imported, MetadataLog, OffsetRange, PartitionId,
    Payload, Planned, ReadLimit, Replay, Result, ScanRequest, Source, SourceConnector, SparkPosition, Split,
};
use tidegate_kafka_ffi::{Column, Limits};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, Mark};
use crate::config::KafkaConfig;
use crate::fetch;
use crate::limit::{self, Span};
use crate::offset::{KafkaOffset, StartingOffsets};
use crate::reading;
use crate::shared::Shared;
use crate::start;
use crate::tracker::Tracker;

/// Keys and values in a batch.
const BATCH_BYTES: usize = 4 << 20;
/// Rows in a batch where the engine does not say.
const BATCH_ROWS: usize = 32_768;
/// `ready` looks again after this long, should a wake-up be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The kind of source named `kafka`.
pub struct Kafka;

/// Topics of a Kafka cluster.
pub struct KafkaSource {
    shared: Arc<Shared>,
    tracker: Option<Tracker>,
    starting: StartingOffsets,
    most_offsets: Option<u64>,
    poll_timeout: Duration,
    available: Vec<Column>,
    columns: Vec<Column>,
    batch: Limits,
    log: Arc<dyn MetadataLog>,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
    io: Handle,
    /// The first start has been compared with what the brokers have.
    checked: bool,
    frozen: Option<KafkaOffset>,
    /// End and latest of the last plan, for the metrics.
    planned: Option<(KafkaOffset, KafkaOffset)>,
    /// The last plan held rows back, to wait for more.
    held: bool,
    /// When the last epoch with data was planned.
    data_at: Option<Duration>,
}

#[async_trait]
impl SourceConnector for Kafka {
    const NAME: &'static str = "kafka";
    type Config = KafkaConfig;
    type Source = KafkaSource;

    fn validate(config: &KafkaConfig) -> Vec<ConfigIssue> {
        config.issues()
    }

    fn payload(config: &KafkaConfig, _declared: Option<&SchemaRef>) -> Option<Payload> {
        Some(Payload::Records(schema(&available(config))))
    }

    async fn import(_config: KafkaConfig, found: &SparkPosition) -> Result<Option<Imported<KafkaOffset>>> {
        start::import(found).await
    }

    async fn build(config: KafkaConfig, ctx: &ConnectorContext) -> Result<KafkaSource> {
        let group = format!("tidegate-{}-{}", ctx.query_id, ctx.name);
        let cancel = ctx.cancel.clone();
        let available = available(&config);
        let cluster = Arc::new(Cluster::new(&config, &group, cancel.clone())?);
        let fetcher = fetch::choose(&config, &group, &cluster, &ctx.io).await?;
        let source = KafkaSource {
            shared: Arc::new(Shared::new(cluster, fetcher)),
            tracker: None,
            starting: config.starting_offsets,
            most_offsets: config.max_offsets_per_trigger.map(Into::into),
            poll_timeout: config.poll_timeout,
            columns: available.clone(),
            available,
            batch: Limits { rows: BATCH_ROWS, bytes: BATCH_BYTES },
            log: ctx.log.clone(),
            clock: ctx.clock.clone(),
            cancel,
            io: ctx.io.clone(),
            checked: false,
            frozen: None,
            planned: None,
            held: false,
            data_at: None,
        };
        // A missing topic and a broker that is away are found before anything else is built.
        source.blocking(|shared| shared.cluster.partitions()).await?;
        Ok(source)
    }
}

#[async_trait]
impl Source for KafkaSource {
    type Offset = KafkaOffset;

    fn payload(&self) -> Payload {
        Payload::Records(schema(&self.available))
    }

    fn replay(&self) -> Replay {
        Replay::Deterministic
    }

    fn bind(&mut self, scan: &ScanRequest) -> Result<Bound> {
        let wanted = scan.projection.iter().map(|path| {
            let name = path.0.first().map_or("", String::as_str);
            self.available.iter().copied().find(|it| it.name() == name).ok_or_else(|| {
                let names: Vec<_> = self.available.iter().map(|it| it.name()).collect();
                Error::config(format!("kafka records have no column '{name}', only {}", names.join(", ")))
            })
        });
        self.columns = wanted.collect::<Result<_>>()?;
        self.batch.rows = if scan.batch_rows == 0 { BATCH_ROWS } else { scan.batch_rows };
        Ok(Bound { schema: schema(&self.columns), filters_taken: vec![false; scan.filters.len()] })
    }

    async fn initial_offset(&mut self) -> Result<KafkaOffset> {
        if let Some(offset) = start::remembered(&*self.log).await? {
            return Ok(offset);
        }
        let marks = self.blocking(Shared::ask_all).await?;
        let offset = start::resolve(&self.starting, &marks, self.shared.cluster.fail_on_data_loss)?;
        let offset = start::remember(&*self.log, offset).await?;
        // The first plan need not ask again.
        self.check_start(&offset, &marks)?;
        self.checked = true;
        Ok(offset)
    }

    async fn plan(&mut self, start: &KafkaOffset, limit: &ReadLimit) -> Result<Planned<KafkaOffset>> {
        self.track()?;
        self.shared.ask();
        if !self.checked {
            let marks = self.blocking(Shared::ask_all).await?;
            self.check_start(start, &marks)?;
            self.checked = true;
        }
        self.check_partitions(start)?;
        self.open_all(start).await?;
        self.look_ahead().await?;
        let mut spans = self.spans(start);
        let latest = ends(&spans);
        self.held = self.hold_back(&spans, limit);
        let mut end = start.clone();
        if !self.held {
            if let Some(most) = self.most_offsets.into_iter().chain(limit.max_rows).min() {
                limit::share(most, &mut spans);
            }
            end = ends(&spans);
        }
        if end != *start {
            self.data_at = Some(self.clock.monotonic());
        }
        self.planned = Some((end.clone(), latest.clone()));
        Ok(Planned { end, latest, rows: None, bytes: None, schema: None })
    }

    async fn freeze(&mut self, start: &KafkaOffset) -> Result<KafkaOffset> {
        self.track()?;
        let marks = self.blocking(Shared::ask_all).await?;
        self.check_start(start, &marks)?;
        self.checked = true;
        let end: KafkaOffset = marks.into_iter().map(|(place, mark)| (place, mark.high)).collect();
        self.frozen = Some(end.clone());
        Ok(end)
    }

    async fn ready(&mut self, after: &KafkaOffset) -> Result<()> {
        if self.held {
            tokio::time::sleep(Duration::from_millis(10)).await;
            return Ok(());
        }
        while self.checked && !self.cancel.is_cancelled() {
            let moved = self.shared.look_ahead()?;
            let ahead = self
                .spans(after)
                .iter()
                .any(|(place, span)| span.size() > 0 || after.get(place).is_none() || span.end < span.start);
            if ahead || !moved.is_empty() || after.iter().any(|(place, _)| !self.shared.is_known(&place)) {
                break;
            }
            self.shared.ask();
            tokio::select! {
                () = self.shared.news.notified() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = self.cancel.cancelled() => {}
            }
        }
        Ok(())
    }

    fn splits(&self, range: OffsetRange<KafkaOffset>, _max: usize) -> Vec<Split<KafkaOffset>> {
        let splits = range.end.iter().filter_map(|(partition, end)| {
            // A partition that is new in this range is read from its beginning.
            let start = range.start.get(&partition).unwrap_or(0);
            (start < end).then(|| {
                let range = OffsetRange {
                    start: KafkaOffset::only(&partition, start),
                    end: KafkaOffset::only(&partition, end),
                };
                Split { range, partition, bytes: None }
            })
        });
        splits.collect()
    }

    async fn read(&self, split: Split<KafkaOffset>) -> Result<BatchStream> {
        let place = split.partition;
        let end = split.range.end.get(&place).ok_or_else(|| {
            Error::internal(format!("a split of {} [{}] does not say where it ends", place.name, place.number))
        })?;
        let start = split.range.start.get(&place).unwrap_or(0);
        if self.shared.reader(&place).is_none() {
            self.open(vec![(place.clone(), start)]).await?;
        }
        let reader = self.shared.reader(&place).ok_or_else(|| Error::internal("a reader is gone"))?;
        reading::start(reader, start..end, self.poll_timeout, self.cancel.clone(), &self.io).await
    }

    fn metrics(&self) -> BTreeMap<String, String> {
        let Some((end, latest)) = &self.planned else { return BTreeMap::new() };
        let behind = |(place, latest): (PartitionId, i64)| (latest - end.get(&place).unwrap_or(0)).max(0);
        let behind: Vec<i64> = latest.iter().map(behind).collect();
        let (Some(min), Some(max)) = (behind.iter().min(), behind.iter().max()) else { return BTreeMap::new() };
        #[expect(clippy::cast_precision_loss, reason = "an average for people to read")]
        let avg = behind.iter().sum::<i64>() as f64 / behind.len() as f64;
        let metric = |name: &str, value: String| (format!("{name}OffsetsBehindLatest"), value);
        [metric("min", min.to_string()), metric("max", max.to_string()), metric("avg", format!("{avg:?}"))].into()
    }

    fn describe(&self) -> String {
        format!("KafkaV2[Subscribe[{}]]", self.shared.cluster.topics.join(", "))
    }
}

impl KafkaSource {
    fn track(&mut self) -> Result<()> {
        if !self.tracker.as_ref().is_some_and(Tracker::is_running) {
            self.tracker = Some(Tracker::start(self.shared.clone())?);
        }
        Ok(())
    }

    /// Runs a call that blocks.
    async fn blocking<T, F>(&self, call: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Shared) -> Result<T> + Send + 'static,
    {
        let shared = self.shared.clone();
        let done = self.io.spawn_blocking(move || call(&shared)).await;
        done.map_err(|e| Error::internal("a question to kafka was not finished").because(e))?
    }

    async fn open(&self, starts: Vec<(PartitionId, i64)>) -> Result<()> {
        let (columns, batch) = (self.columns.clone(), self.batch);
        self.blocking(move |shared| shared.open(&starts, &columns, batch)).await
    }

    /// Starts to fetch the partitions that are not fetched yet.
    async fn open_all(&self, start: &KafkaOffset) -> Result<()> {
        let closed = self.shared.known().into_keys().filter(|it| !self.shared.is_open(it));
        let closed: Vec<_> = closed.map(|it| (it.clone(), start.get(&it).unwrap_or(0))).collect();
        if closed.is_empty() { Ok(()) } else { self.open(closed).await }
    }

    /// Moves the marks to what has been fetched. A partition whose log was cut goes on where it begins now.
    async fn look_ahead(&self) -> Result<()> {
        for (place, to) in self.shared.look_ahead()? {
            let PartitionId { name, number } = &place;
            tracing::warn!("{name} [{number}] is not the log that it was: going on at offset {to}");
            let Some(reader) = self.shared.reader(&place) else { continue };
            self.blocking(move |_| {
                let ticket = reader.ticket();
                reader.begin(ticket, to)?;
                reader.end(ticket);
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// What lies after `start`.
    fn spans(&self, start: &KafkaOffset) -> BTreeMap<PartitionId, Span> {
        let spans = self.shared.known().into_iter().filter_map(|(place, mark)| {
            let begin = start.get(&place);
            let end = match &self.frozen {
                None => mark.high,
                // What was not there when the end was fixed is left for the next run.
                Some(frozen) => frozen.get(&place).or(begin)?.min(mark.high),
            };
            Some((place, Span { start: begin.unwrap_or(mark.low), end }))
        });
        spans.collect()
    }

    /// Spark's `minOffsetsPerTrigger`: the first epoch always runs.
    fn hold_back(&self, spans: &BTreeMap<PartitionId, Span>, limit: &ReadLimit) -> bool {
        let waiting = limit::total(spans);
        let waited = self.data_at.map(|at| self.clock.monotonic().saturating_sub(at));
        let long_enough = waited.is_none_or(|it| it >= limit.max_delay);
        self.frozen.is_none() && waiting > 0 && waiting < limit.min_rows && !long_enough
    }

    /// Compares where the query goes on with what the brokers still have.
    fn check_start(&self, start: &KafkaOffset, marks: &BTreeMap<PartitionId, Mark>) -> Result<()> {
        for (PartitionId { name, number }, offset, mark) in
            start.iter().filter_map(|(place, offset)| marks.get(&place).map(|mark| (place, offset, mark)))
        {
            if offset < mark.low {
                self.lost(&format!("{name} [{number}] begins at offset {} now, the query is at {offset}", mark.low))?;
            }
            if offset > mark.high {
                self.lost(&format!("{name} [{number}] ends at offset {} now, the query is at {offset}", mark.high))?;
            }
        }
        Ok(())
    }

    /// Looks for partitions that are gone, and for new ones that have lost their first records.
    fn check_partitions(&self, start: &KafkaOffset) -> Result<()> {
        let known = self.shared.known();
        for (place, _) in start.iter().filter(|(place, _)| !known.contains_key(place)) {
            self.lost(&format!("{} [{}] is gone", place.name, place.number))?;
        }
        for (place, mark) in known.iter().filter(|(place, mark)| mark.low > 0 && start.get(place).is_none()) {
            let PartitionId { name, number } = place;
            self.lost(&format!("new partition {name} [{number}] begins at offset {}, not at 0", mark.low))?;
        }
        Ok(())
    }

    fn lost(&self, what: &str) -> Result<()> {
        let text = format!("kafka at {}: {what}: records may have been lost", self.shared.cluster.servers());
        if self.shared.cluster.fail_on_data_loss {
            return Err(Error::config(format!("{text}; set fail.on.data.loss to false to go on without them")));
        }
        tracing::warn!("{text}");
        Ok(())
    }
}

fn ends(spans: &BTreeMap<PartitionId, Span>) -> KafkaOffset {
    spans.iter().map(|(place, span)| (place.clone(), span.end)).collect()
}

/// The columns that can be asked for.
fn available(config: &KafkaConfig) -> Vec<Column> {
    Column::ALL.iter().copied().filter(|it| config.include_headers || *it != Column::Headers).collect()
}

fn schema(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|it| it.field()).collect::<Vec<_>>()))
}
