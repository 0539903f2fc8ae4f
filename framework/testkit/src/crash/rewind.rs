//! Going back: to each epoch, in both modes, and a fault at each point afterwards. Each row must come out once.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api::{Error, QueryId, Result, WriterId};
use tidegate_epoch::{Faults, SinkMode, SinkOutcome};

use super::case::Shot;
use super::mistake::Mistake;
use super::script::OutputRow;
use super::world::{Turn, World, spec};
use super::{CrashSetup, Fault, MatrixReport};

/// Feeds before the query goes back.
const FED: usize = 5;

/// Runs a stateless query half-way, goes back to each epoch in each of these modes, and on to the end, with each fault at
/// each point. In mode `replay` the sinks must be able to take back what they show.
///
/// # Errors
/// If the harness itself fails.
pub async fn rewinds(setup: &CrashSetup, modes: &[SinkMode]) -> Result<MatrixReport> {
    let mut report = MatrixReport::default();
    for mode in modes {
        for to in 0..FED as u64 {
            let shots =
                setup.points.iter().flat_map(|point| setup.faults.iter().map(|fault| Shot::at(*point, 1, *fault)));
            for shot in shots {
                report.cases += 1;
                *report.points.entry(shot.point.name()).or_default() += 1;
                let mut world = World::new(setup)?;
                // What is purged can't be gone back to.
                world.settings.min_epochs_to_retain = 100;
                let world = Arc::new(world);
                let wrong = match world.clone().run_rewound(to, *mode, shot).await {
                    Ok(()) => wrong_rows(&world).await?,
                    Err(e) => Some(format!("it can't go on: {e}")),
                };
                report.acted += usize::from(world.all_acted());
                report.wrong.extend(wrong.map(|it| format!("back to epoch {to}, {mode}, then {shot}: {it}")));
            }
        }
    }
    Ok(report)
}

impl World {
    async fn run_rewound(self: Arc<Self>, to: u64, mode: SinkMode, shot: Shot) -> Result<()> {
        let mut life = self.start(&Faults::default()).await?;
        for _ in 0..FED {
            self.feed()?;
            while self.turn(&mut life).await? == Turn::Ran {}
        }
        drop(life);
        let newest = self.newest().unwrap_or(0);
        if self.setup.mistake == Some(Mistake::NumberReused) {
            self.rewind_wrongly(to).await?;
        } else {
            let report = self.build(&Faults::default()).await?.rewind(to, mode).await?;
            if report.next <= newest {
                self.wrong(format!("number {} comes again: {newest} was used", report.next));
            }
            if mode == SinkMode::Replay && report.sinks.iter().any(|(_, it)| *it != SinkOutcome::TakenBack) {
                return Err(Error::internal("a sink of this matrix can't take back its rows"));
            }
        }
        self.run_shots(vec![shot]).await
    }

    /// The logs end at `to`, and the sinks take back what came after: then the old numbers come again.
    async fn rewind_wrongly(&self, to: u64) -> Result<()> {
        self.ground.files.forget_after(to).await?;
        for bench in &self.benches {
            let mut sink = bench.sink(&spec()).await?;
            sink.open(&WriterId { query_id: QueryId("rewind".into()), sink: "all".into(), shard: None }).await?;
            sink.restore(Some(to)).await?;
        }
        Ok(())
    }
}

/// A row that is missing, or comes twice, in a sink.
async fn wrong_rows(world: &World) -> Result<Option<String>> {
    if let Some(wrong) = world.seen_wrong() {
        return Ok(Some(wrong));
    }
    let mut expected: BTreeMap<(i64, String), usize> = BTreeMap::new();
    for (at, word) in world.script.feeds.iter().flatten().flatten().flatten() {
        *expected.entry((at * 1000, word.clone())).or_default() += 1;
    }
    for (at, rows) in world.shown().await?.into_iter().enumerate() {
        let mut found: BTreeMap<(i64, String), usize> = BTreeMap::new();
        for OutputRow { start, word, .. } in rows {
            *found.entry((start, word)).or_default() += 1;
        }
        let differs = expected.iter().find(|(row, n)| found.get(row) != Some(n));
        if let Some((row, n)) = differs {
            return Ok(Some(format!("sink {at} shows {row:?} {} times, expected {n}", found.get(row).unwrap_or(&0))));
        }
        if found.len() > expected.len() {
            return Ok(Some(format!("sink {at} shows rows that there never were")));
        }
    }
    Ok(None)
}

impl Fault {
    /// Those that a test of going back needs: it is one life after another.
    pub const DEATHS: [Self; 2] = [Self::Crash, Self::ErrorOnce];
}
