use std::path::{Path, PathBuf};

use tidegate_api::{ConfigDef, Settings};

use super::{Limits, Planner};
use crate::config::FileConfig;
use crate::listing::Found;

const HOUR_MS: i64 = 3_600_000;

fn config(settings: &[(&str, &str)]) -> FileConfig {
    let mut all = Settings::from_iter([("path", "in")]);
    for (key, value) in settings {
        all.push(*key, *value);
    }
    FileConfig::parse(&all).unwrap()
}

fn found(path: &str, modified_ms: i64) -> Found {
    Found { path: PathBuf::from(path), modified_ms, size: 10 }
}

fn names(files: &[Found]) -> Vec<&str> {
    files.iter().map(|it| it.path.to_str().unwrap()).collect()
}

/// An epoch of a planner as the source runs it.
fn epoch(planner: &mut Planner, listing: &[Found], limits: Limits) -> Vec<Found> {
    if planner.is_empty() {
        planner.offer(listing.to_vec());
    }
    let files = planner.take(&limits);
    planner.drop_short_rest(&limits);
    for file in &files {
        planner.mark(&file.path, file.modified_ms);
    }
    planner.purge();
    files
}

#[test]
fn files_come_by_time_then_path_and_once() {
    let mut planner = Planner::new(&config(&[]));
    let listing = [found("/b", 5), found("/c", 1), found("/a", 5)];
    assert_eq!(names(&epoch(&mut planner, &listing, Limits::default())), ["/c", "/a", "/b"]);
    assert!(epoch(&mut planner, &listing, Limits::default()).is_empty());
}

#[test]
fn limits_leave_one_file_at_least() {
    let sizes = || [10, 10, 10].into_iter();
    for (files, bytes, expected) in [
        (None, None, 3),
        (Some(2), None, 2),
        (Some(9), None, 3),
        (None, Some(20), 2),
        (None, Some(29), 2),
        (None, Some(1), 1),
        (Some(3), Some(10), 1),
    ] {
        assert_eq!(Limits { files, bytes }.fit(sizes()), expected, "{files:?} {bytes:?}");
    }
    assert_eq!(Limits::default().fit(std::iter::empty()), 0);
}

#[test]
fn a_listing_serves_later_epochs_until_its_rest_is_short() {
    let mut planner = Planner::new(&config(&[("max.files.per.trigger", "10")]));
    let limits = Limits { files: Some(10), bytes: None };
    let listing: Vec<_> = (0..32).map(|it| found(&format!("/{it:02}"), it)).collect();
    assert_eq!(epoch(&mut planner, &listing, limits).len(), 10);
    assert_eq!(planner.unread().len(), 22);
    assert_eq!(epoch(&mut planner, &[], limits).len(), 10, "no listing is looked at");
    assert_eq!(epoch(&mut planner, &[], limits).len(), 10);
    // Two are left: not below a fifth of ten.
    assert_eq!(planner.unread().len(), 2);
    assert_eq!(epoch(&mut planner, &[], limits).len(), 2);
    let mut planner = Planner::new(&config(&[("max.files.per.trigger", "10")]));
    assert_eq!(epoch(&mut planner, &listing[..11], limits).len(), 10);
    assert!(planner.is_empty(), "one is: it waits for the next listing");
    assert_eq!(names(&epoch(&mut planner, &listing[..12], limits)), ["/10", "/11"]);
}

#[test]
fn the_kept_rest_of_a_listing_is_bounded() {
    let mut planner = Planner::new(&config(&[("max.files.per.trigger", "1"), ("maxCachedFiles", "3")]));
    let listing: Vec<_> = (0..32).map(|it| found(&format!("/{it:02}"), it)).collect();
    epoch(&mut planner, &listing, Limits { files: Some(1), bytes: None });
    assert_eq!(planner.unread(), ["/01", "/02", "/03"].map(Path::new));
}

#[test]
fn files_older_than_the_age_are_ignored_but_not_at_first() {
    let mut planner = Planner::new(&config(&[("max.file.age", "1h")]));
    let listing = [found("/old", 0), found("/new", 3 * HOUR_MS)];
    assert_eq!(names(&epoch(&mut planner, &listing, Limits::default())), ["/old", "/new"]);
    let listing = [found("/old", 0), found("/late", HOUR_MS), found("/edge", 2 * HOUR_MS)];
    assert_eq!(names(&epoch(&mut planner, &listing, Limits::default())), ["/edge"]);
}

#[test]
fn latest_first_looks_again_each_time_and_knows_no_age() {
    let settings = [("latest.first", "true"), ("max.files.per.trigger", "1"), ("max.file.age", "1h")];
    let mut planner = Planner::new(&config(&settings));
    let limits = Limits { files: Some(1), bytes: None };
    let listing = [found("/a", 0), found("/b", 9 * HOUR_MS)];
    assert_eq!(names(&epoch(&mut planner, &listing, limits)), ["/b"]);
    let listing = [found("/a", 0), found("/b", 9 * HOUR_MS), found("/c", 5 * HOUR_MS)];
    assert_eq!(names(&epoch(&mut planner, &listing, limits)), ["/c"]);
    assert_eq!(names(&epoch(&mut planner, &listing, limits)), ["/a"]);
}

#[test]
fn a_file_may_be_known_by_its_name_alone() {
    let mut planner = Planner::new(&config(&[("fileNameOnly", "true")]));
    epoch(&mut planner, &[found("/one/a", 1)], Limits::default());
    let files = epoch(&mut planner, &[found("/two/a", 2), found("/two/b", 2)], Limits::default());
    assert_eq!(names(&files), ["/two/b"]);
}
