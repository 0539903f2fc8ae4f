//! The calls of the store: each meets its fault, then the store below.

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use tidegate_storage::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};
use tokio::sync::watch;

use super::upload::FlakyUpload;
use super::{FlakyStore, Late, StoreFault, StoreOp};

const OVERTAKEN_AT_MOST: Duration = Duration::from_millis(100);

/// A call that has met its fault.
struct Begun {
    number: u64,
    fault: Option<StoreFault>,
    written: watch::Receiver<u64>,
}

impl FlakyStore {
    /// Does a call that may go wrong.
    pub(super) async fn call<T, F>(&self, op: StoreOp, path: &str, run: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let begun = self.begin(op, path).await;
        self.finish(op, path, begun, run).await
    }

    async fn begin(&self, op: StoreOp, path: &str) -> Begun {
        // Looked at before anything else, or the write that should overtake could be missed.
        let written = self.shared.written.subscribe();
        let met = self.faults().meet(op, path);
        self.land(met.late).await;
        if let Some(delay) = met.delay {
            tokio::time::sleep(delay).await;
        }
        Begun { number: met.number, fault: met.fault, written }
    }

    async fn finish<T, F>(&self, op: StoreOp, path: &str, mut begun: Begun, mut run: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let done = match begun.fault {
            Some(StoreFault::Fail | StoreFault::LandLate(_)) => return Err(failed(op, path, "injected failure")),
            Some(StoreFault::Unavailable) => return Err(failed(op, path, "injected 503 Slow Down")),
            Some(StoreFault::LoseReply) => {
                // Whether it worked is what the caller can't know.
                let _ = run().await;
                Err(failed(op, path, "injected loss of the reply"))
            }
            Some(StoreFault::Repeat) if op.writes() => {
                let _ = run().await;
                run().await
            }
            Some(StoreFault::Overtake) => {
                // Either it was overtaken, or nobody came.
                let _ = tokio::time::timeout(OVERTAKEN_AT_MOST, begun.written.changed()).await;
                run().await
            }
            Some(StoreFault::Hold) => {
                self.hold().await;
                run().await
            }
            None | Some(StoreFault::Repeat | StoreFault::Delay(_)) => run().await,
        };
        if op.writes() {
            self.shared.written.send_modify(|it| *it += 1);
        }
        done
    }

    async fn hold(&self) {
        let mut released = self.shared.released.subscribe();
        self.shared.held.send_modify(|it| *it += 1);
        let _held = Held(self);
        // Fails only without a sender, and `self` holds it.
        let _ = released.changed().await;
    }
}

/// Counts its call as held until the caller goes on or goes away.
struct Held<'a>(&'a FlakyStore);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.shared.held.send_modify(|it| *it -= 1);
    }
}

#[async_trait]
impl ObjectStore for FlakyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let path = location.as_ref();
        let begun = self.begin(StoreOp::Put, path).await;
        if let Some(StoreFault::LandLate(calls)) = begun.fault {
            let at = begun.number + u64::from(calls) + 1;
            self.faults().keep_late(Late { at, path: location.clone(), payload, options: opts });
            return Err(failed(StoreOp::Put, path, "injected time-out"));
        }
        self.finish(StoreOp::Put, path, begun, || self.inner.put_opts(location, payload.clone(), opts.clone())).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let start = || self.inner.put_multipart_opts(location, opts.clone());
        let inner = self.call(StoreOp::PutMultipart, location.as_ref(), start).await?;
        Ok(Box::new(FlakyUpload::new(self.clone(), location.clone(), inner)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let op = if options.head { StoreOp::Head } else { StoreOp::Get };
        self.call(op, location.as_ref(), || self.inner.get_opts(location, options.clone())).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |path: Path| {
            let store = store.clone();
            async move {
                store.call(StoreOp::Delete, path.as_ref(), || store.inner.delete(&path)).await?;
                Ok(path)
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let list = async move {
            let shown = prefix.as_ref().map_or("", Path::as_ref).to_owned();
            store.call(StoreOp::List, &shown, || async { Ok(store.inner.list(prefix.as_ref())) }).await
        };
        stream::once(list).try_flatten().boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix, offset) = (self.clone(), prefix.cloned(), offset.clone());
        let list = async move {
            let shown = prefix.as_ref().map_or("", Path::as_ref).to_owned();
            let run = || async { Ok(store.inner.list_with_offset(prefix.as_ref(), &offset)) };
            store.call(StoreOp::List, &shown, run).await
        };
        stream::once(list).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let shown = prefix.map_or("", Path::as_ref);
        self.call(StoreOp::List, shown, || self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.call(StoreOp::Copy, to.as_ref(), || self.inner.copy_opts(from, to, options.clone())).await
    }
}

fn failed(op: StoreOp, path: &str, why: &str) -> Error {
    Error::Generic { store: "FlakyStore", source: format!("{op} {path}: {why}").into() }
}
