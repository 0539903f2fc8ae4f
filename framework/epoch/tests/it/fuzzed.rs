//! Whatever bytes the files of a checkpoint have: who reads them finds what was written, or says which file is wrong. Nobody
//! panics, and nobody finds something else.
//!
//! The corpus is real: files of a query with snapshots, failed attempts, logs, rejected rows, a branch and a pending epoch.
//! `TIDEGATE_TEST_FUZZ` sets the number of damaged checkpoints, `TIDEGATE_TEST_SEED` the seed.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use tidegate_api::{Error, ErrorKind, Result};
use tidegate_epoch::{Faults, SinkMode, inspect};

use crate::state::counts;
use crate::world::{World, crash, drain};

type Files = BTreeMap<String, Vec<u8>>;

/// What is done to a file.
#[derive(Clone, Debug)]
enum Damage {
    Cut(Index),
    Flip(Vec<(Index, u8)>),
    /// Bytes of another file, or of another place of this one, in the place of some.
    Splice {
        of: Index,
        from: Index,
        to: Index,
        length: usize,
    },
    Insert(Index, Vec<u8>),
    /// A whole other file in its place.
    Swap(Index),
}

impl Damage {
    /// The file with the damage; the same bytes if it does none.
    fn apply(&self, key: &str, files: &Files) -> Vec<u8> {
        let mut bytes = files[key].clone();
        let other = |index: &Index| files.values().nth(index.index(files.len())).unwrap();
        match self {
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Flip(flips) => {
                for (at, mask) in flips {
                    let at = at.index(bytes.len());
                    bytes[at] ^= mask;
                }
            }
            Self::Splice { of, from, to, length } => {
                let other = other(of);
                if !other.is_empty() {
                    let from = from.index(other.len());
                    let piece = &other[from..other.len().min(from + length)];
                    let to = to.index(bytes.len());
                    let end = bytes.len().min(to + piece.len());
                    bytes.splice(to..end, piece.iter().copied());
                }
            }
            Self::Insert(at, new) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, new.iter().copied());
            }
            Self::Swap(of) => bytes.clone_from(other(of)),
        }
        bytes
    }
}

fn damages() -> impl Strategy<Value = Damage> {
    let index = any::<Index>;
    prop_oneof![
        3 => index().prop_map(Damage::Cut),
        4 => prop::collection::vec((index(), 1u8..), 1..4).prop_map(Damage::Flip),
        3 => (index(), index(), index(), 1usize..400)
            .prop_map(|(of, from, to, length)| Damage::Splice { of, from, to, length }),
        2 => (index(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, new)| Damage::Insert(at, new)),
        1 => index().prop_map(Damage::Swap),
    ]
}

/// A checkpoint with a file of every kind.
async fn corpus() -> World {
    let mut world = World::new();
    world.settings.min_epochs_to_retain = 6;
    world.settings.no_data_epochs = false;
    let query = async |world: &World, at: i64| {
        let mut query = world.start().await.unwrap();
        world.feed().add(&[at * 4, at * 4 + 3, at * 3]);
        drain(&mut query).await.unwrap();
    };
    for at in 0..9 {
        query(&world, at).await;
        let checkpoint = world.checkpoint(&Faults::default()).await.unwrap();
        let log = checkpoint.source_log("input").await.unwrap();
        assert!(log.put_new(&at.to_string(), format!("v1\n{at}").as_bytes()).await.unwrap());
    }
    world.build(&Faults::default()).await.unwrap().rewind(7, SinkMode::Keep).await.unwrap();
    for at in 9..12 {
        query(&world, at).await;
    }
    // Its sink has the pending epoch: each start of a copy finds the same.
    crash(&world, "commit.after=crash", &[60, 61]).await;
    world
}

/// A name without its numbers.
fn kind(key: &str) -> String {
    key.chars().filter(|it| !it.is_ascii_digit()).collect()
}

/// An epoch that can be read, other than the newest.
const OLDER: u64 = 7;

/// What a reader says of a checkpoint, in words that can be compared.
async fn answers(world: &World) -> Vec<(&'static str, Result<String>)> {
    let place = world.location().unwrap();
    let newest = inspect::newest_epoch(&place).await.map(|it| format!("{it:?}"));
    let state = counts(&place, None).await.map(|it| format!("{it:?}"));
    let older = counts(&place, Some(OLDER)).await.map(|it| format!("{it:?}"));
    let operators = inspect::operators(&place, Some(OLDER)).await.map(|it| format!("{:?}", it.column(0)));
    vec![("newest epoch", newest), ("state", state), ("older state", older), ("operators", operators)]
}

/// What a start makes of a checkpoint: it finishes the pending epoch.
async fn started(world: &World) -> Result<String> {
    let query = world.start().await?;
    let watermark = query.watermark_ms();
    drop(query);
    let state = counts(&world.location().unwrap(), None).await?;
    Ok(format!("{watermark:?} {state:?} {:?} {:?}", world.store().rows(), world.store().attempts()))
}

/// The checkpoint as it was.
fn restore(world: &World, files: &Files) {
    std::fs::remove_dir_all(world.root()).unwrap();
    for (key, bytes) in files {
        let path = world.root().join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

fn is_refusal(error: &Error, key: &str) -> bool {
    error.kind() == ErrorKind::Config && error.to_string().contains(key)
}

async fn check(world: &World, files: &Files, key: &str, damaged: &[u8], expected: &Expected) -> Result<(), String> {
    restore(world, files);
    std::fs::write(world.root().join(key), damaged).unwrap();
    for ((what, found), whole) in answers(world).await.iter().zip(&expected.answers) {
        match found {
            Ok(found) if found == whole => {}
            Err(error) if is_refusal(error, key) => {}
            other => return Err(format!("{what}: {other:?}, expected {whole} or an error about {key}")),
        }
    }
    let findings = inspect::verify(&world.location().unwrap()).await.unwrap();
    if !findings.iter().any(|it| it.to_string().contains(key)) {
        return Err(format!("{key}: verify found {findings:?}"));
    }
    match started(world).await {
        Ok(found) if found == expected.started => Ok(()),
        Err(error) if is_refusal(&error, key) => Ok(()),
        other => Err(format!("start: {other:?}, expected {} or an error about {key}", expected.started)),
    }
}

struct Expected {
    answers: Vec<String>,
    started: String,
}

#[test]
fn no_bytes_make_a_reader_panic_or_lie() {
    let number = |name: &str| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let cases = number("TIDEGATE_TEST_FUZZ").map_or(400, |it| u32::try_from(it).unwrap());
    let seed = number("TIDEGATE_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}, {cases} damaged checkpoints");
    let threads = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = threads.block_on(corpus());
    let files = threads.block_on(world.everything());
    let mut kinds: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    files.keys().filter(|it| !files[*it].is_empty()).for_each(|it| kinds.entry(kind(it)).or_default().push(it));
    println!("{} files of {} kinds: {:?}", files.len(), kinds.len(), kinds.keys());
    let answers = threads.block_on(answers(&world)).into_iter().map(|it| it.1.unwrap()).collect();
    let expected = Expected { answers, started: threads.block_on(started(&world)).unwrap() };
    let config = Config { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    let strategy = (any::<Index>(), any::<Index>(), damages());
    let ran = TestRunner::new(config).run(&strategy, |(kind, file, damage)| {
        let keys = kinds.values().nth(kind.index(kinds.len())).unwrap();
        let key = keys[file.index(keys.len())];
        let damaged = damage.apply(key, &files);
        if damaged == files[key] {
            return Ok(());
        }
        let checked = threads.block_on(check(&world, &files, key, &damaged, &expected));
        checked.map_err(|e| TestCaseError::fail(format!("{key}: {e}")))
    });
    if let Err(error) = ran {
        panic!("seed {seed}: {error}");
    }
}
