//! An object store with what some do: replies that are lost, and conditions that are not kept.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use futures::stream::BoxStream;
use tidegate_storage::Location;
use tidegate_storage::object_store::memory::InMemory;
use tidegate_storage::object_store::path::Path;
use tidegate_storage::object_store::*;
use url::Url;

/// An object store in memory.
#[derive(Debug, Default)]
pub(super) struct OddStore {
    pub(super) inner: InMemory,
    /// So many of the next creations work, and say that they did not.
    pub(super) lost_replies: AtomicU32,
    /// So many of the next writes of heartbeats fail.
    pub(super) lost_beats: AtomicU32,
    /// Creates in place of what is there.
    pub(super) unconditional: AtomicBool,
}

impl OddStore {
    pub(super) fn location(this: &Arc<Self>) -> Location {
        Location::of_store(Url::parse("mem:///checkpoint").unwrap(), this.clone(), Path::from("checkpoint"))
    }
}

fn take(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1)).is_ok()
}

fn lost() -> Error {
    Error::Generic { store: "odd", source: "the reply was lost".into() }
}

impl fmt::Display for OddStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OddStore")
    }
}

#[async_trait::async_trait]
impl ObjectStore for OddStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        let creates = matches!(options.mode, PutMode::Create);
        if path.as_ref().ends_with(".beat") && take(&self.lost_beats) {
            return Err(lost());
        }
        if creates && self.unconditional.load(Ordering::SeqCst) {
            options.mode = PutMode::Overwrite;
        }
        let done = self.inner.put_opts(path, payload, options).await?;
        if creates && take(&self.lost_replies) { Err(lost()) } else { Ok(done) }
    }
    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }
    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }
    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
