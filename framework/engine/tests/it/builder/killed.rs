//! A process that is killed inside the function of `foreach_batch`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use tidegate_builder::{Error, Registry, Result, Session, Trigger, ValueFormat};

use crate::harness::as_json;

/// Set where this test runs as the process that is killed: its folder.
const FOLDER: &str = "TIDEGATE_TEST_KILLED_FOLDER";
const NAME: &str = "builder::killed::an_interrupted_batch_comes_again_with_its_number_and_its_rows";
/// The epoch in which the first process dies.
const DEADLY: u64 = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_batch_comes_again_with_its_number_and_its_rows() {
    if let Ok(folder) = std::env::var(FOLDER) {
        number_batches(Path::new(&folder)).await.unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("input")).unwrap();
    let add = |at: i64| {
        let rows = format!("{{\"n\": {at}}}\n{{\"n\": {}}}\n", at * 10);
        fs::write(folder.path().join(format!("input/{at}.jsonl")), rows).unwrap();
    };
    (1..4).for_each(add);
    let first = process(folder.path());
    assert_eq!(first.signal(), Some(9), "{first}");
    // More input does not make the batch another one.
    add(4);
    let second = process(folder.path());
    assert!(second.success(), "{second}");
    let seen = fs::read_to_string(folder.path().join("seen")).unwrap();
    // In the order of their text.
    let n = |at: i64| format!(r#"{{"n":{}}} {{"n":{at}}}"#, at * 10);
    let expected = [
        format!("0 false {}", n(1)),
        format!("1 false {}", n(2)),
        format!("1 true {}", n(2)),
        format!("2 false {}", n(3)),
        format!("3 false {}", n(4)),
    ];
    assert_eq!(seen.lines().collect::<Vec<_>>(), expected);
}

/// Runs this test as a process of its own, which numbers batches.
fn process(folder: &Path) -> ExitStatus {
    let mut call = Command::new(std::env::current_exe().unwrap());
    call.args([NAME, "--exact", "--nocapture"]).env(FOLDER, folder).status().unwrap()
}

/// Writes what it sees of each epoch; the first process kills itself in the middle of a batch, when it has written.
async fn number_batches(folder: &Path) -> Result<()> {
    let session = Session::builder(tidegate_file::register(Registry::new()))
        .checkpoints(&folder.join("checkpoints").display().to_string())
        .build();
    let numbers = session
        .read_stream("numbers")
        .connector("file")
        .option("path", folder.join("input").display())
        .option("max.files.per.trigger", 1)
        .value_format(ValueFormat::Json)
        .schema("n BIGINT")
        .load()?;
    let (seen, died) = (folder.join("seen"), folder.join("died"));
    let query = numbers.write_stream().query_name("numbers").trigger(Trigger::AvailableNow);
    let query = query.foreach_batch(move |epoch, rows| {
        let (seen, died) = (seen.clone(), died.clone());
        async move {
            let wrong = |e: std::io::Error| Error::internal("the list of batches").because(e);
            let replayed = rows.replayed;
            let rows = as_json(&rows.collect().await?).join(" ");
            let mut list = OpenOptions::new().create(true).append(true).open(seen).map_err(wrong)?;
            writeln!(list, "{} {replayed} {rows}", epoch.number).map_err(wrong)?;
            if epoch.number == DEADLY && !died.exists() {
                fs::write(died, "").map_err(wrong)?;
                let _ = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
            }
            Ok(())
        }
    });
    query.start().await?.await_termination().await
}
