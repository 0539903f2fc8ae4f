//! `Encoder`: rows to the bytes of one file, given out as they come.

use arrow_array::{RecordBatch, StructArray};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use tidegate_api::{Error, Result};
use tidegate_formats::json;

use super::config::{Compression, SinkFormat};

/// Rows that are turned into JSON at once.
const JSON_ROWS: usize = 8 << 10;

pub(crate) enum Encoder {
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    Json,
}

impl Encoder {
    pub(crate) fn new(format: SinkFormat, compression: Compression, schema: &SchemaRef) -> Result<Self> {
        if format == SinkFormat::Json {
            return Ok(Self::Json);
        }
        let compression = match compression {
            Compression::Snappy => ParquetCompression::SNAPPY,
            Compression::Zstd => ParquetCompression::ZSTD(ZstdLevel::default()),
            Compression::None => ParquetCompression::UNCOMPRESSED,
        };
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_created_by(concat!("tidegate ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        // Arrow's own copy of the schema would be waste in every small file: Parquet's says all.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options).map_err(broken)?;
        Ok(Self::Parquet(Box::new(writer)))
    }

    /// Takes rows; the bytes are those that are complete.
    pub(crate) fn encode(&mut self, batch: &RecordBatch) -> Result<Bytes> {
        match self {
            Self::Parquet(writer) => {
                writer.write(batch).map_err(broken)?;
                Ok(taken(writer))
            }
            Self::Json => lines(batch),
        }
    }

    /// The bytes of all rows taken, as far as the format allows.
    pub(crate) fn flush(&mut self) -> Result<Bytes> {
        match self {
            Self::Parquet(writer) => {
                writer.flush().map_err(broken)?;
                Ok(taken(writer))
            }
            Self::Json => Ok(Bytes::new()),
        }
    }

    /// The bytes that end the file.
    pub(crate) fn finish(&mut self) -> Result<Bytes> {
        match self {
            Self::Parquet(writer) => {
                writer.finish().map_err(broken)?;
                Ok(taken(writer))
            }
            Self::Json => Ok(Bytes::new()),
        }
    }

    /// Bytes held in memory.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::Parquet(writer) => writer.memory_size(),
            Self::Json => 0,
        }
    }

    /// About how many bytes the rows taken and not given out will have.
    pub(crate) fn pending(&self) -> usize {
        match self {
            Self::Parquet(writer) => writer.in_progress_size(),
            Self::Json => 0,
        }
    }
}

/// The writer counts what it has put into its buffer, so that may be emptied at any time.
fn taken(writer: &mut ArrowWriter<Vec<u8>>) -> Bytes {
    std::mem::take(writer.inner_mut()).into()
}

fn lines(batch: &RecordBatch) -> Result<Bytes> {
    let mut out = Vec::new();
    for from in (0..batch.num_rows()).step_by(JSON_ROWS) {
        let rows = batch.slice(from, JSON_ROWS.min(batch.num_rows() - from));
        for text in json::encode(&StructArray::from(rows))?.iter().flatten() {
            out.extend_from_slice(text.as_bytes());
            out.push(b'\n');
        }
    }
    Ok(out.into())
}

fn broken(e: ParquetError) -> Error {
    Error::internal("rows can't be turned into Parquet").because(e)
}
