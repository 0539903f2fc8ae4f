//! Locations: paths, URLs, settings.

use std::collections::BTreeMap;
use std::path::Path;

use tidegate_api::ErrorKind;
use tidegate_storage::{Location, StoreOptions};

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

mod object_store_of {
    pub(super) use tidegate_storage::object_store::ObjectStoreExt as _;
}
