use std::sync::Arc;
use std::time::Duration;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use tidegate_api::{
    AttemptId, Changes, CommitOutcome, DynSource, Epoch, ErrorKind, OffsetJson, OutputMode, QueryId, ReadLimit, Sink,
    SinkWriter, Source, WriterId,
};

use super::*;

fn schema() -> SchemaRef {
    let (n, word) = (Field::new("n", DataType::Int64, true), Field::new("word", DataType::Utf8, true));
    Arc::new(Schema::new(vec![n, word]))
}

fn rows(from: i64, to: i64) -> RecordBatch {
    let words = StringArray::from_iter_values((from..to).map(|it| format!("w{it}")));
    let numbers = Int64Array::from_iter_values(from..to);
    RecordBatch::try_new(schema(), vec![Arc::new(numbers), Arc::new(words)]).unwrap()
}

fn spec(mode: OutputMode) -> SinkSpec {
    SinkSpec { schema: schema(), mode, keys: Vec::new(), changes: Changes::Append, tasks: 1 }
}

fn epoch(number: u64, n: u32) -> Epoch {
    let attempt = AttemptId { generation: 1, n };
    Epoch { number, attempt, time_ms: 0, write_time_us: 0, watermark_ms: None }
}

fn writer() -> WriterId {
    WriterId { query_id: QueryId("q".into()), sink: "out".into(), shard: None }
}

async fn write(sink: &MemorySink, epoch: &Epoch, batch: RecordBatch) -> CommitOutcome {
    let mut writer = Sink::writer(sink, epoch, 0).await.unwrap();
    SinkWriter::write(&mut writer, batch).await.unwrap();
    let part = SinkWriter::prepare(writer).await.unwrap();
    Sink::commit(sink, epoch, vec![part], &[]).await.unwrap()
}

#[tokio::test]
async fn a_limit_takes_whole_adds_and_at_least_one() {
    let input = MemoryInput::new(schema());
    for (from, to) in [(0, 3), (3, 3), (3, 5), (5, 6)] {
        input.add(if from == to { Vec::new() } else { vec![rows(from, to)] }).unwrap();
    }
    let mut source = input.source();
    let mut ends = Vec::new();
    let limit = ReadLimit { max_rows: Some(2), ..ReadLimit::NONE };
    let mut at = 0;
    while at < 4 {
        at = Source::plan(&mut source, &at, &limit).await.unwrap().end;
        ends.push(at);
    }
    // Three rows at once pass the limit alone; the empty add goes along with what still fits.
    assert_eq!(ends, [1, 3, 4]);
    let planned = Source::plan(&mut source, &0, &ReadLimit::NONE).await.unwrap();
    assert_eq!((planned.end, planned.latest, planned.rows), (4, 4, Some(6)));
}

#[tokio::test]
async fn an_add_without_rows_moves_the_offset_which_is_a_json_number() {
    let input = MemoryInput::new(schema());
    let mut source: Box<dyn DynSource> = Box::new(input.source());
    let start = source.initial_offset().await.unwrap();
    input.add(Vec::new()).unwrap();
    let planned = source.plan(&start, &ReadLimit::NONE).await.unwrap();
    assert_eq!(planned.end, OffsetJson(serde_json::json!(1)));
    assert_eq!(planned.rows, Some(0));
}

#[tokio::test]
async fn a_source_that_waits_wakes_when_rows_are_added() {
    let input = MemoryInput::new(schema());
    let mut source = input.source();
    let waiting = tokio::spawn(async move { Source::ready(&mut source, &0).await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    input.add(Vec::new()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_frozen_source_sees_nothing_more() {
    let input = MemoryInput::new(schema());
    input.add(vec![rows(0, 1)]).unwrap();
    let mut source = input.source();
    assert_eq!(Source::freeze(&mut source, &0).await.unwrap(), 1);
    input.add(vec![rows(1, 2)]).unwrap();
    assert_eq!(Source::plan(&mut source, &0, &ReadLimit::NONE).await.unwrap().end, 1);
    assert_eq!(Source::plan(&mut source, &1, &ReadLimit::NONE).await.unwrap().end, 1);
}

#[tokio::test]
async fn rows_of_other_columns_and_lost_offsets_are_refused() {
    let input = MemoryInput::new(schema());
    let error = input.add(vec![rows(0, 1).project(&[1]).unwrap()]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    let error = Source::plan(&mut input.source(), &3, &ReadLimit::NONE).await.unwrap_err();
    assert!(error.to_string().contains("offset 3 is lost, there are 0 adds"), "{error}");
}

#[tokio::test]
async fn append_collects_and_complete_replaces() {
    let (table, whole) = (MemoryTable::new(), MemoryTable::new());
    let mut append = table.sink(&spec(OutputMode::Append));
    let mut complete = whole.sink(&spec(OutputMode::Complete));
    Sink::open(&mut append, &writer()).await.unwrap();
    Sink::open(&mut complete, &writer()).await.unwrap();
    for number in 0..3 {
        let from = number as i64 * 2;
        write(&append, &epoch(number, 0), rows(from, from + 2)).await;
        write(&complete, &epoch(number, 0), rows(from, from + 2)).await;
    }
    assert_eq!(table.rows(), [rows(0, 2), rows(2, 4), rows(4, 6)]);
    assert_eq!(table.rows_since(1), [rows(2, 4), rows(4, 6)]);
    assert_eq!(table.epoch_rows(1), Some(vec![rows(2, 4)]));
    assert_eq!((table.epoch_rows(3), table.last_epoch(), table.mark()), (None, Some(2), 3));
    assert_eq!(whole.rows(), [rows(4, 6)]);
    assert_eq!(whole.rows_since(3), []);
}

#[tokio::test]
async fn a_repeated_epoch_is_ignored_and_names_the_attempt() {
    let table = MemoryTable::new();
    let mut sink = table.sink(&spec(OutputMode::Update));
    Sink::open(&mut sink, &writer()).await.unwrap();
    assert_eq!(write(&sink, &epoch(0, 0), rows(0, 1)).await, CommitOutcome::Committed);
    let first = Some(AttemptId { generation: 1, n: 0 });
    let again = write(&sink, &epoch(0, 1), rows(5, 9)).await;
    assert_eq!(again, CommitOutcome::AlreadyCommitted { attempt: first });
    assert_eq!(table.rows(), [rows(0, 1)]);
    let mut next = table.sink(&spec(OutputMode::Update));
    assert_eq!(Sink::open(&mut next, &writer()).await.unwrap(), first.map(|it| (0, it)));
    let part = Sink::writer(&sink, &epoch(1, 0), 0).await.unwrap();
    let part = SinkWriter::prepare(part).await.unwrap();
    let error = Sink::commit(&sink, &epoch(1, 0), vec![part], &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn the_connectors_share_their_data_over_restarts() {
    let memory = MemoryConnectors::new();
    let registry = memory.register(Registry::new());
    let (source, sink) = (registry.find_source("memory").unwrap(), registry.find_sink("MEMORY").unwrap());
    let mut ctx = ConnectorContext::new("words", "input", QueryId("q".into()), Arc::new(MemoryLog::default()));
    let error = source.build(&Settings::default(), &ctx).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("memory source input: key 'schema' is missing"), "{error}");
    ctx.schema = Some(schema());
    source.build(&Settings::default(), &ctx).await.unwrap();
    memory.input("words", "input").unwrap().add(vec![rows(0, 2)]).unwrap();
    let mut again = source.build(&Settings::default(), &ctx).await.unwrap();
    let end = again.plan(&OffsetJson(serde_json::json!(0)), &ReadLimit::NONE).await.unwrap().end;
    assert_eq!(end.to_string(), "1");
    let issues = source.validate(&Settings::from_iter([("path", "x")]));
    assert!(issues[0].to_string().contains("path: unknown key"), "{issues:?}");
    ctx.schema = Some(Arc::new(Schema::empty()));
    assert!(source.build(&Settings::default(), &ctx).await.err().unwrap().to_string().contains("other columns"));
    sink.build(&Settings::default(), &spec(OutputMode::Append), &ctx).await.unwrap();
    assert_eq!(memory.tables("words").len(), 1);
    assert!(memory.table("words", "input").is_some() && memory.table("others", "input").is_none());
}
