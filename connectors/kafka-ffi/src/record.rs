//! `Record`: a borrowed view of one record, without a copy.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::{ptr, slice};

use rdkafka::types::{RDKafkaHeaders, RDKafkaMessage};
use rdkafka_sys as sys;

/// What [`Rows`](crate::Rows) needs to know of a record, wherever it lies.
pub trait RecordView<'a> {
    /// Its place in the partition.
    fn offset(&self) -> i64;

    /// The key, if it has one.
    fn key(&self) -> Option<&'a [u8]>;

    /// The value; none is a tombstone.
    fn value(&self) -> Option<&'a [u8]>;

    /// Milliseconds since 1970 (-1: unknown), and what they mean in Kafka's numbers: -1 nothing, 0 creation, 1 append.
    fn timestamp(&self) -> (i64, i32);

    /// The headers, in order; doubled names are allowed. Called only if somebody wants them.
    fn headers(&self) -> impl Iterator<Item = Header<'a>>;
}

/// One record, as it lies in librdkafka's memory.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    raw: &'a RDKafkaMessage,
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name, which should be UTF-8.
    pub key: &'a [u8],
    /// Its value, if it has one.
    pub value: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    pub(crate) fn new(raw: &'a RDKafkaMessage) -> Self {
        Self { raw }
    }

    /// The error text of a message that carries an error instead of a record.
    pub(crate) fn failure(&self) -> String {
        // SAFETY: the message is valid; the text is static or part of it.
        let text = unsafe { sys::rd_kafka_message_errstr(self.raw) };
        // SAFETY: checked for null; librdkafka ends its texts with NUL.
        unsafe { c_bytes(text) }.map(|it| String::from_utf8_lossy(it).into_owned()).unwrap_or_default()
    }
}

impl<'a> RecordView<'a> for Record<'a> {
    fn offset(&self) -> i64 {
        self.raw.offset
    }

    fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: the message lives for 'a and owns `key_len` bytes at `key`, unless that is null.
        unsafe { bytes(self.raw.key, self.raw.key_len) }
    }

    fn value(&self) -> Option<&'a [u8]> {
        // SAFETY: the message lives for 'a and owns `len` bytes at `payload`, unless that is null.
        unsafe { bytes(self.raw.payload, self.raw.len) }
    }

    fn timestamp(&self) -> (i64, i32) {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is valid and `kind` lives through the call.
        let ms = unsafe { sys::rd_kafka_message_timestamp(self.raw, &raw mut kind) };
        match kind {
            sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => (-1, -1),
            sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => (ms, 0),
            sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => (ms, 1),
        }
    }

    fn headers(&self) -> impl Iterator<Item = Header<'a>> {
        let mut list: *mut RDKafkaHeaders = ptr::null_mut();
        // SAFETY: the message is valid; librdkafka keeps the parsed list in it and changes only its own private part.
        let code = unsafe { sys::rd_kafka_message_headers(self.raw, &raw mut list) };
        let found = code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && !list.is_null();
        Headers { list: if found { list } else { ptr::null_mut() }, next: 0, message: PhantomData }
    }
}

struct Headers<'a> {
    list: *mut RDKafkaHeaders,
    next: usize,
    message: PhantomData<&'a RDKafkaMessage>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        if self.list.is_null() {
            return None;
        }
        let (mut key, mut value, mut len): (*const c_char, *const c_void, usize) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list belongs to the message, which lives for 'a; an index past the end is answered by an error.
        let code =
            unsafe { sys::rd_kafka_header_get_all(self.list, self.next, &raw mut key, &raw mut value, &raw mut len) };
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        self.next += 1;
        // SAFETY: librdkafka ends names with NUL and keeps them with the message.
        let key = unsafe { c_bytes(key) }.unwrap_or_default();
        // SAFETY: `value` is null or has `len` bytes, kept with the message.
        let value = unsafe { bytes(value, len) };
        Some(Header { key, value })
    }
}

/// # Safety
/// `start` must be null or point to `len` bytes that live and stay unchanged for 'a.
unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: by contract.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast(), len) })
}

/// # Safety
/// `text` must be null or end in NUL and live and stay unchanged for 'a.
unsafe fn c_bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: by contract.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
}
