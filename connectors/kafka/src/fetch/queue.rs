//! `OwnQueue`: the reader's end of an inbox. Unpacks and decodes on the thread that reads.

use std::sync::Arc;

use rdkafka::types::RDKafkaErrorCode;
use tidegate_kafka_ffi::Polled;

use super::Fetcher;
use super::batch::Bad;
use super::inbox::{Inbox, Item};
use super::record::Record;
use super::records::{Progress, Records};

/// The records of one partition.
pub(crate) struct OwnQueue {
    inbox: Arc<Inbox>,
    fetcher: Arc<Fetcher>,
    /// The offset of what comes next.
    position: i64,
    open: Option<Records>,
    /// A buffer for unpacked records, while no set is open.
    plain: Vec<u8>,
    unpacked_limit: usize,
}

impl OwnQueue {
    pub(super) fn new(inbox: Arc<Inbox>, fetcher: Arc<Fetcher>, start: i64, unpacked_limit: usize) -> Self {
        Self { inbox, fetcher, position: start, open: None, plain: Vec::new(), unpacked_limit }
    }

    /// Hands what lies ready to `each`, at most `max` items, without waiting. Returns their number.
    pub(crate) fn consume(&mut self, max: usize, mut each: impl FnMut(Polled<Record<'_>>)) -> usize {
        let mut taken = 0;
        while taken < max {
            if self.open.is_some() {
                taken += self.read_open(max - taken, &mut each);
                continue;
            }
            match self.inbox.take() {
                None => break,
                Some(Item::Set(set)) => {
                    // After a loss that is allowed the partition goes on elsewhere, perhaps further back.
                    self.position = set.from;
                    let plain = std::mem::take(&mut self.plain);
                    self.open = Some(Records::new(set, plain, self.unpacked_limit));
                }
                Some(Item::End(offset)) => {
                    self.position = offset;
                    each(Polled::EndOfPartition(offset));
                    taken += 1;
                }
                Some(Item::Failed { offset, code, text }) => {
                    each(Polled::Failed { offset, code, text });
                    taken += 1;
                }
            }
        }
        taken
    }

    /// The offset after the last one taken, counting those that are never shown.
    pub(crate) fn position(&self) -> i64 {
        self.position
    }

    /// The end of the partition as the brokers told it beside the records: the last stable offset, or the high watermark
    /// if uncommitted records are read.
    pub(crate) fn end(&self) -> Option<i64> {
        self.inbox.end()
    }

    /// Goes on at `start`.
    pub(crate) fn seek(&mut self, start: i64) {
        self.close();
        self.position = start;
        self.fetcher.jump(&self.inbox, start);
    }

    fn read_open(&mut self, most: usize, each: &mut impl FnMut(Polled<Record<'_>>)) -> usize {
        let Some(open) = &mut self.open else { return 0 };
        let mut taken = 0;
        let read = open.read(most, &mut self.position, |record| {
            taken += 1;
            each(Polled::Record(record));
        });
        match read {
            Ok((_, Progress::Enough)) => {}
            Ok((_, Progress::Empty)) => self.close(),
            Err(bad) => {
                let (code, text) = told(bad);
                // What follows is thrown away and fetched again from here.
                self.seek(self.position);
                each(Polled::Failed { offset: self.position, code, text });
                taken += 1;
            }
        }
        taken
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.plain = open.into_plain();
        }
    }
}

/// What is wrong with records, as the reader understands it.
pub(super) fn told(bad: Bad) -> (RDKafkaErrorCode, String) {
    match bad {
        Bad::Old => {
            let text = "records in a format from before Kafka 0.11; set fetch.client to librdkafka to read them";
            (RDKafkaErrorCode::UnsupportedForMessageFormat, text.to_owned())
        }
        Bad::Damaged(text) => (RDKafkaErrorCode::BadMessage, text),
    }
}
