//! `Decoder`: a column of documents in, a batch of typed columns out.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StructArray};
use arrow_buffer::NullBufferBuilder;
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use tidegate_api::{Error, Result};

use super::bytes::Bytes;
use super::column::Column;
use super::root::{Verdict, read};
use crate::ddl::type_name;

/// Bytes of documents in one call, so that a column stays below 2 GiB even if each byte becomes U+FFFD.
const MAX_BYTES: usize = i32::MAX as usize / 3;

/// What becomes of a document that is not JSON or does not fit the schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A malformed document gives nulls, a field of the wrong type a null (Spark: `PERMISSIVE`).
    #[default]
    Permissive,
    /// It is an error (Spark: `FAILFAST`).
    Fail,
    /// It is left out (Spark: `DROPMALFORMED`).
    Drop,
}

/// How documents are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonOptions {
    /// What becomes of a document that does not fit.
    pub mode: Mode,
    /// The STRING column that takes the text of such a document (Spark: `columnNameOfCorruptRecord`); without effect
    /// if the schema does not declare it, or `mode` is not permissive.
    pub corrupt_column: Option<String>,
}

/// What [`Decoder::decode_rows`] gives.
#[derive(Debug)]
pub struct Decoded {
    /// The documents that fitted, in their order.
    pub batch: RecordBatch,
    /// The others, in their order.
    pub rejected: Vec<RejectedDocument>,
}

/// A document that was left out.
#[derive(Debug)]
pub struct RejectedDocument {
    /// Its place among the documents.
    pub row: usize,
    /// Why; of kind `Data`.
    pub error: Error,
}

/// Reads JSON documents into the columns of a schema, and only those.
///
/// See the crate's front page for the rules. A decoder remembers the order of the fields from one document to the
/// next, so keep one per stream.
pub struct Decoder {
    schema: SchemaRef,
    mode: Mode,
    root: Column,
    corrupt: Option<Corrupt>,
    bytes: usize,
}

/// The column for the texts of documents that did not fit.
struct Corrupt {
    index: usize,
    texts: Bytes,
    nulls: NullBufferBuilder,
}

impl Corrupt {
    fn push(&mut self, text: Option<&[u8]>) {
        self.texts.push(text.unwrap_or_default());
        self.nulls.append(text.is_some());
    }
}

impl Decoder {
    /// A decoder for the columns of `schema`.
    ///
    /// # Errors
    /// `Config` if JSON can't be read into a column's type.
    pub fn new(schema: SchemaRef, options: JsonOptions) -> Result<Self> {
        let fields: Fields = schema.fields().iter().map(nullable).collect();
        let corrupt = match options.corrupt_column.as_deref().and_then(|it| fields.find(it)) {
            Some((index, field)) if field.data_type() == &DataType::Utf8 => {
                Some(Corrupt { index, texts: Bytes::default(), nulls: NullBufferBuilder::new(0) })
            }
            Some((_, field)) => {
                let (name, found) = (field.name(), type_name(field.data_type()));
                return Err(Error::config(format!("corrupt column '{name}' is {found}, expected STRING")));
            }
            None => None,
        };
        let hidden = corrupt.as_ref().map(|it| it.index);
        let read = fields.iter().enumerate().filter(|it| Some(it.0) != hidden).map(|it| it.1.clone());
        let root = Column::new(&DataType::Struct(read.collect()), "")?;
        let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
        Ok(Self { schema, mode: options.mode, root, corrupt, bytes: 0 })
    }

    /// A decoder for documents of any type, for [`decode_array`](Self::decode_array) alone (Spark: `from_json` of an
    /// ARRAY or a MAP). A STRUCT is read as by [`new`](Self::new).
    ///
    /// # Errors
    /// As `new`.
    pub fn for_type(data_type: &DataType, options: JsonOptions) -> Result<Self> {
        if let DataType::Struct(fields) = data_type {
            return Self::new(Arc::new(Schema::new(fields.clone())), options);
        }
        let root = Column::new(&nullable_type(data_type), "")?;
        Ok(Self { schema: Arc::new(Schema::empty()), mode: options.mode, root, corrupt: None, bytes: 0 })
    }

    /// The schema of the batches: the one that was asked for with all fields nullable, as any of them may be missing.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The type of the arrays that `decode_array` gives.
    pub fn data_type(&self) -> DataType {
        match self.root.data_type() {
            DataType::Struct(_) => DataType::Struct(self.schema.fields().clone()),
            other => other.clone(),
        }
    }

    /// Reads the documents (a BINARY or STRING column), one row each; a null or blank one is a row of nulls. Rows
    /// that do not fit are nulls or left out as the mode says.
    ///
    /// # Errors
    /// `Data` in mode `Fail`, for the first document that does not fit; `Config` if `documents` is of another type.
    pub fn decode(&mut self, documents: &dyn Array) -> Result<RecordBatch> {
        let fail = self.mode == Mode::Fail;
        self.each(documents, false, |_, _, error| if fail { Err(error) } else { Ok(()) })?;
        self.finish_batch()
    }

    /// As [`decode`](Self::decode), but in the modes `Fail` and `Drop` with a list of the documents left out.
    ///
    /// # Errors
    /// `Config` if `documents` is of another type.
    pub fn decode_rows(&mut self, documents: &dyn Array) -> Result<Decoded> {
        let mut rejected = Vec::new();
        self.each(documents, false, |_, row, error| {
            rejected.push(RejectedDocument { row, error });
            Ok(())
        })?;
        Ok(Decoded { batch: self.finish_batch()?, rejected })
    }

    /// Reads the documents into one array (Spark: `from_json`): a null or blank document is null; a malformed one is
    /// a struct of nulls, or null if the type is no struct or the mode is `Drop`.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_array(&mut self, documents: &dyn Array) -> Result<ArrayRef> {
        let fail = self.mode == Mode::Fail;
        self.each(documents, true, |decoder, _, error| {
            if fail {
                return Err(error);
            }
            decoder.push_null();
            Ok(())
        })?;
        let len = self.root.len();
        let root = self.root.finish()?;
        let Some(parts) = root.as_struct_opt() else { return Ok(root) };
        let (_, mut columns, nulls) = parts.clone().into_parts();
        self.insert_corrupt(&mut columns)?;
        let array = StructArray::try_new_with_length(self.schema.fields().clone(), columns, nulls, len);
        Ok(Arc::new(array.map_err(|e| Error::internal("decoded documents").because(e))?))
    }

    /// Reads all documents; `reject` hears of each that adds no row. `is_value`: a blank one is like a null.
    fn each(
        &mut self,
        documents: &dyn Array,
        is_value: bool,
        mut reject: impl FnMut(&mut Self, usize, Error) -> Result<()>,
    ) -> Result<()> {
        // An earlier call may have ended half way.
        self.root.truncate(0);
        if let Some(corrupt) = &mut self.corrupt {
            corrupt.texts.truncate(0);
            corrupt.nulls.truncate(0);
            corrupt.texts.reserve(documents.len());
        }
        self.root.reserve(documents.len());
        self.bytes = 0;
        for_each(documents, &mut |row, document| match self.push(document, is_value)? {
            None => Ok(()),
            Some(reason) => {
                let error = Error::data(format!("JSON document {row} {reason}"));
                reject(self, row, error)
            }
        })
    }

    /// Reads one document: adds a row, or says why not.
    #[inline]
    fn push(&mut self, document: Option<&[u8]>, is_value: bool) -> Result<Option<String>> {
        let Some(document) = document else {
            self.push_null();
            return Ok(None);
        };
        self.bytes += document.len();
        if self.bytes > MAX_BYTES {
            return Err(Error::data(format!("JSON documents of one batch have more than {MAX_BYTES} bytes")));
        }
        let row = self.root.len();
        let verdict = read(&mut self.root, document);
        match verdict {
            Verdict::Whole => {
                if let Some(corrupt) = &mut self.corrupt {
                    corrupt.push(None);
                }
                return Ok(None);
            }
            Verdict::Blank if is_value || self.mode == Mode::Permissive => {
                self.push_null();
                return Ok(None);
            }
            _ if self.mode != Mode::Permissive => {
                self.root.truncate(row);
                return Ok(Some(self.reason(verdict)));
            }
            Verdict::Partly => {}
            Verdict::Blank | Verdict::Wrong | Verdict::Malformed(_) => self.root.push_empty(),
        }
        if let Some(corrupt) = &mut self.corrupt {
            corrupt.push(Some(document));
        }
        Ok(None)
    }

    #[cold]
    fn reason(&self, verdict: Verdict) -> String {
        match verdict {
            Verdict::Malformed(byte) => format!("is malformed at byte {byte}"),
            Verdict::Blank => "is empty, expected a value".to_owned(),
            Verdict::Partly => match self.root.as_struct().and_then(|it| it.misfit()) {
                Some((name, data_type)) => format!("does not fit: column '{name}' is not {}", type_name(data_type)),
                None => "does not fit".to_owned(),
            },
            Verdict::Whole | Verdict::Wrong => format!("is not {}", type_name(&self.data_type())),
        }
    }

    fn push_null(&mut self) {
        self.root.push_null();
        if let Some(corrupt) = &mut self.corrupt {
            corrupt.push(None);
        }
    }

    fn finish_batch(&mut self) -> Result<RecordBatch> {
        let rows = self.root.len();
        let mut columns = self.root.finish_columns()?;
        self.insert_corrupt(&mut columns)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|e| Error::internal("decoded documents").because(e))
    }

    fn insert_corrupt(&mut self, columns: &mut Vec<ArrayRef>) -> Result<()> {
        if let Some(corrupt) = &mut self.corrupt {
            let nulls = corrupt.nulls.finish();
            columns.insert(corrupt.index, corrupt.texts.finish_text(nulls)?);
        }
        Ok(())
    }
}

/// Calls `each` for all values of a column of bytes or texts.
fn for_each<'a>(documents: &'a dyn Array, each: &mut dyn FnMut(usize, Option<&'a [u8]>) -> Result<()>) -> Result<()> {
    fn run<'a, T: AsRef<[u8]> + ?Sized + 'a>(
        values: impl Iterator<Item = Option<&'a T>>,
        each: &mut dyn FnMut(usize, Option<&'a [u8]>) -> Result<()>,
    ) -> Result<()> {
        values.enumerate().try_for_each(|(row, it)| each(row, it.map(AsRef::as_ref)))
    }
    match documents.data_type() {
        DataType::Binary => run(documents.as_binary::<i32>().iter(), each),
        DataType::LargeBinary => run(documents.as_binary::<i64>().iter(), each),
        DataType::BinaryView => run(documents.as_binary_view().iter(), each),
        DataType::Utf8 => run(documents.as_string::<i32>().iter(), each),
        DataType::LargeUtf8 => run(documents.as_string::<i64>().iter(), each),
        DataType::Utf8View => run(documents.as_string_view().iter(), each),
        other => Err(Error::config(format!("JSON documents are {}, expected BINARY or STRING", type_name(other)))),
    }
}

fn nullable(field: &FieldRef) -> FieldRef {
    let data_type = nullable_type(field.data_type());
    Arc::new(Field::clone(field).with_data_type(data_type).with_nullable(true))
}

fn nullable_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::List(item) => DataType::List(nullable(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(nullable).collect()),
        DataType::Map(entries, ordered) => {
            let entries_type = match entries.data_type() {
                DataType::Struct(fields) => {
                    // A map's keys are never null.
                    let parts = fields.iter().enumerate().map(|(index, it)| {
                        if index == 0 { Arc::new(Field::clone(it).with_nullable(false)) } else { nullable(it) }
                    });
                    DataType::Struct(parts.collect())
                }
                other => other.clone(),
            };
            DataType::Map(Arc::new(Field::clone(entries).with_data_type(entries_type).with_nullable(false)), *ordered)
        }
        other => other.clone(),
    }
}
