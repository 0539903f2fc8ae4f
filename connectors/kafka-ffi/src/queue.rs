//! `PartitionQueue`: the records of one partition, taken in bulk.

use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, DefaultConsumerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafka, RDKafkaErrorCode, RDKafkaMessage, RDKafkaQueue};
use rdkafka_sys as sys;

use crate::record::Record;

/// Called when a queue is no longer empty.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Most records taken by one foreign call.
const MOST: usize = 4096;

/// What came out of a queue whose records are `R`.
pub enum Polled<R> {
    /// A record.
    Record(R),
    /// All that can be read below this offset has been read; more may come.
    EndOfPartition(i64),
    /// The partition has a problem.
    Failed {
        /// Where the client stood.
        offset: i64,
        /// What kind.
        code: RDKafkaErrorCode,
        /// In the client's words.
        text: String,
    },
}

/// The records of one partition. It keeps the client alive.
pub struct PartitionQueue<C: ConsumerContext = DefaultConsumerContext> {
    own: NonNull<RDKafkaQueue>,
    client: Arc<BaseConsumer<C>>,
    place: TopicPartitionList,
    wake: NonNull<Wake>,
    taken: Vec<*mut RDKafkaMessage>,
}

// SAFETY: librdkafka's queues and clients may be used from any thread, `Wake` is Send and Sync, and `taken` holds
// pointers only during `consume`, which has the queue for itself.
unsafe impl<C: ConsumerContext> Send for PartitionQueue<C> {}

unsafe extern "C" fn call_wake(_client: *mut RDKafka, wake: *mut c_void) {
    // SAFETY: `PartitionQueue::new` passed this pointer and frees it only after it has switched the callback off.
    let wake = unsafe { &*wake.cast::<Wake>() };
    wake();
}

impl<C: ConsumerContext> PartitionQueue<C> {
    /// Takes ownership of a queue.
    ///
    /// # Safety
    /// `own` must be a valid queue made by `rd_kafka_queue_new` for `client`, and nobody else's.
    pub(crate) unsafe fn new(
        client: Arc<BaseConsumer<C>>,
        own: *mut RDKafkaQueue,
        topic: &str,
        partition: i32,
        wake: Wake,
    ) -> Self {
        let mut place = TopicPartitionList::with_capacity(1);
        place.add_partition(topic, partition);
        let wake = NonNull::from(Box::leak(Box::new(wake)));
        // SAFETY: the queue is valid by contract, and the leaked box lives until `drop` has switched the callback off.
        unsafe { sys::rd_kafka_queue_cb_event_enable(own, Some(call_wake), wake.as_ptr().cast()) };
        // SAFETY: not null by contract.
        let own = unsafe { NonNull::new_unchecked(own) };
        Self { own, client, place, wake, taken: vec![ptr::null_mut(); MOST] }
    }

    /// Hands what lies in the queue to `each`, at most `max` items, and destroys it at once. Waits up to `timeout` for
    /// the queue to be that full: with zero it takes what is there. Returns the number of items.
    pub fn consume(&mut self, max: usize, timeout: Duration, mut each: impl FnMut(Polled<Record<'_>>)) -> usize {
        let max = max.min(self.taken.len());
        let timeout = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the queue is valid and carries records and partition errors only; `taken` has room for `max`.
        let count =
            unsafe { sys::rd_kafka_consume_batch_queue(self.own.as_ptr(), timeout, self.taken.as_mut_ptr(), max) };
        // Negative: the client is going down.
        let count = usize::try_from(count).unwrap_or(0);
        let mut taken = Taken { messages: self.taken.iter().take(count) };
        while let Some(message) = taken.next() {
            each(message.polled());
        }
        count
    }

    /// The offset after the last one taken, counting those that are never shown, such as the markers of transactions.
    /// After an end of partition or a failure at offset n it may say n + 1 too early, since librdkafka takes them for
    /// records here; nothing before the first record and after a seek.
    pub fn position(&self) -> Option<i64> {
        // SAFETY: client and list are valid; librdkafka writes the list's offset field only.
        let code = unsafe { sys::rd_kafka_position(self.client.client().native_ptr(), self.place.ptr()) };
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        match self.place.elements().first()?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }
}

impl<C: ConsumerContext> Drop for PartitionQueue<C> {
    fn drop(&mut self) {
        // SAFETY: the queue is valid. The call waits for a callback under way, and none starts after it.
        unsafe { sys::rd_kafka_queue_cb_event_enable(self.own.as_ptr(), None, ptr::null_mut()) };
        // SAFETY: it is ours and not used again; the client outlives it, since `client` is dropped later.
        unsafe { sys::rd_kafka_queue_destroy(self.own.as_ptr()) };
        // SAFETY: made by `Box::leak` in `new`; the callback that borrowed it is off.
        drop(unsafe { Box::from_raw(self.wake.as_ptr()) });
    }
}

/// A message that is destroyed when this is dropped.
struct Message(NonNull<RDKafkaMessage>);

impl Message {
    fn polled(&self) -> Polled<Record<'_>> {
        // SAFETY: the pointer came from `rd_kafka_consume_batch_queue` and is destroyed by our `drop` only.
        let raw = unsafe { self.0.as_ref() };
        match raw.err {
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Polled::Record(Record::new(raw)),
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => Polled::EndOfPartition(raw.offset),
            code => Polled::Failed { offset: raw.offset, code: code.into(), text: Record::new(raw).failure() },
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: the message is ours, and what borrowed from it is gone.
        unsafe { sys::rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// The messages of one call; those not looked at, as after a panic, are destroyed too.
struct Taken<'a> {
    messages: std::iter::Take<std::slice::Iter<'a, *mut RDKafkaMessage>>,
}

impl Taken<'_> {
    fn next(&mut self) -> Option<Message> {
        self.messages.by_ref().find_map(|it| NonNull::new(*it)).map(Message)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        while self.next().is_some() {}
    }
}
