//! Values: what each key of the query becomes, defaults, references.

use std::io::Write;
use std::path::Path;

use super::*;

#[test]
fn everything_has_a_default() {
    let spec = right(SMALL).spec;
    assert_eq!(spec.name, "job");
    assert_eq!(spec.options.checkpoint.local(), Some(std::path::absolute("data/checkpoints/job").unwrap().as_path()));
    assert_eq!(spec.options.trigger, Trigger::Default);
    assert_eq!(spec.options.shutdown_timeout, Duration::from_secs(30));
    assert!(spec.options.no_data_epochs);
    let [sink] = spec.sinks.as_slice() else { panic!("one sink") };
    assert_eq!((sink.name.as_str(), sink.connector.as_str(), sink.mode), ("sink", "out", OutputMode::Append));
    assert!(matches!(&sink.input, SinkInput::Sql(sql) if sql == "SELECT v FROM s"));
    assert_eq!(spec.sources[0].mode, ValueMode::Permissive);
}

#[test]
fn every_option_arrives() {
    let spec = right(&small_with(
        "name: my query
checkpoint.location: file:///tmp/c
trigger: 10 seconds
on.end: flush
watermark.policy: max
no.data.epochs: false
watermark.max.ahead: 1 hour
target.latency: 500 ms
emit.on.watermark: same-epoch
max.rows.per.epoch: 10
max.bytes.per.epoch: 20
min.epochs.to.retain: 3
shutdown.timeout: 5 seconds
stage.outputs: false
state.memory: 64 MiB
state.spill.dir: /tmp/spill
tasks.max: 2
update.mode: extended
count.distinct: exact
chained.aggregates: retract
watermark.on.add: follow
exactly.once.support: requested
output.mode: complete
sources.s.value.format: json
sources.s.value.mode: FAILFAST
sources.s.static: true",
    ))
    .spec;
    assert_eq!(spec.name, "my query");
    let options = spec.options;
    assert_eq!(options.checkpoint.local(), Some(Path::new("/tmp/c")));
    assert_eq!(options.trigger, Trigger::Interval(Duration::from_secs(10)));
    assert!(options.flush_on_end);
    assert_eq!(options.watermark_policy, WatermarkPolicy::Max);
    assert!(options.emit_in_same_epoch && options.follow_when_added);
    assert!(options.extensions.update_mode && options.extensions.count_distinct);
    assert!(options.extensions.chained_aggregates);
    assert_eq!(options.target_latency, Some(Duration::from_millis(500)));
    assert_eq!(options.max_ahead, Some(Duration::from_secs(3600)));
    assert!(!options.no_data_epochs && !options.stage_outputs);
    assert_eq!(options.state_memory, Some(64 << 20));
    assert_eq!(options.state_spill_dir.as_deref(), Some(Path::new("/tmp/spill")));
    assert_eq!((options.max_rows_per_epoch, options.max_bytes_per_epoch), (Some(10), Some(20)));
    assert_eq!((options.min_epochs_to_retain, options.tasks_max), (3, 2));
    assert_eq!(options.shutdown_timeout, Duration::from_secs(5));
    assert_eq!(spec.sinks[0].mode, OutputMode::Complete);
    assert_eq!((spec.sources[0].format, spec.sources[0].mode), (Some(ValueFormat::Json), ValueMode::Fail));
    assert!(spec.sources[0].is_static);
}

#[test]
fn a_checkpoint_lies_below_the_data_dir_by_name() {
    let spec = right(&small_with("data.dir: /d\nname: ../ü b.c")).spec;
    assert_eq!(spec.options.checkpoint.local(), Some(Path::new("/d/checkpoints/%2E.%2F%C3%BC%20b.c")));
    let with_flag = Defaults { data_dir: Some("/e".into()), ..defaults() };
    let from_file = settings(&small_with("data.dir: /d"));
    let loaded = load("f", &from_file, &with_flag, &connectors::registry(), &References::Keep);
    assert_eq!(loaded.pipeline.unwrap().spec.options.checkpoint.local(), Some(Path::new("/e/checkpoints/job")));
}

#[test]
fn one_sink_may_have_its_sql_at_the_top_level() {
    let spec = right(&small_with("sinks: { out: { connector.class: out, path: p } }\noutput.mode: update")).spec;
    assert_eq!((spec.sinks[0].name.as_str(), spec.sinks[0].mode), ("out", OutputMode::Update));
    assert!(matches!(&spec.sinks[0].input, SinkInput::Sql(sql) if sql == "SELECT v FROM s"));
}

#[test]
fn the_sink_of_late_rows_stands_beside_the_query_s_own() {
    for own in ["", "sinks.out: { connector.class: out }\n"] {
        let spec = right(&small_with(&format!("late.rows.sink: late\n{own}sinks.late.connector.class: out"))).spec;
        let late: Vec<_> = spec.sinks.iter().map(|it| matches!(it.input, SinkInput::LateRows)).collect();
        let names: Vec<_> = spec.sinks.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(late, names.iter().map(|it| *it == "late").collect::<Vec<_>>());
        assert_eq!(late.len(), 2);
    }
}

#[test]
fn several_sinks_each_say_what_they_get() {
    let spec = right(
        "
sources: { s: { connector.class: stream } }
sinks:
  a: { connector.class: out, from: s, best.effort: true }
  b: { connector.class: out, sql: SELECT 1 }
",
    )
    .spec;
    assert!(spec.sinks[0].best_effort && !spec.sinks[1].best_effort);
}

fn resolve(yaml: &str) -> (Loaded, Secrets) {
    let secrets = Secrets::default();
    let references = References::Resolve(secrets.clone());
    (load("job.yaml", &settings(yaml), &defaults(), &connectors::registry(), &references), secrets)
}

#[test]
fn references_are_resolved_when_asked_for_and_hidden_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = std::fs::File::create(dir.path().join("secrets.properties")).unwrap();
    writeln!(file, "# comment\nuser = ann\npassword=s3cret=42").unwrap();
    std::fs::write(dir.path().join("token"), "t0ken-from-dir\n").unwrap();
    let dir = dir.path().display();
    let yaml = small_with(&format!(
        "sources.s.kafka: {{ a: '${{file:{dir}/secrets.properties:password}}', b: 'x${{dir:{dir}:token}}y', c: '${{HOME}}' }}
sources.s.token: '${{env:CARGO_PKG_NAME}}'"
    ));
    let (loaded, secrets) = resolve(&yaml);
    assert_eq!(loaded.problems, []);
    let config = SourceConfig::parse(&loaded.pipeline.unwrap().spec.sources[0].settings).unwrap();
    assert_eq!(config.kafka["a"], "s3cret=42");
    assert_eq!(config.kafka["b"], "xt0ken-from-diry");
    assert_eq!(config.kafka["c"], "${HOME}");
    let shown = secrets.hide("bad value 's3cret=42' and xt0ken-from-diry").into_owned();
    assert!(!shown.contains("s3cret") && !shown.contains("t0ken"), "{shown}");
    assert!(shown.contains("${file:"), "{shown}");
    // Looking at a file resolves nothing.
    let kept = right(&yaml);
    assert_eq!(kept.spec.sources[0].settings.get("token"), Some("${env:CARGO_PKG_NAME}"));
}

#[test]
fn a_reference_to_nothing_is_told_by_its_text() {
    let problems = |value: &str| {
        let (loaded, _) = resolve(&small_with(&format!("sources.s.token: '{value}'")));
        loaded.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let missing = problems("${env:TIDEGATE_NO_SUCH_VARIABLE}");
    assert!(missing.contains("sources.s.token: ${env:TIDEGATE_NO_SUCH_VARIABLE}"), "{missing}");
    assert!(missing.contains("is not set"), "{missing}");
    assert!(problems("${file:/no/such/file:key}").contains("can't be read"));
    assert!(problems("${file:key}").contains("expected ${file:/path:key}"));
    assert!(problems("${dir:/tmp:../passwd}").contains("expected the name of a file"));
}

#[test]
fn a_reference_stands_in_for_any_kind_of_value_while_only_looking() {
    let pipeline =
        right(&small_with("trigger: '${env:T}'\nmax.rows.per.epoch: '${env:N}'\nsources.s.port: '${env:P}'"));
    assert_eq!(pipeline.spec.options.trigger, Trigger::Default);
}
