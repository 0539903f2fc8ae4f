//! `tidegate checkpoint`, and the flags and keys that have to do with owning one.

use crate::process::{Folder, send, wait_until};

const JOB: &str = "
name: numbers
checkpoint.location: ./checkpoint
min.epochs.to.retain: 2
sources: { lines: { connector.class: file, path: ./in, value.format: json, schema: 'n BIGINT' } }
sinks: { screen: { connector.class: console, sql: 'SELECT n FROM lines' } }
";

fn folder_with_epochs(epochs: usize) -> Folder {
    let folder = Folder::new();
    folder.write("job.yaml", JOB);
    for at in 0..epochs {
        folder.write(&format!("in/{at}.json"), &format!("{{\"n\": {at}}}\n"));
        folder.run(&["run", "job.yaml", "--trigger", "available-now"]).says(0, &[]);
    }
    folder
}

#[test]
fn show_and_verify_tell_what_is_there() {
    let folder = folder_with_epochs(3);
    for what in ["job.yaml", "checkpoint"] {
        let shown = folder.run(&["checkpoint", "show", what]);
        shown.says(0, &[]);
        for line in ["newest     epoch 2 (attempt 2.0), decided", "go back to 0-2", "source     lines (sources/0) at "]
        {
            assert!(shown.stdout.contains(line), "{line}: {}", shown.stdout);
        }
        assert!(shown.stdout.contains("owner      ended: run "), "{}", shown.stdout);
        let verified = folder.run(&["checkpoint", "verify", what]);
        verified.says(0, &[]);
        assert!(verified.stdout.ends_with("/checkpoint: nothing is wrong\n"), "{}", verified.stdout);
    }
    let shown = folder.run(&["checkpoint", "show", "--json", "job.yaml"]).stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["newest"]["epoch"], &shown["owner"]["state"]), (&2.into(), &"ended".into()));
    assert_eq!(shown["epochs"].as_array().unwrap().len(), 3);
}

#[test]
fn verify_names_files_and_is_code_1() {
    let folder = folder_with_epochs(2);
    folder.write("checkpoint/offsets/1", "v1\n{}\n-");
    std::fs::remove_file(folder.path("checkpoint/metadata")).unwrap();
    let ran = folder.run(&["checkpoint", "verify", "checkpoint"]);
    ran.says(1, &[]);
    for line in ["metadata: is missing: every checkpoint has one", "offsets/1: does not say what", "3 findings"] {
        assert!(ran.stdout.contains(line), "{line}: {}", ran.stdout);
    }
    let json = folder.run(&["checkpoint", "verify", "checkpoint", "--json"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[2]["file"], "offsets/1");
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let folder = Folder::new();
    folder.write("empty/x", "");
    folder.run(&["checkpoint", "show", "nowhere"]).says(2, &["nowhere", "expected a pipeline file or a checkpoint"]);
    folder.run(&["checkpoint", "verify", "empty"]).says(1, &["there is no checkpoint at"]);
    folder.run(&["checkpoint", "show", "empty", "--set", "name=x"]).says(2, &["found 'name' for a location"]);
    folder.run(&["checkpoint"]).says(2, &["Usage"]);
}

#[test]
fn an_owner_is_named_and_can_be_taken_over() {
    let folder = folder_with_epochs(1);
    let mut first = folder.spawn(&["run", "job.yaml"]);
    let running = || folder.run(&["checkpoint", "show", "checkpoint"]).stdout.contains("owner      running: run ");
    wait_until("the owner", running);
    send(&first, "STOP");
    let named = format!("(process {} on ", first.id());
    let once = ["run", "job.yaml", "--trigger", "available-now"];
    folder.run(&once).says(1, &["is in use by run ", &named, "take over"]);
    folder.write("in/1.json", "{\"n\": 1}\n");
    folder.run(&[&once[..], &["--take-over"]].concat()).says(0, &[]);
    folder.write("in/2.json", "{\"n\": 2}\n");
    send(&first, "CONT");
    // It finds the other owner at its next epoch, and stops without a row.
    let ended = first.wait().unwrap();
    assert_eq!(ended.code(), Some(1));
    let ran = folder.run(&once);
    ran.says(0, &[]);
    assert!(ran.stdout.contains('2'), "{}", ran.stdout);
    folder.run(&["checkpoint", "verify", "checkpoint"]).says(0, &[]);
}

#[test]
fn a_copy_is_refused_until_it_is_adopted() {
    let folder = folder_with_epochs(2);
    let mut copying = std::process::Command::new("cp");
    copying.arg("-a").arg(folder.path("checkpoint")).arg(folder.path("copy"));
    assert!(copying.status().unwrap().success());
    folder.write("in/2.json", "{\"n\": 2}\n");
    let copy = ["run", "job.yaml", "--trigger", "available-now", "--set", "checkpoint.location=copy"];
    folder.run(&copy).says(1, &["it is a copy", "adopt it"]);
    let adopted = folder.run(&[&copy[..], &["--adopt"]].concat());
    adopted.says(0, &[]);
    assert!(adopted.stdout.contains('2'), "it goes on where the copy stood: {}", adopted.stdout);
    let id = |place: &str| std::fs::read_to_string(folder.path(place).join("metadata")).unwrap();
    let minted = id("copy");
    assert_ne!(minted, id("checkpoint"));
    folder.run(&[&copy[..], &["--adopt"]].concat()).says(0, &[]);
    assert_eq!(id("copy"), minted, "once");
    folder.run(&["checkpoint", "verify", "copy"]).says(0, &[]);
}

#[test]
fn the_keys_of_a_checkpoint_are_checked_and_shown() {
    let folder = Folder::new();
    folder.write("job.yaml", JOB);
    let set = |pairs: &[&'static str]| {
        let mut args = vec!["explain", "job.yaml"];
        pairs.iter().for_each(|it| args.extend(["--set", *it]));
        folder.run(&args)
    };
    let plan = set(&["checkpoint.interval=2 seconds"]);
    plan.says(0, &[]);
    assert!(plan.stdout.contains("/checkpoint, at most one epoch each 2s\n"), "{}", plan.stdout);
    let remote = ["checkpoint.location=s3://bucket/a", "storage.aws_region=eu-1", "lease.timeout=20 seconds"];
    let plan = set(&remote);
    plan.says(0, &[]);
    let line = "checkpoint: s3://bucket/a, owned by a lease of 20s, at most one epoch each 500ms\n";
    assert!(plan.stdout.contains(line), "{}", plan.stdout);
    set(&["lease.timeout=1 millisecond"]).says(2, &["lease.timeout: found '1 millisecond', expected at least 1s"]);
    set(&["storage.aws_region=x"]).says(2, &["a local folder takes no storage settings, found 'aws_region'"]);
    set(&["checkpoint.location=s3://bucket/a", "storage.regoin=x"]).says(2, &["'regoin' is not known"]);
    set(&["checkpoint.intervall=1"]).says(2, &["did you mean 'checkpoint.interval'?"]);
}
