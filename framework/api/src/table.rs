//! `Table`: the static side of a join, read anew as its version changes.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::source::{BatchStream, FieldPath, ScanRequest};

/// A version of a table, as it stands in the epoch's record. Empty: the table has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TableVersion(pub String);

/// Data that a query reads whole, or by key, in each epoch.
///
/// ```
/// use futures::{StreamExt, stream};
/// use tidegate_api::prelude::*;
///
/// /// A table that never changes.
/// struct Fixed(RecordBatch);
///
/// #[async_trait]
/// impl Table for Fixed {
///     fn schema(&self) -> SchemaRef {
///         self.0.schema()
///     }
///     async fn version(&self) -> Result<TableVersion> {
///         Ok(TableVersion::default())
///     }
///     async fn scan(&self, _at: &TableVersion, _scan: &ScanRequest) -> Result<Vec<BatchStream>> {
///         Ok(vec![stream::iter([Ok(self.0.clone())]).boxed()])
///     }
/// }
/// ```
#[async_trait]
pub trait Table: Send + Sync + 'static {
    /// Its columns.
    fn schema(&self) -> SchemaRef;

    /// The version to read in the next epoch. Cheap.
    ///
    /// # Errors
    /// `Transient` while the outside system is away.
    async fn version(&self) -> Result<TableVersion>;

    /// All rows at a version, in streams that may be read side by side.
    ///
    /// # Errors
    /// `Config` if that version is gone.
    async fn scan(&self, at: &TableVersion, scan: &ScanRequest) -> Result<Vec<BatchStream>>;

    /// Access by key, if the table has it.
    fn lookup(&self) -> Option<&dyn Lookup> {
        None
    }
}

/// Rows by key: one call per epoch and chunk, never one per row.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// The key's columns.
    fn key(&self) -> &[String];

    /// The rows whose key is among `keys` (the key's columns, in order).
    ///
    /// # Errors
    /// `Transient` while the outside system is away.
    async fn get(&self, keys: RecordBatch, projection: &[FieldPath]) -> Result<BatchStream>;
}
