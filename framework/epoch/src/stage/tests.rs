use arrow_array::{Int64Array, StringArray};
use arrow_schema::{DataType, Field, Schema};
use tidegate_api::SystemClock;
use tidegate_storage::Location;
use tidegate_storage::object_store::memory::InMemory;

use super::*;
use crate::fault::Faults;

fn store(folder: &Path) -> Arc<Store> {
    std::fs::create_dir_all(folder.join(FOLDER)).unwrap();
    let clock = Arc::new(SystemClock::default());
    Arc::new(Store::new(Location::at(folder).unwrap(), clock, Faults::default()))
}

fn batch(from: i64, rows: i64) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("n", DataType::Int64, false), Field::new("text", DataType::Utf8, true)]);
    let texts = (from..from + rows).map(|it| (it % 3 != 0).then(|| format!("row {it}")));
    let columns: Vec<arrow_array::ArrayRef> =
        vec![Arc::new(Int64Array::from_iter_values(from..from + rows)), Arc::new(StringArray::from_iter(texts))];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn stage(store: &Arc<Store>, memory: usize, batches: &[RecordBatch]) -> Stage {
    let mut writer = StageWriter::new(store.clone(), 3, "3.1.0.0", memory);
    batches.iter().for_each(|it| writer.write(it).unwrap());
    writer.finish().unwrap()
}

fn rows(stage: &Stage) -> Vec<RecordBatch> {
    let mut reader = stage.read().unwrap();
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

#[test]
fn rows_come_back_from_memory_and_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let batches = [batch(0, 10), batch(10, 0), batch(10, 100_000).slice(5, 70_000), batch(7, 1)];
    let there = [0, 2, 3].map(|at: usize| batches[at].clone());
    let in_memory = stage(&store, usize::MAX, &batches);
    assert!(matches!(in_memory.held, Held::Memory(_)));
    let in_file = stage(&store, 100, &batches);
    assert_eq!((in_file.bytes, in_file.crc32), (in_memory.bytes, in_memory.crc32));
    for stage in [&in_memory, &in_file] {
        stage.check().unwrap();
        assert_eq!(rows(stage), there);
        assert_eq!(rows(stage), there, "it may be read again");
    }
    let path = folder.path().join(FOLDER).join("3.1.0.0");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), in_file.bytes);
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(in_file.bytes - 1).unwrap();
    assert!(in_file.check().unwrap_err().to_string().contains("the file is damaged"));
    let mut reader = in_file.read().unwrap();
    assert!((0..9).any(|_| reader.next().is_err()), "a cut is seen while reading too");
    drop(in_file);
    assert!(!path.exists(), "what is not staged goes with its last user");
}

#[test]
fn no_rows_are_no_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    for batches in [vec![], vec![batch(0, 0)]] {
        let stage = stage(&store, 0, &batches);
        assert_eq!(stage.bytes, 0);
        assert!(rows(&stage).is_empty());
    }
    assert_eq!(std::fs::read_dir(folder.path().join(FOLDER)).unwrap().count(), 0);
}

#[tokio::test]
async fn a_file_goes_to_an_object_store_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let url = Location::at(folder.path()).unwrap().url().clone();
    let location = Location::of_store(url, Arc::new(InMemory::new()), Default::default());
    let store = Arc::new(Store::new(location, Arc::new(SystemClock::default()), Faults::default()));
    let key = format!("{FOLDER}/3.1.0.0");
    let batches = [batch(0, 500_000), batch(7, 9)];
    let mut kept = stage(&store, 0, &batches);
    assert!(kept.bytes > 1 << 20, "{}", kept.bytes);
    let Held::File(file) = &mut kept.held else { panic!("in memory") };
    let path = file.path().to_owned();
    store.publish(&key, file, 3).await.unwrap();
    let (bytes, crc32) = (kept.bytes, kept.crc32);
    drop(kept);
    assert!(!path.exists(), "the object is there now");
    let held = Held::File(store.fetch(&key).await.unwrap().unwrap());
    let back = Stage { held, bytes, crc32 };
    back.check().unwrap();
    assert_eq!(rows(&back), batches);
    assert!(store.fetch(&format!("{FOLDER}/4.1.0.0")).await.unwrap().is_none());
}

#[test]
fn names_tell_epoch_and_attempt() {
    assert_eq!(parse_name("12.3.4.0"), Some((12, "3.4".parse().unwrap())));
    assert_eq!(parse_name("12.3"), None);
    assert_eq!(parse_name("other"), None);
}
