//! The command line itself: help, plugins, validate, explain.

use crate::process::Folder;

const GOOD: &str = "
sources: { ticks: { connector.class: rate, watermark: { column: timestamp, delay: 1 minute } } }
sinks:
  screen:
    connector.class: console
    sql: SELECT window.start AS start, count(*) AS n FROM ticks GROUP BY window(timestamp, '5 seconds')
    output.mode: update
";

#[test]
fn help_and_version_go_to_stdout() {
    let folder = Folder::new();
    let help = folder.run(&["--help"]);
    help.says(0, &[]);
    for command in ["run", "validate", "explain", "test", "plugins", "checkpoint"] {
        assert!(help.stdout.contains(command), "{}", help.stdout);
    }
    // What is not there yet is not listed.
    assert!(!help.stdout.contains("serve"), "{}", help.stdout);
    assert!(folder.run(&["--version"]).stdout.starts_with("tidegate "));
}

#[test]
fn a_wrong_command_line_is_code_2() {
    let folder = Folder::new();
    folder.run(&[]).says(2, &["Usage"]);
    folder.run(&["vaildate", "x.yaml"]).says(2, &["vaildate", "'validate'"]);
    folder.run(&["run"]).says(2, &["FILE"]);
    folder.run(&["run", "x.yaml", "--set", "trigger"]).says(2, &["expected key=value"]);
    folder.run(&["run", "x.yaml", "--progress", "loud"]).says(2, &["loud", "json"]);
    folder.run(&["plugins", "--log", "tidegate=["]).says(2, &["log filter"]);
}

#[test]
fn plugins_lists_connectors_with_their_keys() {
    let folder = Folder::new();
    let text = folder.run(&["plugins"]).stdout;
    let sources = ["source cassandra", "source file", "source kafka", "source rate", "source socket"];
    for line in sources.into_iter().chain(["sink cassandra", "sink console", "sink delta"]) {
        assert!(text.lines().any(|it| it == line), "{line} in {text}");
    }
    assert!(text.contains("rows.per.second (a positive whole number, default 1): Rows produced per second"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&folder.run(&["plugins", "--json"]).stdout).unwrap();
    let rate = json.as_array().unwrap().iter().find(|it| it["class"] == "rate").unwrap();
    assert_eq!((&rate["type"], &rate["keys"][0]["name"]), (&"source".into(), &"rows.per.second".into()));
}

#[test]
fn validate_touches_nothing() {
    let folder = Folder::new();
    folder.write("good.yaml", GOOD);
    let ran = folder.run(&["validate", "good.yaml"]);
    ran.says(0, &[]);
    assert_eq!(ran.stdout, "good.yaml: query 'good' is valid\n");
    assert_eq!(ran.stderr, "");
    assert!(!folder.path("data").exists());
    // A broker that is not there, a variable that is not set: not looked for.
    folder.write(
        "kafka.yaml",
        "sources: { k: { connector.class: kafka, topics: t, kafka: { bootstrap.servers: 'nowhere:1' },
    poll.timeout.ms: '${env:TIDEGATE_NOT_SET}' } }\nsql: SELECT value FROM k",
    );
    folder.run(&["validate", "kafka.yaml"]).says(0, &[]);
}

#[test]
fn validate_tells_all_problems_of_all_files() {
    let folder = Folder::new();
    folder.write("good.yaml", GOOD);
    folder.write("one.yaml", &format!("{GOOD}trigerr: once\nmax.rows.per.epoch: few\n"));
    folder.write("two.json", "{\"sources\": ");
    let ran = folder.run(&["validate", "good.yaml", "one.yaml", "two.json", "none.yaml"]);
    ran.says(
        2,
        &[
            "error: one.yaml: trigerr: unknown key; did you mean 'trigger'?",
            "error: one.yaml: max.rows.per.epoch: 'few' is not",
            "error: two.json: is not JSON",
            "error: none.yaml: can't be read",
        ],
    );
    assert_eq!(ran.stderr.lines().count(), 4, "{}", ran.stderr);
    assert_eq!(ran.stdout, "good.yaml: query 'good' is valid\n");
}

#[test]
fn set_replaces_a_key_of_a_file() {
    let folder = Folder::new();
    folder.write("good.yaml", GOOD);
    folder.run(&["validate", "good.yaml", "--set", "sinks.screen.outputMode=complete"]).says(0, &[]);
    let ran = folder.run(&["validate", "good.yaml", "--set", "sinks.screen.output.mode=sideways"]);
    ran.says(2, &["good.yaml: sinks.screen.output.mode:", "sideways", "append, update or complete"]);
}

#[test]
fn explain_shows_the_plan() {
    let folder = Folder::new();
    folder.write("good.yaml", GOOD);
    let ran = folder.run(&["explain", "good.yaml"]);
    ran.says(0, &[]);
    for word in ["ticks", "rate", "screen", "console", "update", "watermark"] {
        assert!(ran.stdout.contains(word), "'{word}' in {}", ran.stdout);
    }
    assert!(!folder.path("data").exists());
}
