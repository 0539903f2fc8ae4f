//! States of more than their memory.

use arrow_array::StringArray;
use tidegate_api::ErrorKind;

use super::*;

/// Keys of text, closed by minute, so that a row weighs something.
fn texts() -> KeyedState {
    let fields = vec![
        Field::new("word", DataType::Utf8, false),
        Field::new("end", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("value", DataType::Int64, false),
    ];
    let layout = StateLayout { schema: Arc::new(Schema::new(fields)), ..layout(true) };
    KeyedState::new(layout).unwrap()
}

fn words(state: &KeyedState, epoch: i64, rows: impl Iterator<Item = i64>, value: i64) -> RecordBatch {
    let rows: Vec<i64> = rows.collect();
    let words = StringArray::from_iter_values(rows.iter().map(|it| format!("a word that is long enough {it}")));
    let ends = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|_| epoch / 10 * 60 * S));
    let values = Int64Array::from_iter_values(rows.iter().map(|it| it + value));
    RecordBatch::try_new(state.layout().schema.clone(), vec![Arc::new(words), Arc::new(ends), Arc::new(values)])
        .unwrap()
}

fn values(rows: &RecordBatch) -> Vec<i64> {
    rows.column(2).as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn a_state_of_many_times_its_memory_stays_within_it_and_answers_right() {
    const ROWS: i64 = 4000;
    let (mut state, mut plain, budget) = (texts(), texts(), Budget::new(200_000));
    for epoch in 0..60 {
        for store in [&mut state, &mut plain] {
            // A tenth of the rows of earlier epochs of the window are written again.
            let again = (0..epoch % 10 * ROWS).step_by(10).map(|it| epoch / 10 * 10 * ROWS + it);
            store.put(words(store, epoch, again, 1)).unwrap();
            store.put(words(store, epoch, (0..ROWS).map(|it| epoch * ROWS + it), 0)).unwrap();
            store.seal();
        }
        budget.keep(&mut state);
    }
    assert!(plain.held_bytes() > 60 * budget.limit, "{}", plain.held_bytes());
    assert!(state.disk_bytes() > 20 * budget.limit as u64, "{}", state.disk_bytes());
    assert!(state.memory_bytes() < plain.memory_bytes() / 2, "{} {}", state.memory_bytes(), plain.memory_bytes());
    assert_eq!(state.len(), plain.len());
    for epoch in [0, 25, 59] {
        let wanted = words(&state, epoch, (0..5 * ROWS).map(|it| epoch * ROWS - ROWS / 2 + it * 3 % 7919), 0);
        let found = state.matching(&wanted).unwrap().rows;
        assert!(found.num_rows() > 1000);
        assert_eq!(values(&found), values(&plain.matching(&wanted).unwrap().rows));
        assert_eq!(state.absent(&wanted).unwrap(), plain.absent(&wanted).unwrap());
    }
    assert_eq!(state.remove(&words(&state, 30, (30 * ROWS..32 * ROWS).step_by(2), 0)).unwrap(), ROWS as u64);
    plain.remove(&words(&plain, 30, (30 * ROWS..32 * ROWS).step_by(2), 0)).unwrap();
    assert_eq!(state.delta().unwrap(), plain.delta().unwrap());
    assert_eq!(state.all().unwrap(), plain.all().unwrap());
    state.seal();
    plain.seal();
    let gone = state.evict_through(3 * 60 * S).unwrap();
    assert_eq!(gone, plain.evict_through(3 * 60 * S).unwrap());
    let mut restored = texts();
    restored.load(&state.snapshot()).unwrap();
    plain.discard();
    assert_eq!(restored.all().unwrap(), plain.all().unwrap());
}

#[test]
fn a_closed_window_drops_its_files_unread() {
    let (mut state, budget) = (texts(), Budget::new(0));
    for epoch in 0..30 {
        state.put(words(&state, epoch, epoch * 100..epoch * 100 + 100, 0)).unwrap();
        state.seal();
        budget.keep(&mut state);
    }
    for file in budget.files() {
        std::fs::write(file, "damaged").unwrap();
    }
    let (rows, count) = state.evict_unless(60 * S, None).unwrap();
    assert_eq!((rows.num_rows(), count), (0, 2000));
    let before = budget.files().len();
    state.seal();
    assert!(budget.files().len() < before);
    assert_eq!(state.len(), 1000);
    state.evict_unless(i64::MAX, None).unwrap();
    state.seal();
    assert_eq!((budget.files().len(), state.disk_bytes(), state.held_bytes()), (0, 0, 0));
}

/// The rows are in the checkpoint; whoever asks for them learns that they can't be read, and nothing else is lost.
#[test]
fn what_can_not_be_read_is_said() {
    let (mut state, budget) = (state(true), Budget::new(0));
    state.put(batch(&[(1, Some(S), 10), (2, Some(S), 20)])).unwrap();
    state.seal();
    budget.keep(&mut state);
    let [file] = budget.files().try_into().unwrap();
    let whole = std::fs::read(&file).unwrap();
    state.put(batch(&[(3, Some(S), 30)])).unwrap();
    let wanted = batch(&[(1, Some(S), 0), (3, Some(S), 0)]);
    let middle = whole.len() / 2;
    let flipped: Vec<u8> = whole.iter().enumerate().map(|(at, it)| if at == middle { it ^ 1 } else { *it }).collect();
    let cases = [
        (Some(&flipped[..]), ErrorKind::Internal, "state on disk is damaged"),
        (Some(&whole[..whole.len() - 9]), ErrorKind::Transient, "can't read"),
        (None, ErrorKind::Transient, "can't read"),
    ];
    for (bytes, kind, text) in cases {
        match bytes {
            Some(bytes) => std::fs::write(&file, bytes).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let errors = [
            state.matching(&wanted).unwrap_err(),
            state.absent(&wanted).unwrap_err(),
            state.all().unwrap_err(),
            state.snapshot().batches().collect::<Result<Vec<_>>>().unwrap_err(),
            state.put(batch(&[(2, Some(S), 21)])).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(text) && error.to_string().contains(".arrow"), "{error}");
        }
        state.discard();
        state.put(batch(&[(3, Some(S), 30)])).unwrap();
    }
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(all(&state), [(1, Some(S), 10), (2, Some(S), 20), (3, Some(S), 30)]);
}

#[test]
fn what_can_not_be_written_stays_in_memory() {
    let (mut state, budget) = (state(true), Budget::new(0));
    state.put(batch(&[(1, Some(S), 10)])).unwrap();
    state.seal();
    let folder = budget.folder.path().join("spill");
    std::fs::remove_dir(&folder).unwrap();
    let error = budget.memory.keep_within(std::iter::once(&mut state)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    assert!(error.to_string().contains("operator 'count'"), "{error}");
    assert_eq!((all(&state), state.disk_bytes()), (vec![(1, Some(S), 10)], 0));
    std::fs::create_dir(&folder).unwrap();
    budget.keep(&mut state);
    assert_eq!((all(&state), state.held_bytes()), (vec![(1, Some(S), 10)], 0));
}

#[test]
fn a_start_sweeps_what_a_process_left_and_the_end_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("state/spill");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("7.arrow"), "of a process that was killed").unwrap();
    let memory = StateMemory::open(0, &place).unwrap();
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
    let mut state = state(true);
    state.put(batch(&[(1, Some(S), 10)])).unwrap();
    state.seal();
    memory.keep_within(std::iter::once(&mut state)).unwrap();
    let snapshot = state.snapshot();
    drop((state, memory));
    let kept: Vec<RecordBatch> = snapshot.batches().collect::<Result<_>>().unwrap();
    assert_eq!(rows(&kept), [(1, Some(S), 10)], "a snapshot that is being written keeps its files");
    drop(snapshot);
    assert!(!place.exists());
}

/// The chunks that were sealed first go first, those of all states together.
#[test]
fn the_oldest_go_first() {
    let (mut old, mut new, budget) = (texts(), texts(), Budget::new(100_000));
    for epoch in 0..4 {
        old.put(words(&old, epoch * 10, 0..500, 0)).unwrap();
        old.seal();
    }
    for _ in 0..100 {
        new.seal();
    }
    new.put(words(&new, 0, 0..500, 0)).unwrap();
    new.seal();
    budget.memory.keep_within([&mut old, &mut new].into_iter()).unwrap();
    assert!(old.disk_bytes() > 0 && new.disk_bytes() == 0, "{} {}", old.disk_bytes(), new.disk_bytes());
}
