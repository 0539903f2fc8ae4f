//! How errors read.

use std::error::Error as _;
use std::io;

use tidegate_api::prelude::*;

#[test]
fn the_cause_follows_after_a_colon_once() {
    let inner = Error::transient("topic 'clicks' is away").because(io::Error::other("connection reset"));
    assert_eq!(inner.to_string(), "topic 'clicks' is away: connection reset");
    let outer = Error::config("source clicks").because(inner);
    assert_eq!(outer.to_string(), "source clicks: topic 'clicks' is away: connection reset");
    assert_eq!(format!("{outer:?}"), "Config error: source clicks: topic 'clicks' is away: connection reset");
    assert!(outer.source().is_some());
}

#[test]
fn the_object_goes_in_front_and_the_kind_stays() {
    let error = Error::data("line 3 is too long").within("file a.json");
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Data, "file a.json: line 3 is too long".to_owned()));
}
