//! `Record`: one record as it lies in a batch, without a copy.

use tidegate_kafka_ffi::{Header, RecordView};

use super::batch::{Bad, Batch};

/// A borrowed record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    offset: i64,
    /// Milliseconds since 1970.
    time: i64,
    /// Kafka's number: 0 creation, 1 append.
    time_kind: i32,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    header_count: usize,
    /// Behind their count; checked as the record was read.
    headers: &'a [u8],
}

impl<'a> Record<'a> {
    /// The first record of `bytes`, and what is behind it.
    #[inline]
    pub(super) fn read(bytes: &'a [u8], batch: &Batch) -> Result<(Self, &'a [u8]), Bad> {
        Self::parse(bytes, batch).ok_or_else(|| {
            Bad::damaged(format!("a record of the batch at offset {} has impossible lengths", batch.base_offset))
        })
    }

    #[inline]
    fn parse(bytes: &'a [u8], batch: &Batch) -> Option<(Self, &'a [u8])> {
        let (size, rest) = varint(bytes)?;
        let (own, behind) = rest.split_at_checked(usize::try_from(size).ok()?)?;
        // Attributes of a record are not used yet.
        let own = own.get(1..)?;
        let (time_delta, own) = varint(own)?;
        let (offset_delta, own) = varint(own)?;
        let (key, own) = field(own)?;
        let (value, own) = field(own)?;
        let (count, headers) = varint(own)?;
        let header_count = usize::try_from(count).ok()?;
        if header_count > 0 {
            headers_end(headers, header_count)?;
        }
        let offset = batch.base_offset.checked_add(offset_delta)?;
        if offset_delta < 0 || offset > batch.last_offset {
            return None;
        }
        let (time, time_kind) = match batch.append_time {
            Some(time) => (time, 1),
            None => (batch.base_time.wrapping_add(time_delta), 0),
        };
        Some((Self { offset, time, time_kind, key, value, header_count, headers }, behind))
    }
}

impl<'a> RecordView<'a> for Record<'a> {
    #[inline]
    fn offset(&self) -> i64 {
        self.offset
    }

    #[inline]
    fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    #[inline]
    fn value(&self) -> Option<&'a [u8]> {
        self.value
    }

    #[inline]
    fn timestamp(&self) -> (i64, i32) {
        (self.time, self.time_kind)
    }

    fn headers(&self) -> impl Iterator<Item = Header<'a>> {
        let mut rest = self.headers;
        (0..self.header_count).map_while(move |_| {
            let (header, behind) = header(rest)?;
            rest = behind;
            Some(header)
        })
    }
}

/// Some if so many headers can be read.
fn headers_end(mut bytes: &[u8], count: usize) -> Option<()> {
    for _ in 0..count {
        bytes = header(bytes)?.1;
    }
    Some(())
}

fn header(bytes: &[u8]) -> Option<(Header<'_>, &[u8])> {
    let (key, rest) = field(bytes)?;
    let (value, rest) = field(rest)?;
    Some((Header { key: key?, value }, rest))
}

/// Bytes behind their length; -1 is null.
#[inline]
fn field(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = varint(bytes)?;
    if length == -1 {
        return Some((None, rest));
    }
    let (found, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((Some(found), rest))
}

/// A number in zigzag form of up to ten bytes.
#[inline]
fn varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if *first < 0x80 {
        return Some((unzigzag(u64::from(*first)), rest));
    }
    long_varint(bytes)
}

fn long_varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            return Some((unzigzag(number), bytes.get(at + 1..)?));
        }
    }
    None
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}
