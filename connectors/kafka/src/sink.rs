//! The `kafka` sink: each epoch is one transaction that carries the marker of the epoch (`docs/connectors/kafka.md`).

mod bytes;
pub(crate) mod config;
mod layout;
mod link;
mod markers;
mod producer;
mod remembered;
mod thread;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_api::{
    AttemptId, Changes, CommitOutcome, ConfigIssue, ConnectorContext, Epoch, Error, Guarantee, RecordBatch, Rejected,
    Result, Sink, SinkConnector, SinkSpec, SinkWriter, SourcePosition, Staging, WriterId, async_trait,
};

use tokio_util::sync::CancellationToken;

use crate::settings::Writing;
use config::{Delivery, KafkaSinkConfig};
use layout::Layout;
use link::{Setup, Ticket};
use markers::Place;
use thread::LinkThread;

/// The kind of sink named `kafka`.
pub struct KafkaSink;

/// Writes epochs to topics of a Kafka cluster.
pub struct TopicSink {
    config: KafkaSinkConfig,
    writing: Arc<Writing>,
    layout: Arc<Layout>,
    ctx: ConnectorContext,
    /// Runs once the sink is open.
    thread: Option<LinkThread>,
}

/// Writes the rows of a task.
pub struct TopicWriter {
    thread: LinkThread,
    layout: Arc<Layout>,
    ticket: Ticket,
    rows: u64,
}

/// What a task has written: rows of a transaction that is still open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TopicPart {
    /// The transaction, by its number in this process; none if the epoch was committed before.
    transaction: Option<u64>,
    rows: u64,
}

#[async_trait]
impl SinkConnector for KafkaSink {
    const NAME: &'static str = "kafka";
    type Config = KafkaSinkConfig;
    type Sink = TopicSink;

    fn accepts(config: &KafkaSinkConfig, spec: &SinkSpec) -> Vec<ConfigIssue> {
        let mut issues = config.issues();
        if spec.changes == Changes::Retract {
            let message = "rows that take others back (chained.aggregates) can't be written to kafka: use complete mode, one \
                           aggregation, or foreach_batch";
            issues.push(ConfigIssue::new("output.mode", message));
        }
        issues.extend(Layout::new(config, &spec.schema).err().unwrap_or_default());
        issues
    }

    fn guarantee(config: &KafkaSinkConfig) -> Option<Guarantee> {
        Some(promise(config))
    }

    async fn build(config: KafkaSinkConfig, spec: &SinkSpec, ctx: &ConnectorContext) -> Result<TopicSink> {
        let layout = Layout::new(&config, &spec.schema).map_err(|issues| {
            let issues: Vec<_> = issues.iter().map(ToString::to_string).collect();
            Error::config(format!("sink {}: {}", ctx.name, issues.join("; ")))
        })?;
        let writing = Arc::new(Writing::new(&config.kafka, &config.producer_override));
        Ok(TopicSink { config, writing, layout: Arc::new(layout), ctx: ctx.clone(), thread: None })
    }
}

fn promise(config: &KafkaSinkConfig) -> Guarantee {
    match config.delivery {
        Delivery::ExactlyOnce => Guarantee::Transactional,
        Delivery::AtLeastOnce => Guarantee::AtLeastOnce,
    }
}

#[async_trait]
impl Sink for TopicSink {
    type Committable = TopicPart;
    type Writer = TopicWriter;

    fn guarantee(&self) -> Guarantee {
        promise(&self.config)
    }

    fn staging(&self) -> Staging {
        match self.config.delivery {
            Delivery::ExactlyOnce => Staging::Rows,
            Delivery::AtLeastOnce => Staging::None,
        }
    }

    async fn open(&mut self, writer: &WriterId) -> Result<Option<(u64, AttemptId)>> {
        let sink = WriterId { shard: None, ..writer.clone() }.to_string();
        let writer = writer.to_string();
        // What an earlier call left; its producer must be gone before a new one comes.
        self.thread = None;
        if let Some(topic) = self.config.topic.clone() {
            self.asked(move |writing, cancel| markers::partitions(writing, &topic, cancel)).await?;
        }
        let (place, former) = match self.config.delivery {
            Delivery::AtLeastOnce => (None, Vec::new()),
            Delivery::ExactlyOnce => {
                let cluster = self.asked(|writing, _| markers::cluster_id(writing)).await?;
                let place = self.place(&writer, cluster).await?;
                (Some(place), remembered::remember_id(&*self.ctx.log, &sink, &writer).await?)
            }
        };
        let thread = LinkThread::start(Setup {
            writing: self.writing.clone(),
            writer,
            place,
            former,
            transaction_timeout: self.config.transaction_timeout,
            markers_timeout: self.config.markers_timeout,
            cancel: self.ctx.cancel.clone(),
            stop: CancellationToken::new(),
        })?;
        self.ctx.owner.check().await?;
        let last = thread.call(link::Link::connect).await?;
        self.thread = Some(thread);
        Ok(last)
    }

    async fn writer(&self, epoch: &Epoch, task: u32) -> Result<TopicWriter> {
        let Epoch { number, attempt, .. } = *epoch;
        loop {
            let thread = self.ready().await?;
            if let Some(ticket) = thread.call(move |link| link.begin(number, attempt, task)).await? {
                return Ok(TopicWriter { thread: thread.clone(), layout: self.layout.clone(), ticket, rows: 0 });
            }
        }
    }

    async fn commit(&self, epoch: &Epoch, parts: Vec<TopicPart>, _: &[SourcePosition]) -> Result<CommitOutcome> {
        let thread = self.ready().await?;
        let Epoch { number, attempt, .. } = *epoch;
        let ticket = |part: &TopicPart| part.transaction.map_or(Ticket::Committed, Ticket::Transaction);
        let parts: Vec<_> = parts.iter().map(|it| (ticket(it), it.rows)).collect();
        thread.call(move |link| link.commit(number, attempt, &parts)).await
    }

    async fn abort(&self, epoch: &Epoch, _parts: Vec<TopicPart>) -> Result<()> {
        let Some(thread) = &self.thread else { return Ok(()) };
        let Epoch { number, attempt, .. } = *epoch;
        thread.call(move |link| link.abort_epoch(number, attempt)).await
    }

    fn describe(&self) -> String {
        let topic = self.config.topic.as_deref().unwrap_or("column topic");
        format!("KafkaSink[{topic} at {}]", self.writing.servers)
    }
}

impl TopicSink {
    /// The thread, with a producer. Whenever one is made, ownership is checked first, since it fences all others.
    async fn ready(&self) -> Result<&LinkThread> {
        let thread = self.thread.as_ref().ok_or_else(|| Error::internal("a kafka sink is used before it is open"))?;
        if thread.call(|link| Ok(link.is_down())).await? {
            self.ctx.owner.check().await?;
            thread.call(link::Link::connect).await?;
        }
        Ok(thread)
    }

    /// Where the markers of this writer are: where they have been all along.
    async fn place(&self, writer: &str, cluster: Option<String>) -> Result<Place> {
        let (log, topic) = (&*self.ctx.log, &self.config.markers_topic);
        let known = remembered::place(log).await?;
        if let Some(known) = &known {
            let what = "its markers tell which epochs are committed";
            if known.topic != *topic {
                let text = format!("markers.topic was '{}' until now and is '{topic}': {what}", known.topic);
                return Err(Error::config(text));
            }
            if known.cluster.is_some() && cluster.is_some() && known.cluster != cluster {
                let (was, is) = (known.cluster.as_deref().unwrap_or("?"), cluster.as_deref().unwrap_or("?"));
                let servers = &self.writing.servers;
                let text =
                    format!("the sink wrote to kafka cluster {was} until now, {servers} is cluster {is}: {what}");
                return Err(Error::config(text));
            }
        }
        markers::ensure_topic(&self.writing, topic).await?;
        let name = topic.clone();
        let count = self.asked(move |writing, cancel| markers::partitions(writing, &name, cancel)).await?;
        let place = match known {
            Some(known) => known,
            None => {
                let partition = markers::partition_of(writer, count);
                remembered::remember_place(log, Place { cluster, topic: topic.clone(), partition }).await?
            }
        };
        if place.partition >= count {
            let Place { topic, partition, .. } = &place;
            let text =
                format!("marker topic '{topic}' has {count} partitions, the markers are in partition {partition}");
            return Err(Error::config(text));
        }
        Ok(place)
    }

    /// A question that blocks.
    async fn asked<T, F>(&self, question: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Writing, &CancellationToken) -> Result<T> + Send + 'static,
    {
        let (writing, cancel) = (self.writing.clone(), self.ctx.cancel.clone());
        let asked = self.ctx.io.spawn_blocking(move || question(&writing, &cancel));
        asked.await.map_err(|e| Error::internal("a question to kafka was not finished").because(e))?
    }
}

#[async_trait]
impl SinkWriter for TopicWriter {
    type Committable = TopicPart;

    async fn write(&mut self, batch: RecordBatch) -> Result<Vec<Rejected>> {
        let Ticket::Transaction(serial) = self.ticket else { return Ok(Vec::new()) };
        let records = self.layout.records(&batch)?;
        let rejected = self.thread.call(move |link| link.write(serial, &records)).await?;
        self.rows += (batch.num_rows() - rejected.len()) as u64;
        Ok(rejected)
    }

    fn is_shown(&self) -> bool {
        self.ticket == Ticket::Committed
    }

    async fn prepare(self) -> Result<TopicPart> {
        let Ticket::Transaction(serial) = self.ticket else { return Ok(TopicPart { transaction: None, rows: 0 }) };
        self.thread.call(move |link| link.flush(serial)).await?;
        Ok(TopicPart { transaction: Some(serial), rows: self.rows })
    }
}
