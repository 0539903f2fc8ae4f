//! Who may own a checkpoint, on a local disk and on an object store.

mod lease;
mod lock;
mod odd_store;

use tidegate_api::{ErrorKind, SystemClock};
use tidegate_storage::Location;

use super::*;
use crate::fault::Faults;

const LEASE: Duration = Duration::from_millis(200);

fn options() -> OwnerOptions {
    OwnerOptions {
        clock: Arc::new(SystemClock::default()),
        run_id: uuid::Uuid::new_v4().to_string().into(),
        lease_timeout: LEASE,
        take_over: false,
        check: true,
        io: None,
    }
}

fn taking_over() -> OwnerOptions {
    OwnerOptions { take_over: true, ..options() }
}

fn store_at(location: &Location) -> Arc<Store> {
    Arc::new(Store::new(location.clone(), Arc::new(SystemClock::default()), Faults::default()))
}

async fn own(store: &Arc<Store>, options: &OwnerOptions) -> Result<Owner> {
    Candidate::new(store, options, false).await?.claim(store, options).await
}

async fn refusal(store: &Arc<Store>, options: &OwnerOptions) -> String {
    let error = own(store, options).await.err().expect("the checkpoint was taken");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error.to_string()
}

async fn fenced(owner: &Owner) -> String {
    let error = owner.check().await.expect_err("it is owned still");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    error.to_string()
}

/// As another run on another host would write it.
fn stranger(generation: u64) -> Holder {
    let this = Holder::this("their-run".into(), generation, 7);
    Holder { host: "elsewhere".to_owned(), pid: 4711, ..this }
}

fn text(holder: &Holder) -> Vec<u8> {
    serde_json::to_vec(holder).unwrap()
}
