//! Bytes that go to memory while they are few, and then to a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use arrow_buffer::Buffer;
use crc32fast::Hasher;

use super::{Held, Stage};
use crate::store::Spooled;

pub(super) struct Spool {
    /// Where the file would be.
    place: Spooled,
    limit: usize,
    memory: Vec<u8>,
    file: Option<BufWriter<File>>,
    crc: Hasher,
    bytes: u64,
}

impl Spool {
    pub(super) fn new(place: Spooled, limit: usize) -> Self {
        Self { place, limit, memory: Vec::new(), file: None, crc: Hasher::new(), bytes: 0 }
    }

    pub(super) fn is_file(&self) -> bool {
        self.file.is_some()
    }

    pub(super) fn finish(mut self) -> io::Result<Stage> {
        let held = match &mut self.file {
            Some(file) => {
                file.flush()?;
                Held::File(self.place)
            }
            None => Held::Memory(Buffer::from(self.memory)),
        };
        Ok(Stage { held, bytes: self.bytes, crc32: self.crc.finalize() })
    }

    fn spill(&mut self) -> io::Result<&mut BufWriter<File>> {
        let mut file = BufWriter::with_capacity(1 << 16, self.place.create()?);
        file.write_all(&self.memory)?;
        self.memory = Vec::new();
        Ok(self.file.insert(file))
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write_all(bytes)?,
            None if self.memory.len() + bytes.len() <= self.limit => self.memory.extend_from_slice(bytes),
            None => self.spill()?.write_all(bytes)?,
        }
        self.crc.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Only the end of the stage has to be in the file.
        Ok(())
    }
}
