use std::path::PathBuf;
use std::sync::Arc;

use tidegate_api::{ConfigDef, MetadataLog, Settings};
use tidegate_testkit::MemoryLog;

use super::*;

fn config(path: &str) -> FileConfig {
    FileConfig::parse(&[("path", path)].into_iter().collect::<Settings>()).unwrap()
}

fn line(path: &str, entry: i64) -> String {
    format!("{{\"path\":\"{path}\",\"timestamp\":{},\"batchId\":{entry}}}", 1000 + entry)
}

/// A log as Spark writes it: a file an entry, compacted each `each`.
async fn spark(entries: i64, each: i64) -> Arc<MemoryLog> {
    let log = Arc::new(MemoryLog::default());
    for n in 0..entries {
        let compacts = (n + 1) % each == 0;
        let first = if compacts { 0 } else { n };
        let lines: Vec<_> = (first..=n).map(|it| line(&format!("file:///in%20dir/{it}%20ü.json"), it)).collect();
        let key = if compacts { format!("{n}.compact") } else { n.to_string() };
        log.put_new(&key, format!("v1\n{}", lines.join("\n")).as_bytes()).await.unwrap();
        log.put_new(&format!(".{key}.crc"), b"crc").await.unwrap();
    }
    log
}

async fn taken(path: &str, offset: &str, log: Arc<MemoryLog>) -> Result<Imported<FileOffset>> {
    let offset = (!offset.is_empty()).then(|| offset.to_owned());
    let mut found = SparkPosition::new(offset, log);
    found.data_dir = PathBuf::from("/");
    import(&config(path), &found).await
}

async fn refused(path: &str, offset: &str, log: Arc<MemoryLog>) -> String {
    taken(path, offset, log).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_log_becomes_one_that_this_source_goes_on_with() {
    for (entries, each) in [(0, 10), (1, 10), (7, 3), (9, 3), (10, 10), (12, 10), (23, 7), (40, 1)] {
        let log = spark(entries, each).await;
        let offset = format!("{{\"logOffset\":{}}}", entries - 1);
        let found = taken("in dir", &offset, log).await.unwrap();
        assert_eq!(found.offset, FileOffset::after(entries - 1));
        let ours = Arc::new(MemoryLog::default());
        for (key, bytes) in &found.log {
            assert!(ours.put_new(key, bytes).await.unwrap());
        }
        let (mut log, lines) = FileLog::open(ours.clone()).await.unwrap();
        assert_eq!((log.last(), lines.len() as i64), (entries - 1, entries), "{entries} each {each}");
        for (at, line) in (0..).zip(&lines) {
            assert_eq!(path_of(line).unwrap(), PathBuf::from(format!("/in dir/{at} ü.json")));
            assert_eq!(log.get(at).await.unwrap(), std::slice::from_ref(line));
        }
        // Two compactions later all is there still.
        for n in entries..entries + 20 {
            let new = LogLine { path: format!("file:///in%20dir/{n}.json"), timestamp: 9000 + n, entry: n };
            log.add(&[new]).await.unwrap();
        }
        assert_eq!(FileLog::open(ours).await.unwrap().1.len() as i64, entries + 20);
    }
}

#[tokio::test]
async fn the_log_may_be_ahead_of_the_position() {
    let found = taken("/in dir/*", "{\"logOffset\":3}", spark(6, 10).await).await.unwrap();
    assert_eq!((found.offset, found.log.len()), (FileOffset::after(3), 6));
    let found = taken("in dir", "3", spark(6, 10).await).await.unwrap();
    assert_eq!(found.offset, FileOffset::after(3), "as Spark 2.0 wrote it");
    let found = taken("in dir", "", spark(1, 10).await).await.unwrap();
    assert_eq!((found.offset, found.log.len()), (FileOffset::after(-1), 1), "before the first epoch");
}

#[tokio::test]
async fn what_is_not_a_file_sources_is_refused() {
    for text in ["{\"t\":{\"0\":1}}", "-2", "{\"logOffset\":-2}", "{\"logOffset\":\"x\"}", "[", "1.5", "null"] {
        let said = refused("in dir", text, spark(3, 10).await).await;
        assert!(said.contains(&format!("'{text}' is not the position of a file source")), "{said}");
    }
    let said = refused("in dir", "{\"logOffset\":9}", spark(3, 10).await).await;
    assert!(said.contains("the query stands at entry 9, the log ends at 2"), "{said}");
    let inside = "{\"logOffset\":1,\"file\":0,\"byte\":7}";
    assert!(refused("in dir", inside, spark(3, 10).await).await.contains("is not the position"));
}

#[tokio::test]
async fn another_path_is_refused_unless_names_alone_count() {
    let said = refused("/other", "2", spark(3, 10).await).await;
    assert!(
        said.contains("path '/other' holds none of the files that Spark has read, such as /in dir/0 ü.json"),
        "{said}"
    );
    let settings: Settings = [("path", "/other"), ("file.name.only", "true")].into_iter().collect();
    let found = SparkPosition::new(Some("2".to_owned()), spark(3, 10).await);
    assert!(import(&FileConfig::parse(&settings).unwrap(), &found).await.is_ok());
}

#[tokio::test]
async fn damaged_logs_are_named() {
    let cases: [(&str, &str, &str); 8] = [
        ("1", "", "1 begins with ''"),
        ("1", "v2\n", "1 begins with 'v2'"),
        ("1", "v1\n{", "line 2 of 1 is not a file"),
        ("1", "v1\n{\"path\":\"file:///in%20dir/x\"}", "line 2 of 1 is not a file"),
        (
            "1",
            "v1\n{\"path\":\"hdfs://h/x\",\"timestamp\":1,\"batchId\":1}",
            "'hdfs://h/x' in entry 1 is not a local file",
        ),
        (
            "1",
            "v1\n{\"path\":\"file:///in%20dir/x\",\"timestamp\":1,\"batchId\":7}",
            "is of entry 7, the log ends at 1",
        ),
        ("3", "v1\n", "entry 1 is missing"),
        ("4294967295.compact", "", "4294967295.compact begins with ''"),
    ];
    for (key, text, expected) in cases {
        let log = spark(1, 10).await;
        log.remove("0").await.unwrap();
        let first = format!("v1\n{}", line("file:///elsewhere/0", 0));
        log.put_new("0", first.as_bytes()).await.unwrap();
        log.put_new(key, text.as_bytes()).await.unwrap();
        let said = refused("in dir", "0", log).await;
        assert!(said.contains(expected), "{key} {text}: {said}");
    }
    let log = spark(1, 10).await;
    log.put_new("1", &[0xff, 0xfe]).await.unwrap();
    assert!(refused("in dir", "0", log).await.contains("1 is not text"));
    let log = spark(1, 10).await;
    log.put_new("9223372036854775807.compact", b"v1").await.unwrap();
    assert!(taken("in dir", "0", log).await.is_ok(), "no log of files has such a number");
}
