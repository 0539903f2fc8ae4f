//! Mistakes for the matrix to catch, planted in the program, in the sinks, or on the disk between two lives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_api::{DynSink, DynSource, Result};
use tidegate_epoch::{EventTimes, OperatorDelta};

use super::letters;
use super::log::Files;
use crate::memory::{MemoryKind, MemoryTable};
use crate::suite::SinkBench;

mod sink;
mod source;

pub(super) use sink::Place;

/// A way to get it wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// `commits/N` is written before the sinks commit.
    CommitLogFirst,
    /// The epoch changes state N-1 itself.
    StateInPlace,
    /// What a failed attempt did to the state stays.
    OverlayNotDiscarded,
    /// An epoch has effects though its ranges are not in the log.
    PlanNotLogged,
    /// After a restart the sink does not know what it has committed.
    SinkForgetsEpoch,
    /// After a restart the watermark begins anew.
    WatermarkLost,
    /// The state logged with an epoch is the one of another attempt than the sinks show.
    StateOfAnotherAttempt,
    /// A failed attempt leaves the watermarks where it took them.
    TrackerNotRolledBack,
    /// A failed attempt leaves the source where it had read to.
    PositionNotRolledBack,
    /// Two sinks write to one table under one identity.
    OneIdentity,
    /// Neither the checkpoint nor the sinks stop an owner that was followed by another.
    NoFencing,
    /// The write time is that of the clock, not that of the epoch's record.
    WriteTimeOfTheClock,
    /// A start ignores the rows that are staged, and computes them again.
    StageIgnored,
    /// What a sink rejected is not durable when it has committed.
    LettersLost,
    /// A sink that shows the epoch rejects nothing, and does not say why.
    ShownNotTold,
    /// A changed query runs an epoch that was staged by the one before it.
    PendingByAnotherQuery,
    /// A query that has gone back uses its numbers again.
    NumberReused,
    /// After a restart all groups of sinks begin with the query's watermark.
    GroupsForgotten,
}

impl Mistake {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::CommitLogFirst,
        Self::StateInPlace,
        Self::OverlayNotDiscarded,
        Self::PlanNotLogged,
        Self::SinkForgetsEpoch,
        Self::WatermarkLost,
        Self::StateOfAnotherAttempt,
        Self::TrackerNotRolledBack,
        Self::PositionNotRolledBack,
        Self::OneIdentity,
        Self::NoFencing,
        Self::WriteTimeOfTheClock,
        Self::StageIgnored,
        Self::LettersLost,
        Self::ShownNotTold,
        Self::PendingByAnotherQuery,
        Self::NumberReused,
        Self::GroupsForgotten,
    ];
}

type Deltas = Vec<OperatorDelta>;

/// What a mistake remembers from life to life, as a wrong disk would.
#[derive(Clone, Default)]
pub(super) struct Memory {
    first_deltas: Arc<Mutex<BTreeMap<u64, Deltas>>>,
}

/// The mistake, if any, in the program of one life.
pub(super) struct Planted {
    mistake: Option<Mistake>,
    memory: Memory,
    delta: Option<Deltas>,
    watermark_ms: i64,
    late_ms: i64,
}

impl Planted {
    pub(super) fn new(mistake: Option<Mistake>, memory: Memory) -> Self {
        Self { mistake, memory, delta: None, watermark_ms: 0, late_ms: 0 }
    }

    pub(super) fn is(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// The watermarks to go by: those of the log, or those that this life has come to by itself.
    pub(super) fn watermarks(&mut self, given: (i64, i64), times: &EventTimes, delay_ms: i64) -> (i64, i64) {
        if !self.is(Mistake::WatermarkLost) && !self.is(Mistake::TrackerNotRolledBack) {
            return given;
        }
        if self.is(Mistake::TrackerNotRolledBack) {
            self.watermark_ms = self.watermark_ms.max(given.1);
            self.late_ms = self.late_ms.max(given.0);
        }
        let own = (self.late_ms, self.watermark_ms);
        self.late_ms = self.watermark_ms;
        if times.count > 0 {
            self.watermark_ms = self.watermark_ms.max(times.max_ms - delay_ms);
        }
        own
    }

    /// An attempt has run and changed the state like this.
    pub(super) fn ran(&mut self, epoch: u64, delta: Deltas) {
        match self.mistake {
            Some(Mistake::StateInPlace) => self.delta = Some(delta),
            Some(Mistake::StateOfAnotherAttempt) => {
                let mut first = lock(&self.memory.first_deltas);
                self.delta = Some(first.entry(epoch).or_insert(delta).clone());
            }
            _ => {}
        }
    }

    /// The delta to be logged, if it is not the state's own.
    pub(super) fn delta(&self) -> Option<Deltas> {
        self.delta.clone()
    }
}

/// What a crash takes with it, if it was never written, or is not looked at.
pub(super) async fn before_restart(mistake: Option<Mistake>, files: &Files) -> Result<()> {
    match mistake {
        Some(Mistake::PlanNotLogged) => files.forget_pending().await,
        Some(Mistake::StageIgnored | Mistake::PendingByAnotherQuery) => files.forget_staged().await,
        Some(Mistake::GroupsForgotten) => files.forget_groups().await,
        Some(Mistake::LettersLost) => letters::forget(files).await,
        _ => Ok(()),
    }
}

/// The source with the mistake, if it is one of a source.
pub(super) fn source(mistake: Option<Mistake>, source: Box<dyn DynSource>) -> Box<dyn DynSource> {
    match mistake {
        Some(Mistake::PositionNotRolledBack) => Box::new(source::WrongSource::new(source)),
        _ => source,
    }
}

/// The sink with the mistake, if it is one of a sink.
pub(super) fn wrapped(mistake: Option<Mistake>, sink: Box<dyn DynSink>, place: Place) -> Box<dyn DynSink> {
    use Mistake::{CommitLogFirst, NumberReused, OneIdentity, SinkForgetsEpoch, WriteTimeOfTheClock};
    match mistake {
        Some(it @ (CommitLogFirst | SinkForgetsEpoch | OneIdentity | WriteTimeOfTheClock | NumberReused)) => {
            Box::new(sink::WrongSink::new(sink, it, place))
        }
        _ => sink,
    }
}

/// The table of a memory sink.
pub(super) fn table(mistake: Option<Mistake>, kind: MemoryKind) -> Box<dyn SinkBench> {
    match mistake {
        Some(Mistake::NoFencing | Mistake::OneIdentity) => Box::new(MemoryTable::unfenced(kind)),
        _ => Box::new(MemoryTable::of(kind)),
    }
}

/// Which table a sink writes to.
pub(super) fn bench(mistake: Option<Mistake>, sink: usize) -> usize {
    if mistake == Some(Mistake::OneIdentity) { 0 } else { sink }
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}
