//! Locations: paths, URLs, settings.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::pin::pin;
use std::sync::mpsc::channel;
use std::time::Duration;

use tidegate_api::ErrorKind;
use tidegate_storage::{Location, StoreOptions};
use tokio::runtime::Builder;

fn open(text: &str, options: &[(&str, &str)]) -> tidegate_api::Result<Location> {
    let options: StoreOptions = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Location::open(text, &options, Path::new("/base"))
}

#[test]
fn paths_are_local() {
    assert_eq!(open("a/b", &[]).unwrap().local(), Some(Path::new("/base/a/b")));
    assert_eq!(open("/a", &[]).unwrap().local(), Some(Path::new("/a")));
    assert_eq!(open("a/../c/./d", &[]).unwrap().local(), Some(Path::new("/base/c/d")));
    assert_eq!(open("file:///a/b", &[]).unwrap().local(), Some(Path::new("/a/b")));
}

#[test]
fn urls_are_stores() {
    let s3 =
        open("s3://bucket/a/b", &[("aws_region", "eu-1"), ("endpoint", "http://x:1"), ("allow_http", "true")]).unwrap();
    assert_eq!((s3.local(), s3.to_string()), (None, "s3://bucket/a/b".to_owned()));
    assert_eq!(s3.path("c/d").to_string(), "a/b/c/d");
    assert!(
        open("az://box/a", &[("azure_storage_account_name", "me"), ("azure_storage_use_emulator", "true")]).is_ok()
    );
}

#[test]
fn what_is_wrong_is_named() {
    for (text, options, part) in [
        ("s3://bucket/a", vec![("aws_regoin", "x")], "aws_regoin"),
        ("ftp://host/a", vec![], "ftp://host/a"),
        ("/local", vec![("endpoint", "x")], "endpoint"),
    ] {
        let error = open(text, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(!open("ftp://me:secret@host/a", &[]).unwrap_err().to_string().contains("secret"));
}

#[tokio::test]
async fn a_local_folder_is_a_store_too() {
    use object_store_of::*;
    let folder = tempfile::tempdir().unwrap();
    let location = Location::open(folder.path().to_str().unwrap(), &BTreeMap::new(), Path::new("/")).unwrap();
    location.store().put(&location.path("a/b"), "text".into()).await.unwrap();
    assert_eq!(std::fs::read(folder.path().join("a/b")).unwrap(), b"text");
}

#[test]
fn a_request_does_not_wait_for_the_thread_that_asks() {
    let io = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    tidegate_storage::run_requests_on(io.handle().clone());
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", server.local_addr().unwrap());
    let keys = [("aws_access_key_id", "me"), ("aws_secret_access_key", "it"), ("aws_region", "eu-1")];
    let place = [("endpoint", endpoint.as_str()), ("allow_http", "true")];
    let bucket = open("s3://bucket/a", &[&keys[..], &place].concat()).unwrap();
    let (arrived, request) = channel();
    let serving = std::thread::spawn(move || arrived.send(server.accept().and_then(|mut it| it.0.read(&mut [0]))));
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        use object_store_of::*;
        let path = bucket.path("b");
        let mut get = pin!(bucket.store().get(&path));
        assert!(futures::poll!(&mut get).is_pending());
        // From here on this thread computes, and does not come back to its runtime.
        assert_eq!(request.recv_timeout(Duration::from_secs(10)).unwrap().unwrap(), 1);
    });
    serving.join().unwrap().unwrap();
}

mod object_store_of {
    pub(super) use tidegate_storage::object_store::ObjectStoreExt as _;
}
