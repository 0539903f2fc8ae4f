//! The decoders that are compared.

use std::io::Write;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, RecordBatch};
use arrow_json::ReaderBuilder;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use simd_json::Buffers;
use simd_json::tape::Tape;
use tidegate_formats::json::{Decoder, JsonOptions};

use crate::Failure;
use crate::columns::{Lazy, Root};
use crate::corpora::Chunk;
use crate::index::Index;

pub(crate) trait Decode {
    /// The columns; none from what is not a whole decoder.
    fn decode(&mut self, chunk: &Chunk) -> Result<Option<RecordBatch>, Failure>;
}

pub(crate) struct Rival {
    pub(crate) name: &'static str,
    pub(crate) open: fn(SchemaRef) -> Result<Box<dyn Decode>, Failure>,
}

/// Ours first: its results are what the others' are compared with.
pub(crate) const ALL: [Rival; 5] = [
    Rival { name: "ours", open: |it| Ok(Box::new(Ours(Decoder::new(it, JsonOptions::default())?))) },
    Rival { name: "arrow-json", open: |it| Ok(Box::new(ArrowJson::new(it))) },
    Rival { name: "simd-json tape", open: |it| Ok(Box::new(SimdJson::new(it))) },
    Rival { name: "sonic-rs lazy", open: |it| Ok(Box::new(Sonic(Root::new(it)))) },
    Rival { name: "first pass of an own index", open: |_| Ok(Box::new(FirstPass(Index::default()))) },
];

struct Ours(Decoder);

impl Decode for Ours {
    fn decode(&mut self, chunk: &Chunk) -> Result<Option<RecordBatch>, Failure> {
        Ok(Some(self.0.decode(&chunk.documents)?))
    }
}

/// The lines at once, which suits it best: it keeps no document apart from the next.
struct ArrowJson {
    schema: SchemaRef,
    /// The same with a zone that it knows without a time zone database.
    read: SchemaRef,
}

impl ArrowJson {
    fn new(schema: SchemaRef) -> Self {
        let fields = schema.fields().iter().map(|it| match it.data_type() {
            DataType::Timestamp(unit, _) => {
                Field::new(it.name(), DataType::Timestamp(*unit, Some("+00:00".into())), true)
            }
            _ => Field::clone(it),
        });
        let read = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { schema, read }
    }
}

impl Decode for ArrowJson {
    fn decode(&mut self, chunk: &Chunk) -> Result<Option<RecordBatch>, Failure> {
        let mut decoder =
            ReaderBuilder::new(self.read.clone()).with_batch_size(chunk.documents.len()).build_decoder()?;
        if decoder.decode(&chunk.lines)? != chunk.lines.len() {
            return Err("more rows than documents".into());
        }
        let (_, columns, _) = decoder.flush()?.ok_or("no rows")?.into_parts();
        let columns = columns.into_iter().map(|it| match it.as_primitive_opt::<TimestampMicrosecondType>() {
            Some(times) => Arc::new(times.clone().with_timezone("UTC")),
            None => it,
        });
        Ok(Some(RecordBatch::try_new(self.schema.clone(), columns.collect())?))
    }
}

/// A tape of the whole document, walked into the columns.
struct SimdJson {
    root: Root,
    buffers: Buffers,
    /// The tape, between two documents.
    tape: Option<Tape<'static>>,
    copy: Vec<u8>,
}

impl SimdJson {
    fn new(schema: SchemaRef) -> Self {
        let tape = Some(Tape(Vec::new()));
        Self { root: Root::new(schema), buffers: Buffers::default(), tape, copy: Vec::new() }
    }
}

impl Decode for SimdJson {
    fn decode(&mut self, chunk: &Chunk) -> Result<Option<RecordBatch>, Failure> {
        for document in chunk.documents.iter().flatten() {
            // It writes into what it reads.
            self.copy.clear();
            self.copy.write_all(document)?;
            let mut tape = self.tape.take().unwrap_or(Tape(Vec::new())).reset();
            let value = simd_json::fill_tape(&mut self.copy, &mut self.buffers, &mut tape);
            self.root.push(value.ok().map(|()| tape.as_value()));
            self.tape = Some(tape.reset());
        }
        self.root.finish().map(Some)
    }
}

/// Members are found one by one, values read where they are wanted.
struct Sonic(Root);

impl Decode for Sonic {
    fn decode(&mut self, chunk: &Chunk) -> Result<Option<RecordBatch>, Failure> {
        for document in chunk.documents.iter().flatten() {
            self.0.push(Some(Lazy::Document(document)));
        }
        self.0.finish().map(Some)
    }
}

/// What a decoder on an index of our own would cost at the least.
struct FirstPass(Index);

impl Decode for FirstPass {
    fn decode(&mut self, chunk: &Chunk) -> Result<Option<RecordBatch>, Failure> {
        self.0.read(&chunk.lines);
        std::hint::black_box(&self.0.places);
        Ok(None)
    }
}
