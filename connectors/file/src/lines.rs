//! Reads lines of files into batches, a bounded chunk at a time. All of it blocks.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use memchr::memchr;
use tidegate_api::{Error, Result};

use crate::config::FileFormat;
use crate::pieces::Piece;

const CHUNK_BYTES: usize = 1 << 20;
const BATCH_BYTES: usize = 8 << 20;
const MAX_LINE_BYTES: usize = 64 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The column of all batches of a format.
pub(crate) fn schema(format: FileFormat) -> SchemaRef {
    let kind = match format {
        FileFormat::Json => DataType::Binary,
        FileFormat::Text => DataType::Utf8,
    };
    Arc::new(Schema::new(vec![Field::new("value", kind, true)]))
}

/// Reads pieces one after the other.
pub(crate) struct Lines {
    pieces: VecDeque<Piece>,
    open: Option<OpenFile>,
    format: FileFormat,
    batch_rows: usize,
}

impl Lines {
    pub(crate) fn new(pieces: Vec<Piece>, format: FileFormat, batch_rows: usize) -> Self {
        Self { pieces: pieces.into(), open: None, format, batch_rows: batch_rows.max(1) }
    }

    /// The next batch; none at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let (rows, array): (usize, ArrayRef) = match self.format {
            FileFormat::Json => {
                let mut builder = BinaryBuilder::with_capacity(self.batch_rows, CHUNK_BYTES);
                let rows = self.fill(|line| builder.append_value(line))?;
                (rows, Arc::new(builder.finish()))
            }
            FileFormat::Text => {
                let mut builder = StringBuilder::with_capacity(self.batch_rows, CHUNK_BYTES);
                let rows = self.fill(|line| builder.append_value(String::from_utf8_lossy(line)))?;
                (rows, Arc::new(builder.finish()))
            }
        };
        if rows == 0 {
            return Ok(None);
        }
        let batch = RecordBatch::try_new(schema(self.format), vec![array]);
        batch.map(Some).map_err(|e| Error::internal("file").because(e))
    }

    /// Counts all rows that are left.
    pub(crate) fn count(mut self) -> Result<u64> {
        let mut rows = 0;
        loop {
            match self.fill(|_| {})? {
                0 => return Ok(rows),
                more => rows += more as u64,
            }
        }
    }

    /// Gives the lines of one batch to `append` and says how many.
    fn fill(&mut self, mut append: impl FnMut(&[u8])) -> Result<usize> {
        let (mut rows, mut bytes) = (0, 0);
        while rows < self.batch_rows && bytes < BATCH_BYTES {
            let file = match &mut self.open {
                Some(file) => file,
                None => match self.pieces.pop_front() {
                    Some(piece) => self.open.insert(OpenFile::open(&piece)?),
                    None => break,
                },
            };
            let Some(line) = file.next_line()? else {
                self.open = None;
                continue;
            };
            let line = file.bytes(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            // Spark skips blank documents; a blank line of text is a row.
            if self.format == FileFormat::Text || !line.trim_ascii().is_empty() {
                append(line);
                rows += 1;
                bytes += line.len();
            }
        }
        Ok(rows)
    }
}

/// A file and the part of it that is in memory.
struct OpenFile {
    path: Arc<Path>,
    file: File,
    buffer: Vec<u8>,
    /// Where the next line begins in `buffer` …
    begin: usize,
    /// … and in the file.
    position: u64,
    /// Bytes after `begin` that hold no line feed.
    scanned: usize,
    /// Lines that begin here or later are not ours.
    to: u64,
    ended: bool,
}

impl OpenFile {
    fn open(piece: &Piece) -> Result<Self> {
        let named = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound => Error::config(format!(
                "file {} is gone; entry {} of the file log needs it",
                piece.path.display(),
                piece.entry
            )),
            io::ErrorKind::PermissionDenied => cant_read(&piece.path, Error::config, e),
            _ => cant_read(&piece.path, Error::transient, e),
        };
        let mut file = File::open(&piece.path).map_err(named)?;
        // The line feed before a line decides whether the line begins in our part.
        let position = piece.from.saturating_sub(1);
        file.seek(SeekFrom::Start(position)).map_err(named)?;
        let (path, buffer) = (piece.path.clone(), Vec::new());
        let mut this = Self { path, file, buffer, begin: 0, position, scanned: 0, to: u64::MAX, ended: false };
        if piece.from > 0 {
            this.next_line()?;
        } else {
            this.skip_byte_order_mark()?;
        }
        this.to = piece.to.unwrap_or(u64::MAX);
        Ok(this)
    }

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    /// Where the next line of our part lies in the buffer, without its line feed.
    fn next_line(&mut self) -> Result<Option<Range<usize>>> {
        if self.position >= self.to {
            return Ok(None);
        }
        loop {
            let begin = self.begin;
            if let Some(at) = memchr(b'\n', self.bytes(begin + self.scanned..self.buffer.len())) {
                return self.advance(begin + self.scanned + at, 1).map(Some);
            }
            self.scanned = self.buffer.len() - begin;
            if self.ended {
                let rest = self.scanned > 0;
                return if rest { self.advance(self.buffer.len(), 0).map(Some) } else { Ok(None) };
            }
            if self.scanned > MAX_LINE_BYTES {
                return Err(self.too_long());
            }
            self.read_on()?;
        }
    }

    /// Passes a line that ends at `end`, and `more` bytes after it.
    fn advance(&mut self, end: usize, more: usize) -> Result<Range<usize>> {
        let line = self.begin..end;
        if line.len() > MAX_LINE_BYTES {
            return Err(self.too_long());
        }
        self.begin = end + more;
        self.position += (line.len() + more) as u64;
        self.scanned = 0;
        Ok(line)
    }

    fn read_on(&mut self) -> Result<()> {
        self.buffer.drain(..self.begin);
        self.begin = 0;
        let read = (&mut self.file).take(CHUNK_BYTES as u64).read_to_end(&mut self.buffer);
        let read = read.map_err(|e| cant_read(&self.path, Error::transient, e))?;
        self.ended = read < CHUNK_BYTES;
        Ok(())
    }

    fn skip_byte_order_mark(&mut self) -> Result<()> {
        self.read_on()?;
        if self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.begin = BYTE_ORDER_MARK.len();
            self.position = self.begin as u64;
        }
        Ok(())
    }

    fn too_long(&self) -> Error {
        let (path, at) = (self.path.display(), self.position);
        Error::data(format!("file {path}: the line at byte {at} is longer than {MAX_LINE_BYTES} bytes"))
    }
}

fn cant_read(path: &Path, kind: impl Fn(String) -> Error, error: io::Error) -> Error {
    kind(format!("file {} can't be read", path.display())).because(error)
}
