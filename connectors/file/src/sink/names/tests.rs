use super::*;
use tidegate_api::QueryId;

fn writer(sink: &str) -> WriterHash {
    WriterHash::of(&WriterId { query_id: QueryId("q".into()), sink: sink.into(), shard: None })
}

#[test]
fn names_say_the_epoch_and_never_repeat() {
    let attempt = AttemptId { generation: 3, n: 1 };
    let epoch = Epoch { number: 17, attempt, time_ms: 0, write_time_us: 0, watermark_ms: None };
    let mut names = FileNames::new(writer("a"), &epoch, 2, 0xbeef, "parquet");
    let (first, second) = (names.next(), names.next());
    assert!(first.ends_with("-17-2-0-0000beef.3.1.parquet"), "{first}");
    assert_ne!(first, second);
    assert_eq!(writer("a").parse(&first), Some((17, attempt)));
    assert_eq!(writer("b").parse(&first), None);
    for other in ["part-00000-aaaa-c000.snappy.parquet", "part-", "", "_staging"] {
        assert_eq!(writer("a").parse(other), None, "{other}");
    }
    assert_eq!(writer("a").parse(&first.replace(".3.1.", ".")), None);
}

#[test]
fn epochs_are_gathered_by_writer() {
    let mut epochs = Epochs::default();
    let name = |sink: &str, epoch: u64| format!("part-{}-{epoch}-0-0-00000000.1.2.json", writer(sink));
    for (sink, epoch) in [("a", 4), ("b", 9), ("a", 5), ("a", 4)] {
        epochs.add(writer("a"), &name(sink, epoch));
    }
    assert_eq!(epochs.0.keys().copied().collect::<Vec<_>>(), [4, 5]);
    assert_eq!(epochs.last().map(|it| it.epoch), Some(5));
    assert!(epochs.name(4, &name("a", 4)) && !epochs.name(5, &name("a", 4)));
}
