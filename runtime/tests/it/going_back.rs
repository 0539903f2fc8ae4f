//! `tidegate checkpoint rewind` and `import`: what they say and refuse, over folders of files.

use crate::process::Folder;

const JOB: &str = "
name: numbers
checkpoint.location: ./ours
trigger: available-now
sources: { lines: { connector.class: file, path: ./in, max.files.per.trigger: 1, value.format: json, schema: 'n BIGINT' } }
sinks: { screen: { connector.class: console, sql: 'SELECT n FROM lines' } }
";

fn folder_with(files: usize) -> Folder {
    let folder = Folder::new();
    folder.write("job.yaml", JOB);
    put(&folder, 0..files);
    folder
}

fn put(folder: &Folder, files: std::ops::Range<usize>) {
    for at in files {
        folder.write(&format!("in/{at}.json"), &format!("{{\"n\": {}}}\n", 100 + at));
    }
}

/// The numbers that a run shows.
fn shown(folder: &Folder) -> Vec<u32> {
    let ran = folder.run(&["run", "job.yaml"]);
    ran.says(0, &[]);
    let cells = ran.stdout.split(['|', '\n']).filter_map(|it| it.trim().parse().ok());
    cells.filter(|it| (100..200).contains(it)).collect()
}

/// A checkpoint of Spark over these files, as it writes it: one file an epoch.
fn spark(folder: &Folder, files: usize) {
    folder.write("spark/metadata", "{\"id\":\"e41911da-47c9-4560-a95d-e2ab97f2bc85\"}");
    for at in 0..files {
        let path = folder.path(&format!("in/{at}.json"));
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        let ms = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let line = format!("{{\"path\":\"file://{}\",\"timestamp\":{ms},\"batchId\":{at}}}", path.display());
        folder.write(&format!("spark/sources/0/{at}"), &format!("v1\n{line}"));
        let offset =
            format!("v1\n{{\"batchWatermarkMs\":0,\"batchTimestampMs\":1,\"conf\":{{}}}}\n{{\"logOffset\":{at}}}");
        folder.write(&format!("spark/offsets/{at}"), &offset);
        folder.write(&format!("spark/commits/{at}"), "v1\n{\"nextBatchWatermarkMs\":0}");
    }
}

const IMPORT: [&str; 5] = ["checkpoint", "import", "job.yaml", "--from", "spark"];

#[test]
fn a_query_goes_back_and_says_what_it_did() {
    let folder = folder_with(4);
    assert_eq!(shown(&folder), [100, 101, 102, 103]);
    let rewind = ["checkpoint", "rewind", "job.yaml", "--to", "1", "--sinks"];
    let done = folder.run(&[&rewind[..], &["replay"]].concat());
    done.says(0, &[]);
    for line in
        ["went back  from epoch 3 to epoch 1, sinks: replay", "next epoch 4", "sink       screen: gets its rows"]
    {
        assert!(done.stdout.contains(line), "{line}: {}", done.stdout);
    }
    let look = folder.run(&["checkpoint", "show", "ours"]).stdout;
    assert!(look.contains("go back to 0-1\n"), "{look}");
    assert_eq!(shown(&folder), [102, 103], "epochs 2 and 3 again");
    let done = folder.run(&[&rewind[..], &["keep", "--json"]].concat());
    let said: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&said["to"], &said["mode"], &said["sinks"][0]["rows"]), (&1.into(), &"keep".into(), &"kept".into()));
    assert!(shown(&folder).is_empty());
    put(&folder, 4..5);
    assert_eq!(shown(&folder), [104]);
    folder.run(&["checkpoint", "verify", "ours"]).says(0, &[]);
}

#[test]
fn what_can_not_be_gone_back_to_is_refused() {
    let folder = folder_with(3);
    let rewind = |args: &[&str]| folder.run(&[&["checkpoint", "rewind", "job.yaml"], args].concat());
    rewind(&["--to", "1", "--sinks", "keep"]).says(1, &["there is no checkpoint at", "/ours"]);
    assert!(!folder.path("ours").exists());
    shown(&folder);
    rewind(&["--to", "7", "--sinks", "keep"]).says(1, &["'numbers' was not rewound", "expected one from 0 to 2"]);
    rewind(&["--to", "1", "--sinks", "both"]).says(2, &["sinks 'both': expected keep or replay"]);
    rewind(&["--to", "-1", "--sinks", "keep"]).says(2, &["--to"]);
    rewind(&["--to", "1"]).says(2, &["--sinks"]);
    rewind(&["--to", "1", "--sinks", "keep", "--set", "trigerr=once"])
        .says(2, &["unknown key; did you mean 'trigger'?"]);
    put(&folder, 3..4);
    assert_eq!(shown(&folder), [103], "nothing was changed");
}

#[test]
fn a_copy_goes_back_as_a_query_of_its_own() {
    let folder = folder_with(3);
    shown(&folder);
    let mut copying = std::process::Command::new("cp");
    copying.arg("-a").arg(folder.path("ours")).arg(folder.path("copy"));
    assert!(copying.status().unwrap().success());
    let copy =
        ["checkpoint", "rewind", "job.yaml", "--to", "0", "--sinks", "replay", "--set", "checkpoint.location=copy"];
    folder.run(&copy).says(1, &["it is a copy", "adopt it"]);
    folder.run(&[&copy[..], &["--adopt"]].concat()).says(0, &[]);
    let ran = folder.run(&["run", "job.yaml", "--set", "checkpoint.location=copy"]);
    ran.says(0, &[]);
    assert!(!ran.stdout.contains("100") && ran.stdout.contains("101") && ran.stdout.contains("102"), "{}", ran.stdout);
    put(&folder, 3..4);
    assert_eq!(shown(&folder), [103], "the one that it is a copy of stays where it is");
}

#[test]
fn a_query_begins_where_spark_stopped() {
    let folder = folder_with(13);
    spark(&folder, 12);
    let done = folder.run(&IMPORT);
    done.says(0, &[]);
    for line in
        ["goes on    after Spark's epoch 11 in ", "next epoch 12", "lines (source 0 of Spark's) at {\"logOffset\":11}"]
    {
        assert!(done.stdout.contains(line), "{line}: {}", done.stdout);
    }
    let look = folder.run(&["checkpoint", "show", "ours"]);
    look.says(0, &[]);
    assert!(look.stdout.contains("branch     epoch 12: goes on after Spark's epoch 11 in "), "{}", look.stdout);
    assert!(look.stdout.contains("source     lines (sources/0) at {\"logOffset\":11}"), "{}", look.stdout);
    folder.run(&["checkpoint", "verify", "ours"]).says(0, &[]);
    assert_eq!(shown(&folder), [112]);
    folder.run(&IMPORT).says(1, &["did not begin where Spark stopped", "it has been used"]);
    // Past the next compaction of the log.
    put(&folder, 13..24);
    assert_eq!(shown(&folder).len(), 11);
    folder.run(&["checkpoint", "verify", "ours"]).says(0, &[]);
}

#[test]
fn a_pending_epoch_is_what_the_user_says() {
    for (said, rows) in [("done", vec![]), ("redo", vec![102])] {
        let folder = folder_with(3);
        spark(&folder, 3);
        std::fs::remove_file(folder.path("spark/commits/2")).unwrap();
        folder.run(&IMPORT).says(2, &["job.yaml: --from: spark checkpoint", "epoch 2 is pending", "--pending redo"]);
        assert!(!folder.path("ours").exists());
        let done = folder.run(&[&IMPORT[..], &["--pending", said, "--json"]].concat());
        done.says(0, &[]);
        let report: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
        assert_eq!(report["next"], if said == "done" { 3 } else { 2 });
        assert_eq!(shown(&folder), rows);
    }
}

#[test]
fn what_can_not_be_taken_over_is_refused_and_nothing_is_made() {
    let folder = folder_with(3);
    spark(&folder, 2);
    let import = |more: &[&str]| folder.run(&[&IMPORT[..], more].concat());
    let from = |place: &str| folder.run(&["checkpoint", "import", "job.yaml", "--from", place]);
    from("nowhere").says(2, &["nowhere: found no folder 'offsets'"]);
    from("in").says(2, &["found no folder 'offsets'"]);
    import(&["--set", "checkpoint.location=spark"]).says(2, &["which is the checkpoint of Spark's query"]);
    import(&["--source", "line=0"]).says(2, &["'line' is no stream of the file; did you mean 'lines'?"]);
    import(&["--source", "lines=1"]).says(2, &["Spark has no source '1', only 0 at {\"logOffset\":1}"]);
    import(&["--source", "lines"]).says(2, &["expected key=value"]);
    import(&["--pending", "perhaps"]).says(2, &["perhaps", "done"]);
    import(&["--set", "sources.lines.path=./elsewhere"]).says(2, &["sources.lines: source 0 of Spark's", "holds none"]);
    folder.write(
        "rate.yaml",
        "checkpoint.location: ours\nsources: { ticks: { connector.class: rate } }\nsql: SELECT * FROM ticks",
    );
    let rate = folder.run(&["checkpoint", "import", "rate.yaml", "--from", "spark"]);
    rate.says(2, &["sources.ticks: source 0 of Spark's at {\"logOffset\":1}", "kind 'rate' can't go on"]);
    let counted = "sinks.screen.sql=SELECT n, count(*) AS c FROM lines GROUP BY n";
    let counts = ["--set", counted, "--set", "sinks.screen.output.mode=update"];
    import(&counts).says(2, &["--without-state: is needed: this query keeps rows of earlier epochs"]);
    folder.write("spark/offsets/1", "v1\n{}\n{\"t\":{\"0\":7}}");
    import(&[]).says(
        2,
        &["source 0 of Spark's at {\"t\":{\"0\":7}}: '{\"t\":{\"0\":7}}' is not the position of a file source"],
    );
    folder.write("spark/offsets/1", "v1\n{}\n{\"logOffset\":7}");
    import(&[]).says(2, &["the query stands at entry 7, the log ends at 1"]);
    folder.write("spark/offsets/1", "v7\n{}");
    import(&[]).says(2, &["offsets/1: the file begins with 'v7', expected v1 or v2"]);
    assert!(!folder.path("ours").exists());
    spark(&folder, 2);
    folder.write("spark/state/0/0/1.delta", "x");
    import(&[]).says(2, &["Spark's query has kept rows in its state"]);
    import(&[&counts[..], &["--without-state"]].concat()).says(0, &[]);
}
