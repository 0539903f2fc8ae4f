//! `Records`: the record batches of one answer for one partition, read record by record. Aborted transactions are left
//! out as Kafka's own consumer does it (`org.apache.kafka.clients.consumer.internals.CompletedFetch`).

use tidegate_kafka_ffi::RecordView;

use super::batch::{self, Bad, Batch, Compression, Found};
use super::record::Record;
use super::unpack;

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Aborted {
    pub(super) producer: i64,
    /// Its first record in the partition.
    pub(super) first_offset: i64,
}

/// What a broker gave for one partition.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RecordSet {
    /// The offset that was asked for; batches may begin before it.
    pub(super) from: i64,
    pub(super) bytes: Vec<u8>,
    /// Empty if aborted records are to be shown.
    pub(super) aborted: Vec<Aborted>,
}

/// A set that is being read.
pub(super) struct Records {
    set: RecordSet,
    /// Where the next batch begins.
    at: usize,
    open: Option<Open>,
    transactions: Transactions,
    /// Unpacked records of the batch that is open.
    plain: Vec<u8>,
    /// Bytes that a batch may have unpacked.
    limit: usize,
}

/// What is known of transactions at the batch that comes next.
struct Transactions {
    /// Aborted ones that have not begun, the first last.
    to_come: Vec<Aborted>,
    /// The producers of those that have begun.
    aborting: Vec<i64>,
}

/// The batch that is being read.
struct Open {
    batch: Batch,
    /// Its records, in `plain` if it is packed, else in the set.
    at: usize,
    end: usize,
    left: usize,
}

/// How far reading came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// As many as were wanted.
    Enough,
    /// Nothing is left in the set.
    Empty,
}

impl Records {
    /// `plain` is a buffer to use again.
    pub(super) fn new(mut set: RecordSet, plain: Vec<u8>, limit: usize) -> Self {
        let mut to_come = std::mem::take(&mut set.aborted);
        to_come.sort_unstable_by_key(|it| std::cmp::Reverse(it.first_offset));
        let transactions = Transactions { to_come, aborting: Vec::new() };
        Self { set, at: 0, open: None, transactions, plain, limit }
    }

    /// Gives the buffer for unpacked records back.
    pub(super) fn into_plain(self) -> Vec<u8> {
        self.plain
    }

    /// Hands up to `most` records to `each`. `position` follows: the offset of what comes next. Returns the number of
    /// records and whether more may be left.
    pub(super) fn read(
        &mut self,
        most: usize,
        position: &mut i64,
        mut each: impl FnMut(Record<'_>),
    ) -> Result<(usize, Progress), Bad> {
        let mut count = 0;
        loop {
            if let Some(open) = &mut self.open {
                let bytes = if open.batch.compression == Compression::None { &self.set.bytes } else { &self.plain };
                count += open.read(bytes, most - count, self.set.from, position, &mut each)?;
                if open.left > 0 {
                    return Ok((count, Progress::Enough));
                }
                *position = (*position).max(open.batch.last_offset + 1);
                self.open = None;
            }
            if count >= most {
                return Ok((count, Progress::Enough));
            }
            if !self.open_next(position)? {
                return Ok((count, Progress::Empty));
            }
        }
    }

    /// Opens the next batch, or passes over it. False if there is none.
    fn open_next(&mut self, position: &mut i64) -> Result<bool, Bad> {
        let rest = self.set.bytes.get(self.at..).unwrap_or_default();
        let Found::Batch(batch) = batch::header(rest)? else { return Ok(false) };
        // What lies before the offset asked for is not even checked.
        if batch.last_offset >= self.set.from {
            batch::verify(rest, &batch)?;
            let packed = batch::payload(rest, &batch);
            if self.transactions.show(&batch, packed) {
                let begin = self.at + batch::PAYLOAD;
                let (mut at, mut end) = (begin, self.at + batch.size);
                if batch.compression != Compression::None {
                    unpack::unpack(batch.compression, packed, &mut self.plain, self.limit)?;
                    (at, end) = (0, self.plain.len());
                }
                self.open = Some(Open { batch, at, end, left: batch.count });
            } else {
                *position = (*position).max(batch.last_offset + 1);
            }
        }
        self.at += batch.size;
        Ok(true)
    }
}

impl Transactions {
    /// False for markers and for records of aborted transactions.
    fn show(&mut self, batch: &Batch, records: &[u8]) -> bool {
        while let Some(next) = self.to_come.pop_if(|it| it.first_offset <= batch.last_offset) {
            self.aborting.push(next.producer);
        }
        if batch.control {
            if is_abort_marker(records, batch) {
                self.aborting.retain(|it| *it != batch.producer);
            }
            return false;
        }
        !(batch.transactional && self.aborting.contains(&batch.producer))
    }
}

impl Open {
    fn read(
        &mut self,
        bytes: &[u8],
        most: usize,
        from: i64,
        position: &mut i64,
        each: &mut impl FnMut(Record<'_>),
    ) -> Result<usize, Bad> {
        let mut rest = bytes.get(self.at..self.end).unwrap_or_default();
        let mut count = 0;
        while self.left > 0 && count < most {
            let (record, behind) = Record::read(rest, &self.batch)?;
            rest = behind;
            self.left -= 1;
            let offset = record.offset();
            if offset < from {
                continue;
            }
            *position = offset + 1;
            count += 1;
            each(record);
        }
        self.at = self.end - rest.len();
        Ok(count)
    }
}

/// True for the marker that ends an aborted transaction: its key holds a version and the kind 0.
fn is_abort_marker(records: &[u8], batch: &Batch) -> bool {
    let read = || {
        let (record, _) = Record::read(records, batch).ok()?;
        let kind = record.key()?.get(2..4)?;
        Some(kind == [0, 0])
    };
    batch.count > 0 && read().unwrap_or(false)
}

/// The offset after the last whole batch in `bytes`, with its leader's epoch; none without a whole batch.
pub(super) fn end_of(bytes: &[u8]) -> Result<Option<(i64, i32)>, Bad> {
    let (mut at, mut end) = (0, None);
    while let Found::Batch(batch) = batch::header(bytes.get(at..).unwrap_or_default())? {
        end = Some((batch.last_offset + 1, batch.leader_epoch));
        at += batch.size;
    }
    Ok(end)
}

#[cfg(test)]
mod tests;
