//! A multipart upload whose parts, end and abort may go wrong.

use std::fmt;

use async_trait::async_trait;
use tidegate_storage::object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart, path::Path};
use tokio::sync::Mutex;

use super::{FlakyStore, StoreOp};

pub(super) struct FlakyUpload {
    store: FlakyStore,
    path: Path,
    inner: Mutex<Box<dyn MultipartUpload>>,
}

impl FlakyUpload {
    pub(super) fn new(store: FlakyStore, path: Path, inner: Box<dyn MultipartUpload>) -> Self {
        Self { store, path, inner: Mutex::new(inner) }
    }
}

#[async_trait]
impl MultipartUpload for FlakyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        // Parts are numbered as they are handed over: one that fails is not handed over again.
        let (store, path) = (self.store.clone(), self.path.clone());
        let part = self.inner.get_mut().put_part(data);
        Box::pin(async move {
            let mut part = Some(part);
            let send = || {
                let part = part.take();
                async move {
                    match part {
                        Some(part) => part.await,
                        None => Ok(()),
                    }
                }
            };
            store.call(StoreOp::PutPart, path.as_ref(), send).await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let complete = || async { self.inner.lock().await.complete().await };
        self.store.call(StoreOp::Complete, self.path.as_ref(), complete).await
    }

    async fn abort(&mut self) -> Result<()> {
        let abort = || async { self.inner.lock().await.abort().await };
        self.store.call(StoreOp::Abort, self.path.as_ref(), abort).await
    }
}

impl fmt::Debug for FlakyUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlakyUpload").field("path", &self.path).finish_non_exhaustive()
    }
}
