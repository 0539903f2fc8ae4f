//! Finds the brokers that lead partitions, and gives each broker its task. Who leads what, and where a partition begins,
//! librdkafka is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode;
use tidegate_api::PartitionId;
use tokio::task::JoinSet;

use super::connection::Address;
use super::homeless::Since;
use super::inbox::{Inbox, Turn};
use super::link::{Link, Rules};
use crate::cluster::{Cluster, is_unknown};

/// Between two questions about partitions without a broker.
const PAUSE: Duration = Duration::from_millis(100);
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// A partition that nobody has known for so long is gone. Made a moment ago, it may not have reached the broker that was
/// asked. As librdkafka's `topic.metadata.propagation.max.ms`.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);

/// What one question found out.
#[derive(Default)]
struct Found {
    leaders: BTreeMap<(Arc<str>, i32), Address>,
    /// Topics that do not exist, as far as the broker knows that was asked.
    unknown: BTreeSet<Arc<str>>,
    /// Where partitions begin that have lost their place.
    starts: BTreeMap<(Arc<str>, i32), i64>,
}

/// Runs until it is dropped, and the tasks of all brokers with it.
pub(super) async fn run(rules: Arc<Rules>, cluster: Weak<Cluster>) {
    let mut links: Vec<Arc<Link>> = Vec::new();
    let mut tasks = JoinSet::new();
    loop {
        let waiting = rules.homeless.take().await;
        let topics: BTreeSet<_> = waiting.iter().map(|(inbox, _)| inbox.topic.clone()).collect();
        let lost = waiting.iter().filter(|(it, _)| it.looks_for_start().is_some());
        let lost: Vec<_> = lost.map(|(it, _)| (it.topic.clone(), it.partition)).collect();
        let asked = cluster.clone();
        let found = tokio::task::spawn_blocking(move || asked.upgrade().map(|it| ask(&it, &topics, &lost))).await;
        let Ok(Some(found)) = found else { return };
        let mut pause = false;
        for (inbox, since) in waiting {
            pause |= since == Since::Left;
            if let Some(address) = settle(&inbox, &found) {
                let known = links.iter().find(|it| it.address() == address).cloned();
                let link = known.unwrap_or_else(|| {
                    let link = Arc::new(Link::new(address.clone()));
                    links.push(link.clone());
                    tasks.spawn(link.clone().run(rules.clone()));
                    link
                });
                link.add(inbox);
            } else if !given_up(&inbox, &found) {
                pause = true;
                rules.homeless.again(inbox);
            }
        }
        if pause {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The broker of a partition, if it and the place to begin are known.
fn settle<'a>(inbox: &Inbox, found: &'a Found) -> Option<&'a Address> {
    let key = (inbox.topic.clone(), inbox.partition);
    let address = found.leaders.get(&key)?;
    if let Some(turn) = inbox.looks_for_start() {
        let start = *found.starts.get(&key)?;
        tracing::warn!("{} [{}] has no offset {}: going on at {start}", inbox.topic, inbox.partition, turn.next);
        inbox.begins_at(turn, start);
    }
    Some(address)
}

/// True if the partition is gone, which its reader is told.
fn given_up(inbox: &Inbox, found: &Found) -> bool {
    if !found.unknown.contains(&inbox.topic) || inbox.unknown_since().elapsed() < UNKNOWN_FOR {
        return false;
    }
    let turn: Turn = inbox.turn();
    let text = "the topic or the partition does not exist";
    inbox.failed(turn, RDKafkaErrorCode::UnknownTopicOrPartition, text.to_owned(), true);
    true
}

fn ask(cluster: &Cluster, topics: &BTreeSet<Arc<str>>, lost: &[(Arc<str>, i32)]) -> Found {
    let mut found = Found::default();
    for topic in topics {
        match cluster.consumer.client().fetch_metadata(Some(topic), PATIENCE.min(cluster.timeout())) {
            Ok(metadata) => found.take(topic, &metadata),
            Err(error) => tracing::debug!("who leads topic '{topic}': {error}"),
        }
    }
    for (topic, partition) in lost {
        let place = PartitionId { name: topic.clone(), number: partition.unsigned_abs() };
        match cluster.offsets(std::slice::from_ref(&place), Offset::Beginning) {
            Ok(starts) => found.starts.extend(starts.into_values().map(|it| ((topic.clone(), *partition), it))),
            Err(error) => tracing::debug!("{error}"),
        }
    }
    found
}

impl Found {
    fn take(&mut self, topic: &Arc<str>, metadata: &rdkafka::metadata::Metadata) {
        let Some(known) = metadata.topics().iter().find(|it| it.name() == &**topic) else { return };
        if known.error().is_some_and(|it| is_unknown(it.into())) {
            self.unknown.insert(topic.clone());
        }
        for partition in known.partitions() {
            let leader = metadata.brokers().iter().find(|it| it.id() == partition.leader());
            let port = leader.and_then(|it| u16::try_from(it.port()).ok());
            if let (Some(leader), Some(port)) = (leader, port) {
                let address = Address { host: leader.host().to_owned(), port };
                self.leaders.insert((topic.clone(), partition.id()), address);
            }
        }
    }
}
