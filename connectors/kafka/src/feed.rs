//! `Feed`: where the records of a partition come from, librdkafka's queue or our own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use tidegate_api::{Error, PartitionId, Result};
use tidegate_kafka_ffi::{PartitionQueue, Polled, RecordView, Wake};

use crate::client::ClientEvents;
use crate::cluster::{Cluster, number};
use crate::fetch::{Fetcher, OwnQueue};

/// The records of one partition.
pub(crate) enum Feed {
    Librdkafka(PartitionQueue<ClientEvents>),
    Own(Box<OwnQueue>),
}

/// Takes what comes out of a feed, whatever its records are.
pub(crate) trait Taker {
    fn take<'a, R: RecordView<'a>>(&mut self, polled: Polled<R>);
}

impl Feed {
    /// Starts to fetch a partition at `start`. `wake` is called when something has come.
    pub(crate) fn open(
        cluster: &Cluster,
        fetcher: Option<&Arc<Fetcher>>,
        place: &PartitionId,
        start: i64,
        wake: Wake,
    ) -> Result<Self> {
        if let Some(fetcher) = fetcher {
            return Ok(Self::Own(Box::new(fetcher.open(&place.name, number(place), start, wake))));
        }
        let queue = cluster.consumer.open(&place.name, number(place), start, wake);
        let refused = |e| Error::transient(format!("{} [{}] can't be assigned", place.name, place.number)).because(e);
        queue.map(Self::Librdkafka).map_err(refused)
    }

    /// Hands what lies ready to `taker`, at most `most` items, without waiting. Returns their number.
    pub(crate) fn consume(&mut self, most: usize, taker: &mut impl Taker) -> usize {
        match self {
            Self::Librdkafka(queue) => queue.consume(most, Duration::ZERO, |polled| taker.take(polled)),
            Self::Own(queue) => queue.consume(most, |polled| taker.take(polled)),
        }
    }

    /// The offset after the last one taken, counting those that are never shown, if it is known. `bumped` is the highest
    /// offset of an end or a failure: librdkafka's position may be one too high there.
    pub(crate) fn position(&self, bumped: Option<i64>) -> Option<i64> {
        match self {
            Self::Librdkafka(queue) => queue.position().filter(|it| bumped.is_none_or(|at| *it != at + 1)),
            Self::Own(queue) => Some(queue.position()),
        }
    }

    /// The end of the partition as our own fetch told it last; librdkafka tells watermarks elsewhere.
    pub(crate) fn end(&self) -> Option<i64> {
        match self {
            Self::Librdkafka(_) => None,
            Self::Own(queue) => queue.end(),
        }
    }

    /// Goes on at `start`. Blocks with librdkafka.
    pub(crate) fn seek(&mut self, cluster: &Cluster, place: &PartitionId, start: i64) -> Result<()> {
        match self {
            Self::Librdkafka(_) => seek_client(cluster, place, start),
            Self::Own(queue) => {
                queue.seek(start);
                Ok(())
            }
        }
    }
}

fn seek_client(cluster: &Cluster, place: &PartitionId, start: i64) -> Result<()> {
    let away = |text: String| {
        let PartitionId { name, number } = place;
        Error::transient(format!("{name} [{number}] on kafka at {}: {text}", cluster.servers()))
    };
    let timeout = cluster.timeout();
    let until = Instant::now() + timeout;
    loop {
        let mut to = TopicPartitionList::with_capacity(1);
        let added = to.add_partition_offset(&place.name, number(place), Offset::Offset(start));
        added.map_err(|e| Error::internal(format!("offset {start}")).because(e))?;
        let answer = cluster.consumer.client().seek_partitions(to, timeout);
        let answer = answer.map_err(|e| away(format!("no seek to offset {start}: {e}")))?;
        let Some(Err(error)) = answer.elements().first().map(|it| it.error()) else { return Ok(()) };
        // The fetch has been asked for, but has not begun.
        let early = error.rdkafka_error_code() == Some(RDKafkaErrorCode::State);
        if !early || Instant::now() >= until {
            return Err(away(format!("no seek to offset {start}: {error}")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
