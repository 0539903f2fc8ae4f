use std::fs;

use super::format::parse_id;
use super::*;

const CONF: &str = r#"{"spark.sql.streaming.multipleWatermarkPolicy":"max","spark.sql.shuffle.partitions":"1"}"#;
const ID: &str = "e41911da-47c9-4560-a95d-e2ab97f2bc85";

fn offsets(watermark_ms: i64, lines: &[&str]) -> String {
    let head =
        format!("v1\n{{\"batchWatermarkMs\":{watermark_ms},\"batchTimestampMs\":1719343083746,\"conf\":{CONF}}}");
    lines.iter().fold(head, |text, line| text + "\n" + line)
}

fn commit(next_ms: i64) -> String {
    format!("v1\n{{\"nextBatchWatermarkMs\":{next_ms}}}")
}

/// Writes a checkpoint of these files, with Spark's checksums beside them.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("offsets")).unwrap();
    fs::write(folder.path().join("metadata"), format!("{{\"id\":\"{ID}\"}}")).unwrap();
    for (key, text) in files {
        let path = folder.path().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let crc = format!(".{}.crc", path.file_name().unwrap().to_str().unwrap());
        fs::write(path.with_file_name(crc), "crc").unwrap();
    }
    folder
}

fn stands(files: &[(&str, &str)], pending: Option<Pending>) -> Result<Stopped> {
    Stopped::read(folder(files).path(), pending)
}

fn refused(files: &[(&str, &str)], pending: Option<Pending>) -> String {
    stands(files, pending).unwrap_err().to_string()
}

fn positions(found: &Stopped) -> Vec<(&str, Option<&str>)> {
    found.sources.iter().map(|(name, at)| (name.as_str(), at.as_deref())).collect()
}

#[test]
fn a_committed_epoch_is_gone_on_from() {
    let (first, second) = (offsets(0, &["{\"t\":{\"0\":5}}", "-"]), offsets(7000, &["{\"t\":{\"0\":9}}", "-"]));
    let files: &[(&str, &str)] = &[
        ("offsets/11", &first),
        ("commits/11", &commit(7000)),
        ("offsets/12", &second),
        ("commits/12", &commit(9000)),
    ];
    for pending in [None, Some(Pending::Done), Some(Pending::Redo)] {
        let found = stands(files, pending).unwrap();
        assert_eq!((found.last, found.next, found.pending), (Some(12), 13, None));
        assert_eq!((found.watermark_ms, found.watermark_policy), (Some(9000), WatermarkPolicy::Max));
        assert_eq!(positions(&found), [("0", Some("{\"t\":{\"0\":9}}")), ("1", None)]);
        assert!(!found.has_state);
    }
}

#[test]
fn a_pending_epoch_is_what_the_user_says() {
    let (first, second) =
        (offsets(0, &["{\"t\":{\"0\":5}}"]), offsets(7000, &["{\"t\":{\"0\":9}}", "{\"logOffset\":0}"]));
    let files: &[(&str, &str)] =
        &[("offsets/11", &first), ("commits/11", &commit(7000)), ("offsets/12", &second), ("state/0/0/1.delta", "x")];
    let said = refused(files, None);
    for word in ["epoch 12 is pending", "no commits/12", "--pending done", "--pending redo", ID, "_spark_metadata/12"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let done = stands(files, Some(Pending::Done)).unwrap();
    assert_eq!((done.last, done.next, done.pending), (Some(12), 13, Some((12, Pending::Done))));
    assert_eq!(positions(&done), [("0", Some("{\"t\":{\"0\":9}}")), ("1", Some("{\"logOffset\":0}"))]);
    let redo = stands(files, Some(Pending::Redo)).unwrap();
    assert_eq!((redo.last, redo.next, redo.pending), (Some(11), 12, Some((12, Pending::Redo))));
    assert_eq!(positions(&redo), [("0", Some("{\"t\":{\"0\":5}}")), ("1", None)], "the second began in epoch 12");
    assert_eq!((done.watermark_ms, redo.watermark_ms), (Some(7000), Some(7000)));
    assert!(redo.has_state);
    let first = stands(&[("offsets/0", &offsets(0, &["{\"t\":{\"0\":5}}"]))], Some(Pending::Redo)).unwrap();
    assert_eq!((first.last, first.next, positions(&first)), (None, 0, vec![("0", None)]));
    assert_eq!(first.watermark_ms, None, "0 is Spark's word for none");
}

#[test]
fn older_and_newer_forms_are_read() {
    let found = stands(&[("offsets/0", "v1\n\n{\"t\":{\"0\":5}}"), ("commits/0", "v1\n{}")], None).unwrap();
    assert_eq!((found.watermark_ms, found.watermark_policy), (None, WatermarkPolicy::Min));
    let named = "v2\r\n{\"batchWatermarkMs\":5}\r\nclicks:{\"t\":{\"0\":5}}\r\nusers:-";
    let commit = "v2\n{\"nextBatchWatermarkMs\":6,\"stateUniqueIds\":{\"0\":[[\"a\"]]}}";
    let found = stands(&[("offsets/0", named), ("commits/0", commit)], None).unwrap();
    assert_eq!(positions(&found), [("clicks", Some("{\"t\":{\"0\":5}}")), ("users", None)]);
    assert_eq!(found.watermark_ms, Some(6));
    assert!(stands(&[("offsets/0", &offsets(0, &["1"])), ("commits/0", "v1")], None).is_ok());
}

#[test]
fn what_is_no_checkpoint_of_spark_is_refused() {
    let nowhere = Stopped::read(Path::new("/nonexistent/ck"), None).unwrap_err().to_string();
    assert_eq!(nowhere.split(": found").next().unwrap(), "spark checkpoint /nonexistent/ck");
    assert!(nowhere.contains("found no folder 'offsets'"), "{nowhere}");
    assert!(refused(&[], None).contains("it holds no epoch"));
    let ours = refused(&[("offsets/0", &offsets(0, &["1"])), ("state/version", "2")], None);
    assert!(ours.contains("was written by tidegate"), "{ours}");
}

#[test]
fn lost_files_are_found() {
    let one = offsets(0, &["1"]);
    let said = refused(&[("offsets/3", &one), ("commits/4", &commit(0))], None);
    assert!(said.contains("commits/4 is there and offsets/4 is not"), "{said}");
    let said = refused(&[("offsets/3", &one), ("offsets/4", &one)], Some(Pending::Redo));
    assert!(said.contains("offsets/3 and offsets/4 are there without commits"), "{said}");
    // A checksum, a temporary file and a number that nobody counts to are no epochs.
    let files: &[(&str, &str)] = &[
        ("offsets/3", &one),
        ("commits/3", &commit(0)),
        ("offsets/.4.tmp", ""),
        ("offsets/04", ""),
        ("offsets/18446744073709551615", ""),
    ];
    assert_eq!(stands(files, None).unwrap().next, 4);
}

#[test]
fn damaged_files_are_named() {
    let cases = [
        ("", "offsets/3: the file is empty"),
        ("v1", "offsets/3: the file is cut short: expected the epoch's metadata"),
        ("v3\n{}\n1", "offsets/3: the file begins with 'v3'"),
        ("v1\n{\n1", "offsets/3: line 2 is not the epoch's metadata"),
        ("v1\n[]\n1", "offsets/3: line 2 is not the epoch's metadata"),
        ("v1\n{\"batchWatermarkMs\":\"x\"}\n1", "offsets/3: line 2 is not the epoch's metadata"),
        ("v1\n{}", "offsets/3: the file is cut short: expected a line for each source"),
        ("v1\n{}\n1\n\n2", "offsets/3: line 4 is empty"),
        ("v2\n{}\n1", "offsets/3: line 3: found '1', expected <source>:<position>"),
        ("v2\n{}\na:1\na:2", "offsets/3: line 4: source 'a' is there twice"),
        ("v2\n{}\n../a:1", "offsets/3: line 3: found '../a', expected the name of a source"),
        ("v1\n{\"conf\":{\"spark.sql.streaming.multipleWatermarkPolicy\":\"mid\"}}\n1", "watermark policy 'mid'"),
    ];
    for (text, expected) in cases {
        let said = refused(&[("offsets/3", text), ("commits/3", &commit(0))], None);
        assert!(said.contains(expected), "{text}: {said}");
    }
    for (text, expected) in [
        ("", "the file is empty"),
        ("x\n{}", "the file begins with 'x'"),
        ("v1\n{\"nextBatchWatermarkMs\":", "line 2 is not"),
    ] {
        let said = refused(&[("offsets/3", &offsets(0, &["1"])), ("commits/3", text)], None);
        assert!(said.contains(&format!("commits/3: {expected}")), "{text}: {said}");
    }
}

#[test]
fn any_cut_or_changed_byte_is_an_answer_and_no_panic() {
    let seed = std::env::var("TIDEGATE_TEST_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(20_261_121_u64);
    println!("seed {seed}");
    let mut random = seed;
    let whole = offsets(5, &["{\"t\":{\"0\":5}}", "-"]).into_bytes();
    let named = b"v2\n{\"batchWatermarkMs\":5}\na:{\"t\":{\"0\":5}}\nb:-".to_vec();
    let outcome = commit(6).into_bytes();
    for bytes in [&whole, &named, &outcome] {
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            changed[at] = (random >> 33) as u8;
            for bytes in [&bytes[..at], &changed] {
                let _ = (parse_offsets(bytes), parse_commit(bytes), parse_id(bytes));
            }
        }
    }
}
