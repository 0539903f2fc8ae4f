//! Finding, validating and building connectors by name.

use futures::{FutureExt, StreamExt, stream};
use tidegate_api::batch_sink::ForeachBatch;
use tidegate_api::prelude::*;

use crate::support::{context, epoch, numbers, spec};

/// Settings of both connectors.
#[derive(ConfigDef)]
struct SpanConfig {
    /// First number.
    #[config(default = "0")]
    from: i64,
    /// Last number.
    to: i64,
}

struct Span;

struct SpanSource(SpanConfig);

#[async_trait]
impl SourceConnector for Span {
    const NAME: &'static str = "span";
    type Config = SpanConfig;
    type Source = SpanSource;
    fn validate(config: &SpanConfig) -> Vec<ConfigIssue> {
        let wrong = config.from > config.to;
        wrong.then(|| ConfigIssue::new("from", "is after 'to'")).into_iter().collect()
    }
    async fn build(config: SpanConfig, _ctx: &ConnectorContext) -> Result<SpanSource> {
        Ok(SpanSource(config))
    }
}

#[async_trait]
impl Source for SpanSource {
    type Offset = i64;
    fn payload(&self) -> Payload {
        Payload::Rows(numbers(&[]).schema())
    }
    fn replay(&self) -> Replay {
        Replay::Deterministic
    }
    async fn initial_offset(&mut self) -> Result<i64> {
        Ok(self.0.from)
    }
    async fn plan(&mut self, _start: &i64, _limit: &ReadLimit) -> Result<Planned<i64>> {
        Ok(Planned { end: self.0.to, latest: self.0.to, rows: None, bytes: None, schema: None })
    }
    async fn read(&self, _split: Split<i64>) -> Result<BatchStream> {
        Ok(stream::empty().boxed())
    }
    fn describe(&self) -> String {
        "span".into()
    }
}

struct Drops;

#[async_trait]
impl BatchSinkConnector for Drops {
    const NAME: &'static str = "drops";
    type Config = SpanConfig;
    type Sink = ForeachBatch;
    fn accepts(_config: &SpanConfig, spec: &SinkSpec) -> Vec<ConfigIssue> {
        let wrong = spec.mode == OutputMode::Complete;
        wrong.then(|| ConfigIssue::new("output.mode", "complete is not for drops")).into_iter().collect()
    }
    async fn build(_config: SpanConfig, _spec: &SinkSpec, _ctx: &ConnectorContext) -> Result<ForeachBatch> {
        Ok(foreach_batch(|_, _| async { Ok(()) }.boxed()))
    }
}

fn registry() -> Registry {
    Registry::new().source::<Span>().batch_sink::<Drops>()
}

#[test]
fn an_unknown_class_lists_the_choices() {
    let registry = registry();
    assert!(registry.find_source("SPAN").is_ok());
    let error = registry.find_source("spam").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.to_string(), "connector.class 'spam' is not a source (span); did you mean 'span'?");
    let error = registry.find_sink("kafka").err().unwrap().to_string();
    assert_eq!(error, "connector.class 'kafka' is not a sink (drops)");
    assert_eq!(registry.sources().map(|it| it.name()).collect::<Vec<_>>(), ["span"]);
    assert_eq!(registry.sinks().map(|it| it.keys().len()).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn a_source_is_validated_before_it_is_built() {
    let span = registry().find_source("span").unwrap();
    assert!(span.validate(&Settings::from_iter([("to", "3")])).is_empty());
    let crossed = Settings::from_iter([("from", "4"), ("to", "3")]);
    assert_eq!(span.validate(&crossed), [ConfigIssue::new("from", "is after 'to'")]);
    let error = span.build(&crossed, &context()).await.err().unwrap();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Config, "from: is after 'to'".to_owned()));
    let error = span.build(&Settings::from_iter([("form", "4")]), &context()).await.err().unwrap();
    assert_eq!(error.to_string(), "to: missing; expected a whole number; form: unknown key; did you mean 'from'?");
    let mut source = span.build(&Settings::from_iter([("to", "3")]), &context()).await.unwrap();
    let start = source.initial_offset().await.unwrap();
    assert_eq!(source.plan(&start, &ReadLimit::NONE).await.unwrap().end, OffsetJson(3.into()));
}

#[tokio::test]
async fn a_batch_sink_is_a_whole_sink() {
    let drops = registry().find_sink("drops").unwrap();
    let settings = Settings::from_iter([("to", "3")]);
    let complete = SinkSpec { mode: OutputMode::Complete, ..spec() };
    assert!(drops.validate(&settings, None).is_empty());
    assert_eq!(drops.validate(&settings, Some(&complete))[0].key, "output.mode");
    assert!(drops.build(&settings, &complete, &context()).await.is_err());
    let sink = drops.build(&settings, &spec(), &context()).await.unwrap();
    let epoch = epoch(0, 1, 0);
    let mut writer = sink.writer(&epoch, 0).await.unwrap();
    writer.write(numbers(&[1, 2])).await.unwrap();
    let part = writer.prepare().await.unwrap();
    assert_eq!(sink.commit(&epoch, vec![part], &[]).await.unwrap(), CommitOutcome::Committed);
    assert_eq!((sink.guarantee(), sink.describe()), (Guarantee::AtLeastOnce, "drops".to_owned()));
}
