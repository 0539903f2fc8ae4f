//! Every point of the loop, hit by a crash or an error, once and once more in the next life: what the sinks show, the
//! state and the watermark must be as if nothing had happened.

use tidegate_api::{ErrorKind, Result, Staging};
use tidegate_epoch::Faults;
use tidegate_epoch::fault::{Action, Point};

use crate::world::{DELAY_MS, Store, Tolerated, World, drain, model};

/// Rows that are never late, in three steps.
const CHUNKS: [&[i64]; 3] = [&[1, 12, 14], &[15, 27], &[28, 31, 40]];
/// What comes in after the faults are over.
const AFTER: [&[i64]; 2] = [&[41, 52], &[70]];

/// Sinks of all kinds.
#[derive(Clone, Copy, Debug)]
enum Sinks {
    One,
    Two,
    /// Their rows wait in files.
    TwoOfFiles,
    Piecemeal,
    Mixed,
    /// The first rejects every second window when it is written at last.
    Letters,
}

impl Sinks {
    fn actions(self) -> &'static [Action] {
        if matches!(self, Self::One | Self::Two) { &ACTIONS } else { &ACTIONS[..2] }
    }
}

const SINKS: [Sinks; 6] = [Sinks::One, Sinks::Two, Sinks::TwoOfFiles, Sinks::Piecemeal, Sinks::Mixed, Sinks::Letters];
/// The windows that end at a multiple of this are rejected, if any are.
const ODD: i64 = 20_000;

fn world(sinks: Sinks) -> World {
    let mut world = World::new();
    world.settings.min_epochs_to_retain = 2;
    world.stores = match sinks {
        Sinks::One => vec![("table", Store::default())],
        Sinks::Two | Sinks::TwoOfFiles => vec![("table", Store::default()), ("second", Store::default())],
        Sinks::Piecemeal => vec![("table", Store::piecemeal())],
        Sinks::Mixed => {
            vec![("table", Store::default().with_staging(Staging::Committable)), ("second", Store::piecemeal())]
        }
        Sinks::Letters => {
            let table = Store::default().with_staging(Staging::Rows);
            table.reject_multiples(ODD);
            table.drop_shown(true);
            world.errors = Tolerated::to(Store::default());
            vec![("table", table), ("second", Store::piecemeal())]
        }
    };
    world.stage_memory = matches!(sinks, Sinks::TwoOfFiles).then_some(0);
    world
}

/// Arms a fault; for a point that only a failed attempt comes to, the nth attempt fails.
fn arm(faults: &Faults, (point, action, nth): (Point, Action, u32)) {
    if matches!(point, Point::Discard | Point::Retry) {
        faults.arm_point(Point::Run, Action::Error(ErrorKind::Transient), nth);
        faults.arm_point(point, action, 1);
    } else {
        faults.arm_point(point, action, nth);
    }
}

/// One life of a query. `added` counts the steps of input that have been given.
async fn live(world: &World, faults: &Faults, added: &mut usize) -> Result<()> {
    let mut query = world.start_with(faults).await?;
    loop {
        drain(&mut query).await?;
        let Some(chunk) = CHUNKS.get(*added) else { return Ok(()) };
        *added += 1;
        world.feed().add(chunk);
    }
}

/// More input comes while nobody runs.
fn add_more(world: &World, added: &mut usize) {
    if let Some(chunk) = CHUNKS.get(*added) {
        *added += 1;
        world.feed().add(chunk);
    }
}

/// Runs to the end without faults, then two epochs more, and compares all that can be seen.
async fn verify(world: &World, added: &mut usize, what: &str) -> Result<(), String> {
    live(world, &Faults::default(), added).await.map_err(|e| format!("{what}: {e}"))?;
    let mut query = world.start().await.map_err(|e| format!("{what}: {e}"))?;
    for chunk in [&[][..], AFTER[0], AFTER[1]] {
        world.feed().add(chunk);
        drain(&mut query).await.map_err(|e| format!("{what}: {e}"))?;
        let values = world.feed().values();
        let (all, open) = model(&values);
        let (odd, taken): (Vec<_>, Vec<_>) = all.iter().partition(|it| it.0 % ODD == 0);
        let letters = world.errors.letters.iter().map(|it| ("letters", it, &odd));
        for (name, store, expected) in world
            .stores
            .iter()
            .enumerate()
            .map(|(at, (name, store))| {
                let rejects = at == 0 && world.errors.letters.is_some();
                (*name, store, if rejects { &taken } else { &all })
            })
            .chain(letters)
        {
            let mut rows = store.rows();
            rows.sort_unstable();
            let writes = store.writes();
            for (epoch, _, rows) in &writes {
                if writes.iter().any(|other| other.0 == *epoch && other.2 != *rows) {
                    return Err(format!("{what}: sink {name} got different rows of epoch {epoch}: {writes:?}"));
                }
            }
            if rows != *expected {
                return Err(format!("{what}: sink {name} shows {rows:?}, expected {expected:?}"));
            }
        }
        let watermark = values.iter().max().map(|it| it * 1000 - DELAY_MS);
        if query.watermark_ms() != watermark {
            return Err(format!("{what}: watermark {:?}, expected {watermark:?}", query.watermark_ms()));
        }
        let total = query.handle().latest().and_then(|it| it.state_operators.first().map(|it| it.num_rows_total));
        if total.is_some_and(|it| it != open.len() as u64) {
            return Err(format!("{what}: {total:?} windows open, expected {open:?}"));
        }
    }
    Ok(())
}

/// Arms `action` at the nth hit of `point` in a first life, and perhaps another in a second. False if the first life
/// was over before it came to that.
async fn trial(world: World, first: (Point, Action, u32), second: Option<(Point, Action)>) -> Result<bool, String> {
    let mut added = 0;
    let what = format!("{first:?} then {second:?}");
    let faults = Faults::default();
    arm(&faults, first);
    faults.watch();
    let died = live(&world, &faults, &mut added).await.is_err();
    let often = if matches!(first.0, Point::Discard | Point::Retry) { 1 } else { first.2 };
    let reached = died || hits(&faults, first.0) >= often;
    if died {
        add_more(&world, &mut added);
    }
    if let Some((point, action)) = second {
        let faults = Faults::default();
        arm(&faults, (point, action, 1));
        if live(&world, &faults, &mut added).await.is_err() {
            add_more(&world, &mut added);
        }
    }
    verify(&world, &mut added, &what).await?;
    Ok(reached)
}

fn hits(faults: &Faults, point: Point) -> u32 {
    faults.trace().iter().filter(|(_, it)| *it == point).count().try_into().unwrap()
}

const ACTIONS: [Action; 3] = [Action::Crash, Action::Error(ErrorKind::Transient), Action::Error(ErrorKind::Internal)];

#[tokio::test(start_paused = true)]
async fn one_fault_anywhere_changes_nothing() {
    let mut trials = 0;
    for point in Point::ALL {
        let mut reached = 0;
        for sinks in SINKS {
            for action in sinks.actions() {
                let mut nth = 1;
                while trial(world(sinks), (*point, *action, nth), None)
                    .await
                    .unwrap_or_else(|e| panic!("{sinks:?}: {e}"))
                {
                    nth += 1;
                    reached += 1;
                }
            }
        }
        assert!(reached > 0, "{point} is never reached");
        trials += reached;
    }
    println!("{trials} trials");
    assert!(trials > 800, "{trials}");
}

#[tokio::test(start_paused = true)]
async fn a_second_fault_while_recovering_changes_nothing() {
    for first in Point::ALL {
        for second in Point::ALL {
            for (sinks, nth) in [(Sinks::Two, 1), (Sinks::TwoOfFiles, 3), (Sinks::Mixed, 2), (Sinks::Letters, 2)] {
                let first = (*first, Action::Crash, nth);
                let second = Some((*second, Action::Crash));
                trial(world(sinks), first, second).await.unwrap_or_else(|e| panic!("{sinks:?}: {e}"));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ten_errors_in_a_row_are_outlasted() {
    for point in [
        Point::Plan,
        Point::Run,
        Point::RecordDirsync,
        Point::Prepare,
        Point::StageFsync,
        Point::CommitStaged,
        Point::CommitBefore,
        Point::CommitAfter,
    ] {
        let world = world(Sinks::TwoOfFiles);
        let faults = Faults::default();
        faults.arm(&format!("{point}=error@2*10")).unwrap();
        let mut added = 0;
        live(&world, &faults, &mut added).await.unwrap_or_else(|e| panic!("{point}: {e}"));
        verify(&world, &mut added, point.name()).await.unwrap();
    }
}

/// The matrix must be able to see a mistake.
#[tokio::test(start_paused = true)]
async fn a_sink_that_forgets_epochs_is_caught() {
    let mut wrong = 0;
    for point in Point::ALL {
        for nth in 1..9 {
            let world = world(Sinks::One);
            world.store().forget_epochs();
            wrong += u32::from(trial(world, (*point, Action::Crash, nth), None).await.is_err());
        }
    }
    assert!(wrong >= 3, "{wrong}");
}
