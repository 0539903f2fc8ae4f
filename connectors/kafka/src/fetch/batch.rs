//! `Batch`: the header of a record batch, format 2. Bytes come from a broker: nothing in them is trusted before the
//! checksum, and no length ever.

/// Bytes of a header, from the base offset up to the first record.
const HEADER: usize = 61;
/// Where the length field ends: it counts what follows.
const AFTER_LENGTH: usize = 12;
/// Where the checksummed part begins.
const CHECKED: usize = 21;

/// A header, and where its records lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) base_offset: i64,
    /// The last offset that it stands for; compaction may have removed the record.
    pub(super) last_offset: i64,
    /// The epoch of the leader that took it in.
    pub(super) leader_epoch: i32,
    pub(super) base_time: i64,
    /// The time of all records, where the broker set it as it appended them.
    pub(super) append_time: Option<i64>,
    pub(super) producer: i64,
    pub(super) compression: Compression,
    pub(super) transactional: bool,
    /// It holds no records but a marker of the broker's.
    pub(super) control: bool,
    pub(super) count: usize,
    /// Bytes with the header.
    pub(super) size: usize,
}

/// How the records are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
    /// A number that nobody knows yet.
    Unknown(u8),
}

/// What lies at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Batch(Batch),
    /// The beginning of a batch: the broker cut its answer there. Or nothing at all.
    Partial,
}

/// Why bytes are no records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// The format of Kafka before 0.11.
    Old,
    /// Damaged, or larger than allowed: in words.
    Damaged(String),
}

impl Bad {
    pub(super) fn damaged(text: impl Into<String>) -> Self {
        Self::Damaged(text.into())
    }
}

/// Reads a header without looking at the checksum.
pub(super) fn header(bytes: &[u8]) -> Result<Found, Bad> {
    // The format stands at the same place in all formats.
    let Some(magic) = bytes.get(16) else { return Ok(Found::Partial) };
    match magic {
        2 => {}
        0 | 1 => return Err(Bad::Old),
        other => return Err(Bad::damaged(format!("format {other} of record batches is unknown"))),
    }
    let length = i32_at(bytes, 8).unwrap_or(-1);
    let size = usize::try_from(length).ok().and_then(|it| it.checked_add(AFTER_LENGTH)).filter(|it| *it >= HEADER);
    let size = size.ok_or_else(|| Bad::damaged(format!("a record batch of {length} bytes")))?;
    if bytes.len() < size {
        return Ok(Found::Partial);
    }
    Ok(fields(bytes, size).map_or(Found::Partial, Found::Batch)).and_then(checked)
}

fn fields(bytes: &[u8], size: usize) -> Option<Batch> {
    let attributes = i16_at(bytes, 21)?.cast_unsigned();
    let base_offset = i64_at(bytes, 0)?;
    let last_delta = i32_at(bytes, 23)?;
    Some(Batch {
        base_offset,
        // A negative one is refused below.
        last_offset: base_offset.wrapping_add(last_delta.into()),
        leader_epoch: i32_at(bytes, 12)?,
        base_time: i64_at(bytes, 27)?,
        append_time: if attributes & 0x08 == 0 { None } else { Some(i64_at(bytes, 35)?) },
        producer: i64_at(bytes, 43)?,
        compression: match attributes & 0x07 {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            other => Compression::Unknown(other as u8),
        },
        transactional: attributes & 0x10 != 0,
        control: attributes & 0x20 != 0,
        count: usize::try_from(i32_at(bytes, 57)?).unwrap_or(usize::MAX),
        size,
    })
}

fn checked(found: Found) -> Result<Found, Bad> {
    if let Found::Batch(batch) = &found {
        let offsets = batch.base_offset >= 0 && batch.last_offset >= batch.base_offset && batch.last_offset < i64::MAX;
        // Each record has a byte of length at the least, once unpacked; packed ones are counted as they come.
        if !offsets || i32::try_from(batch.count).is_err() {
            return Err(Bad::damaged("a record batch with impossible offsets or counts"));
        }
    }
    Ok(found)
}

/// Compares the checksum. `bytes` begins with the batch.
pub(super) fn verify(bytes: &[u8], batch: &Batch) -> Result<(), Bad> {
    let expected = i32_at(bytes, 17).map(i32::cast_unsigned);
    let sum = bytes.get(CHECKED..batch.size).map(crc32c::crc32c);
    if sum.is_some() && sum == expected {
        return Ok(());
    }
    Err(Bad::damaged(format!("the checksum of the record batch at offset {} is wrong", batch.base_offset)))
}

/// The records, as they are packed. `bytes` begins with the batch.
pub(super) fn payload<'a>(bytes: &'a [u8], batch: &Batch) -> &'a [u8] {
    bytes.get(HEADER..batch.size).unwrap_or_default()
}

/// Where the records begin, from the beginning of the batch.
pub(super) const PAYLOAD: usize = HEADER;

fn i16_at(bytes: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
