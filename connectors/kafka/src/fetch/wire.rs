//! Requests and answers as bytes. Requests and small answers are `kafka_protocol`'s. The answer to a fetch is read here, as
//! it comes from the connection: the records of a partition go straight into a buffer of their own, and no memory is
//! reserved for a number that nobody has checked.

use std::io;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{ApiKey, BrokerId, FetchRequest, RequestHeader, TopicName};
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes, encode_request_header_into_buffer};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::records::Aborted;

/// Versions of fetch that are understood: from Kafka 0.11, the first with record batches, to the last that calls topics
/// by their names.
pub(super) const FETCH_VERSIONS: std::ops::RangeInclusive<i16> = 4..=12;
/// From here on numbers of entries are compact, and tagged fields follow.
const FLEXIBLE: i16 = 12;

/// What is asked of a broker.
pub(super) struct Question<'a> {
    pub(super) places: Vec<Place<'a>>,
    pub(super) wait_ms: i32,
    pub(super) min_bytes: i32,
    pub(super) max_bytes: i32,
    pub(super) partition_bytes: i32,
    pub(super) read_committed: bool,
}

/// A partition in a question. Those of one topic stand together.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// The leader's epoch of the record before `offset`, -1 if it is not known.
    pub(super) epoch: i32,
}

/// What a broker says about one partition.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// Kafka's number; 0 is none.
    pub(super) error: i16,
    pub(super) high_watermark: i64,
    pub(super) stable_offset: i64,
    pub(super) aborted: Vec<Aborted>,
    pub(super) records: Vec<u8>,
    /// The log has another history: it agrees with what was fetched only up to here.
    pub(super) diverging: Option<i64>,
}

/// A request with its length before it.
pub(super) fn request<R: Encodable + HeaderVersion>(
    key: ApiKey,
    version: i16,
    correlation: i32,
    client: &str,
    body: &R,
) -> io::Result<BytesMut> {
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_string(client.to_owned())));
    let mut bytes = BytesMut::with_capacity(256);
    bytes.put_i32(0);
    encode_request_header_into_buffer(&mut bytes, &header).map_err(invalid_request)?;
    body.encode(&mut bytes, version).map_err(invalid_request)?;
    let length = i32::try_from(bytes.len() - 4).map_err(|_| invalid("a request is too long"))?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

/// The body of a fetch.
pub(super) fn fetch(question: &Question<'_>) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for place in &question.places {
        let partition = FetchPartition::default()
            .with_partition(place.partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(place.offset)
            .with_last_fetched_epoch(place.epoch)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(question.partition_bytes);
        match topics.last_mut().filter(|it| it.topic.as_str() == place.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => {
                let name = TopicName(StrBytes::from_string(place.topic.to_owned()));
                topics.push(FetchTopic::default().with_topic(name).with_partitions(vec![partition]));
            }
        }
    }
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(question.wait_ms)
        .with_min_bytes(question.min_bytes)
        .with_max_bytes(question.max_bytes)
        .with_isolation_level(i8::from(question.read_committed))
        // No session: each request names its partitions.
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(topics)
}

/// Reads the answer to a fetch behind its length and its correlation id, `left` bytes, and hands the partitions to
/// `each` as they come.
///
/// # Errors
/// If the connection breaks, or the answer is no answer to a fetch of this version.
pub(super) async fn read_answer<R: AsyncRead + Unpin>(
    reader: &mut R,
    left: usize,
    version: i16,
    mut each: impl FnMut(Answer),
) -> io::Result<()> {
    let mut body = Body { reader, left, flexible: version >= FLEXIBLE };
    body.tags().await?;
    body.skip(4).await?; // throttle_time_ms: the broker has waited already
    if version >= 7 {
        let error = body.i16().await?;
        if error != 0 {
            return Err(io::Error::other(format!("the fetch is refused: {}", error_name(error))));
        }
        body.skip(4).await?; // session_id
    }
    for _ in 0..body.count().await? {
        let topic = body.text().await?;
        for _ in 0..body.count().await? {
            each(body.partition(version, &topic).await?);
        }
        body.tags().await?;
    }
    body.tags().await?;
    if body.left == 0 { Ok(()) } else { Err(invalid("an answer is longer than what it holds")) }
}

/// An answer that is being read; never beyond its end.
struct Body<'a, R> {
    reader: &'a mut R,
    left: usize,
    flexible: bool,
}

impl<R: AsyncRead + Unpin> Body<'_, R> {
    async fn partition(&mut self, version: i16, topic: &str) -> io::Result<Answer> {
        let mut answer = Answer { topic: topic.to_owned(), partition: self.i32().await?, ..Answer::default() };
        answer.error = self.i16().await?;
        answer.high_watermark = self.i64().await?;
        answer.stable_offset = self.i64().await?;
        if version >= 5 {
            self.skip(8).await?; // log_start_offset
        }
        for _ in 0..self.count().await? {
            let (producer, first_offset) = (self.i64().await?, self.i64().await?);
            answer.aborted.push(Aborted { producer, first_offset });
            self.tags().await?;
        }
        if version >= 11 {
            self.skip(4).await?; // preferred_read_replica: only for clients that name their rack
        }
        let length = self.length().await?.unwrap_or(0);
        answer.records = self.bytes(length).await?;
        answer.diverging = self.partition_tags().await?;
        Ok(answer)
    }

    /// The tagged fields of a partition: the end of what the logs have in common, if they differ.
    async fn partition_tags(&mut self) -> io::Result<Option<i64>> {
        let mut diverging = None;
        if self.flexible {
            for _ in 0..self.varint().await? {
                let (tag, size) = (self.varint().await?, self.varint().await?);
                if tag == 0 && size >= 12 {
                    self.skip(4).await?; // epoch
                    diverging = Some(self.i64().await?);
                    self.skip(size - 12).await?;
                } else {
                    self.skip(size).await?;
                }
            }
        }
        Ok(diverging)
    }

    /// Passes over tagged fields, where there are any.
    async fn tags(&mut self) -> io::Result<()> {
        if self.flexible {
            for _ in 0..self.varint().await? {
                self.varint().await?;
                let size = self.varint().await?;
                self.skip(size).await?;
            }
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> io::Result<()> {
        self.left = self.left.checked_sub(count).ok_or_else(|| invalid("an answer is shorter than what it holds"))?;
        Ok(())
    }

    async fn i16(&mut self) -> io::Result<i16> {
        self.take(2)?;
        self.reader.read_i16().await
    }

    async fn i32(&mut self) -> io::Result<i32> {
        self.take(4)?;
        self.reader.read_i32().await
    }

    async fn i64(&mut self) -> io::Result<i64> {
        self.take(8)?;
        self.reader.read_i64().await
    }

    async fn varint(&mut self) -> io::Result<usize> {
        let mut number = 0_u64;
        for at in 0..5 {
            self.take(1)?;
            let byte = self.reader.read_u8().await?;
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                return usize::try_from(number).map_err(|_| invalid("a number is too large"));
            }
        }
        Err(invalid("a number is too long"))
    }

    /// Bytes or entries that follow; none for null.
    async fn length(&mut self) -> io::Result<Option<usize>> {
        if self.flexible {
            return Ok(self.varint().await?.checked_sub(1));
        }
        let length = self.i32().await?;
        if length == -1 {
            return Ok(None);
        }
        Ok(Some(usize::try_from(length).map_err(|_| invalid("a negative length"))?))
    }

    async fn count(&mut self) -> io::Result<usize> {
        Ok(self.length().await?.unwrap_or(0))
    }

    async fn text(&mut self) -> io::Result<String> {
        let length = if self.flexible {
            self.length().await?.unwrap_or(0)
        } else {
            usize::try_from(self.i16().await?).map_err(|_| invalid("a negative length"))?
        };
        String::from_utf8(self.bytes(length).await?).map_err(|_| invalid("a name is not UTF-8"))
    }

    async fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        self.take(length)?;
        let mut bytes = Vec::with_capacity(length);
        let mut reader = (&mut *self.reader).take(length as u64);
        while bytes.len() < length {
            if reader.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(bytes)
    }

    async fn skip(&mut self, count: usize) -> io::Result<()> {
        self.bytes(count).await.map(drop)
    }
}

/// Kafka's name of an error.
pub(super) fn error_name(code: i16) -> String {
    let found = kafka_protocol::ResponseError::try_from_code(code);
    found.map_or_else(|| format!("error {code}"), |it| it.to_string())
}

pub(super) fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn invalid_request(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error.to_string())
}

#[cfg(test)]
mod tests;
