//! `BulkConsumer`: a consumer whose partitions are read through queues of our own.

use std::ffi::CString;
use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, DefaultConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka_sys as sys;

use crate::queue::{PartitionQueue, Wake};

/// A consumer whose partitions each have a queue of their own. A clone is the same consumer.
pub struct BulkConsumer<C: ConsumerContext = DefaultConsumerContext> {
    client: Arc<BaseConsumer<C>>,
}

impl<C: ConsumerContext> Clone for BulkConsumer<C> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone() }
    }
}

impl<C: ConsumerContext> BulkConsumer<C> {
    /// A consumer with these settings. They need a `group.id`, since librdkafka assigns nothing without one, and
    /// `enable.partition.eof`.
    ///
    /// # Errors
    /// If librdkafka refuses the settings.
    pub fn new(config: &ClientConfig, context: C) -> KafkaResult<Self> {
        if config.get("group.id").is_none() {
            return Err(KafkaError::ClientCreation("a group.id is needed".to_owned()));
        }
        Ok(Self { client: Arc::new(BaseConsumer::from_config_and_context(config, context)?) })
    }

    /// The client underneath, for metadata, offsets and seeks. Its `poll` serves errors and logs only, and one thread
    /// must call it now and then. Do not change its assignment: a partition that is taken out and put back in would
    /// fill a queue that nobody reads.
    pub fn client(&self) -> &BaseConsumer<C> {
        &self.client
    }

    /// Starts to fetch a partition from `offset` into a queue of its own. Call it once a partition and consumer, and
    /// keep the queue: without it what is fetched is thrown away. `wake` is called by threads of librdkafka when the
    /// queue was empty and no longer is; it must be quick.
    ///
    /// # Errors
    /// If the name is no topic name or librdkafka refuses the assignment.
    pub fn open(&self, topic: &str, partition: i32, offset: i64, wake: Wake) -> KafkaResult<PartitionQueue<C>> {
        let refused = || KafkaError::Subscription(format!("{topic} [{partition}] has no queue"));
        let name = CString::new(topic)?;
        let native = self.client.client().native_ptr();
        // SAFETY: the client is alive, `name` ends in NUL and lives through the call; a null result is checked.
        let fetched = unsafe { sys::rd_kafka_queue_get_partition(native, name.as_ptr(), partition) };
        if fetched.is_null() {
            return Err(refused());
        }
        // SAFETY: the client is alive; the queue is owned by `PartitionQueue`, which keeps the client alive.
        let own = unsafe { sys::rd_kafka_queue_new(native) };
        if !own.is_null() {
            // Before the assignment: a forward that stands is kept when the fetch starts, so that no record ever
            // reaches the consumer's own queue.
            // SAFETY: both queues are valid handles of the same client; librdkafka counts its own reference to `own`.
            unsafe { sys::rd_kafka_queue_forward(fetched, own) };
        }
        // SAFETY: the handle was made above and is not used again; the partition's queue itself lives on.
        unsafe { sys::rd_kafka_queue_destroy(fetched) };
        if own.is_null() {
            return Err(refused());
        }
        // SAFETY: `own` is a valid queue of this client that nobody else holds.
        let queue = unsafe { PartitionQueue::new(self.client.clone(), own, topic, partition, wake) };
        let mut assignment = TopicPartitionList::with_capacity(1);
        assignment.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        self.client.incremental_assign(&assignment)?;
        Ok(queue)
    }

    /// The lowest offset and the high watermark as the last fetch of an open partition told them; nothing before the
    /// first. Asks nobody.
    pub fn cached_watermarks(&self, topic: &str, partition: i32) -> Option<(i64, i64)> {
        let name = CString::new(topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        let native = self.client.client().native_ptr();
        // SAFETY: the client is alive, `name` ends in NUL, and both numbers live through the call.
        let code = unsafe {
            sys::rd_kafka_get_watermark_offsets(native, name.as_ptr(), partition, &raw mut low, &raw mut high)
        };
        let known = code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0;
        known.then_some((low.max(0), high))
    }
}
