use std::sync::Mutex;

use super::*;
use arrow_array::RecordBatch;
use serde_json::json;
use tidegate_api::{
    AttemptId, CommitOutcome, Guarantee, Rejected, Sink, SinkWriter, SourcePosition, SystemClock, async_trait,
};
use tidegate_storage::Location;

/// Remembers the parts of its commits.
struct Grouped {
    name: &'static str,
    group: Option<&'static str>,
    shows: Option<AttemptId>,
    seen: Arc<Mutex<Vec<String>>>,
}

struct Nothing(&'static str);

#[async_trait]
impl SinkWriter for Nothing {
    type Committable = String;
    async fn write(&mut self, _batch: RecordBatch) -> Result<Vec<Rejected>> {
        Ok(Vec::new())
    }
    async fn prepare(self) -> Result<String> {
        Ok(self.0.to_owned())
    }
}

#[async_trait]
impl Sink for Grouped {
    type Committable = String;
    type Writer = Nothing;
    fn guarantee(&self) -> Guarantee {
        Guarantee::Transactional
    }
    fn commit_group(&self) -> Option<String> {
        self.group.map(str::to_owned)
    }
    async fn open(&mut self, _writer: &WriterId) -> Result<Option<(u64, AttemptId)>> {
        Ok(None)
    }
    async fn writer(&self, _epoch: &Epoch, _task: u32) -> Result<Nothing> {
        Ok(Nothing(self.name))
    }
    async fn commit(&self, _epoch: &Epoch, parts: Vec<String>, _: &[SourcePosition]) -> Result<CommitOutcome> {
        self.seen.lock().unwrap().push(format!("{}: {}", self.name, parts.join(" ")));
        Ok(self.shows.map_or(CommitOutcome::Committed, |it| CommitOutcome::AlreadyCommitted { attempt: Some(it) }))
    }
    fn describe(&self) -> String {
        self.name.to_owned()
    }
}

type Spec = (&'static str, Option<&'static str>, Option<&'static str>);

/// Commits an epoch by attempt 2.0; gives the attempt chosen and the calls.
async fn commit(specs: &[Spec]) -> (Result<AttemptId>, Vec<String>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let part = |(name, group, shows): &Spec| SinkPart {
        name: (*name).into(),
        sink: Box::new(Grouped { name, group: *group, shows: shows.map(|it| it.parse().unwrap()), seen: seen.clone() }),
        mode: OutputMode::Append,
        best_effort: false,
    };
    let folder = Location::at(&std::env::temp_dir()).unwrap();
    let store = Arc::new(Store::new(folder, Arc::new(SystemClock::default()), Faults::default()));
    let mut sinks = Sinks::new(specs.iter().map(part).collect(), Errors::default(), store).unwrap();
    let attempt = "2.0".parse().unwrap();
    let epoch = Epoch { number: 1, attempt, time_ms: 0, write_time_us: 0, watermark_ms: None };
    let outputs = sinks.outputs(&epoch).await.unwrap();
    let mut delivery = sinks.prepare(&epoch, outputs).await.unwrap();
    let chosen = loop {
        match sinks.commit(&epoch, &mut delivery, &[]).await {
            Ok(Some(other)) => delivery.accepted.push(other),
            Ok(None) => break Ok(delivery.accepted.iter().copied().fold(attempt, AttemptId::min)),
            Err(e) => break Err(e),
        }
    };
    let seen = seen.lock().unwrap().clone();
    (chosen, seen)
}

#[tokio::test]
async fn a_group_is_committed_by_one_call_on_its_first() {
    let specs = [("a", Some("k"), None), ("b", None, None), ("c", Some("k"), None), ("d", Some("other"), None)];
    let (chosen, seen) = commit(&specs).await;
    assert_eq!(chosen.unwrap().to_string(), "2.0");
    assert_eq!(seen, ["a: a c", "b: b", "d: d"]);
}

#[tokio::test]
async fn of_several_attempts_the_first_is_chosen() {
    let (chosen, _) = commit(&[("a", None, None), ("b", None, Some("1.3")), ("c", None, Some("1.1"))]).await;
    assert_eq!(chosen.unwrap().to_string(), "1.1");
}

#[tokio::test]
async fn a_later_attempt_means_another_owner() {
    let (chosen, seen) = commit(&[("a", None, Some("3.0")), ("b", None, None)]).await;
    assert_eq!(chosen.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(seen.len(), 1, "the others are left alone");
}

#[tokio::test]
async fn collected_rows_come_by_sink() {
    use arrow_schema::Schema;
    let (mut outputs, rows) = Outputs::collecting(2);
    let empty = RecordBatch::new_empty(Arc::new(Schema::empty()));
    outputs.write(1, empty).await.unwrap();
    assert_eq!(rows.take().iter().map(Vec::len).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(rows.take().iter().map(Vec::len).collect::<Vec<_>>(), [0, 0]);
    let text = outputs.write(2, RecordBatch::new_empty(Arc::new(Schema::empty()))).await.unwrap_err().to_string();
    assert_eq!(text, "rows for sink number 2 of 2");
    assert_eq!(json!(outputs.len()), 2);
}
