//! Tests of reading pipeline files: every rule of keys, and every refusal.

use std::time::Duration;

use tidegate_api::{ConfigDef, OutputMode, Secret, Settings};
use tidegate_engine::{SinkInput, ValueFormat, ValueMode};
use tidegate_epoch::{Trigger, WatermarkPolicy};

use super::{Defaults, Loaded, Node, Pipeline, References, Secrets, flatten, load, overlay, parse_assignment};

mod files;
mod keys;
mod refusals;
mod values;

/// Keys of an imaginary source.
#[derive(ConfigDef)]
struct SourceConfig {
    /// What to read.
    #[config(synonym = "subscribe")]
    topics: Option<String>,
    /// Where to begin.
    #[config(default = "latest")]
    starting_offsets: String,
    /// A number.
    port: Option<u16>,
    /// Never shown.
    token: Option<Secret>,
    /// For the client.
    #[config(prefix = "kafka.")]
    kafka: tidegate_api::PassThrough,
}

/// Keys of an imaginary sink.
#[derive(ConfigDef)]
struct SinkConfig {
    /// Where to write.
    path: Option<String>,
}

mod connectors {
    //! A source and a sink that only have keys.

    use std::sync::Arc;

    use tidegate_api::config::ConfigKey;
    use tidegate_api::registry::{DynSinkConnector, DynSourceConnector};
    use tidegate_api::{
        ConfigDef, ConfigIssue, ConnectorContext, DynSink, DynSource, Error, Guarantee, Payload, Registry, Result,
        SchemaRef, Settings, SinkSpec, async_trait,
    };

    use super::{SinkConfig, SourceConfig};

    struct Source;
    struct Sink;

    #[async_trait]
    impl DynSourceConnector for Source {
        fn name(&self) -> &'static str {
            "stream"
        }
        fn keys(&self) -> &'static [ConfigKey] {
            SourceConfig::keys()
        }
        fn validate(&self, settings: &Settings) -> Vec<ConfigIssue> {
            SourceConfig::parse(settings).err().unwrap_or_default()
        }
        fn payload(&self, _: &Settings, _: Option<&SchemaRef>) -> Option<Payload> {
            None
        }
        fn value_format(&self, _: &Settings) -> Option<&'static str> {
            None
        }
        async fn build(&self, _: &Settings, _: &ConnectorContext) -> Result<Box<dyn DynSource>> {
            Err(Error::internal("not for running"))
        }
    }

    #[async_trait]
    impl DynSinkConnector for Sink {
        fn name(&self) -> &'static str {
            "out"
        }
        fn keys(&self) -> &'static [ConfigKey] {
            SinkConfig::keys()
        }
        fn validate(&self, settings: &Settings, _: Option<&SinkSpec>) -> Vec<ConfigIssue> {
            SinkConfig::parse(settings).err().unwrap_or_default()
        }
        fn guarantee(&self, settings: &Settings) -> Option<Guarantee> {
            let idempotent = settings.get("path") == Some("idempotent");
            Some(if idempotent { Guarantee::Idempotent } else { Guarantee::AtLeastOnce })
        }
        async fn build(&self, _: &Settings, _: &SinkSpec, _: &ConnectorContext) -> Result<Box<dyn DynSink>> {
            Err(Error::internal("not for running"))
        }
    }

    pub(super) fn registry() -> Registry {
        Registry::new().with_source(Arc::new(Source)).with_sink(Arc::new(Sink))
    }
}

fn defaults() -> Defaults {
    Defaults { name: "job".to_owned(), data_dir: None, sink: "out" }
}

fn settings(yaml: &str) -> Settings {
    flatten(&Node::parse(yaml, "yaml").unwrap()).unwrap()
}

fn load_settings(settings: &Settings) -> Loaded {
    load("job.yaml", settings, &defaults(), &connectors::registry(), &References::Keep)
}

/// Reads a pipeline that must be right.
fn right(yaml: &str) -> Pipeline {
    let loaded = load_settings(&settings(yaml));
    assert_eq!(loaded.problems, [], "{yaml}");
    loaded.pipeline.expect("no problem, so a pipeline")
}

/// The problems of a pipeline, as they are shown.
fn problems(yaml: &str) -> Vec<String> {
    load_settings(&settings(yaml)).problems.iter().map(ToString::to_string).collect()
}

/// Asserts that there is exactly one problem and that it holds all of `words`.
#[track_caller]
fn one_problem(yaml: &str, words: &[&str]) {
    let found = problems(yaml);
    let [only] = found.as_slice() else { panic!("expected one problem, found {found:#?}") };
    for word in words {
        assert!(only.contains(word), "'{only}' does not hold '{word}'");
    }
}

const SMALL: &str = "
sources: { s: { connector.class: stream, topics: t, schema: 'v INT' } }
sql: SELECT v FROM s
";

/// `SMALL` with lines added at the top level.
fn small_with(lines: &str) -> String {
    format!("{SMALL}{lines}\n")
}
