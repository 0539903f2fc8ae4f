//! What a sink rejects of rows that waited for it. The epoch is logged by then, and once the sink has committed the others
//! nobody will tell again which it did not take: so they are durable, as dead letters, before it commits.
//!
//! ```text
//! state/staged/<epoch>.<attempt>.<number of the sink>.rejects.<generation>     the newest try of that generation
//! state/staged/<epoch>.<attempt>.<number of the sink>.letters.<generation>-<n> letters that are too many for it
//! ```
//! The number of a sink is its place in the manifest's list. A later try replaces what an earlier one found, since an
//! earlier one that had committed would show: then the sink says so, and nothing is replaced.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use tidegate_api::{AttemptId, Epoch, Error, Rejected, Result};

use super::staged::{Delivery, Ready, key};
use super::{SinkTask, Sinks};
use crate::fault::Point;
use crate::letters::{Rules, Step};
use crate::log::Record;
use crate::log::frame::{self, Kind};
use crate::manifest::{StagedKind, StagedPiece, StagedPlace};
use crate::stage::{self, Held, Stage, StageWriter};
use crate::store::Marks;

/// The dead letters of one sink.
pub(super) struct Rejects {
    pub(super) letters: Stage,
    pub(super) rows: u64,
}

/// Takes what a sink rejects in its step.
pub(super) struct RejectWriter<'a> {
    rules: &'a Rules,
    epoch: &'a Epoch,
    sink: &'a str,
    letters: StageWriter,
    rows: u64,
}

impl RejectWriter<'_> {
    pub(super) fn add(&mut self, batch: &RecordBatch, rejected: &[Rejected]) -> Result<()> {
        self.rows += rejected.len() as u64;
        match self.rules.letters(Step::Write, self.sink, self.epoch, batch, rejected)? {
            Some(letters) => self.letters.write(&letters),
            None => Ok(()),
        }
    }

    pub(super) fn finish(self) -> Result<Rejects> {
        Ok(Rejects { letters: self.letters.finish()?, rows: self.rows })
    }
}

impl Sinks {
    pub(super) fn reject_writer<'a>(
        &'a self,
        at: usize,
        task: &'a SinkTask,
        epoch: &'a Epoch,
        delivery: &mut Delivery,
    ) -> RejectWriter<'a> {
        delivery.tries += 1;
        let name = format!("{}.letters.{}-{}", stage::file_name(epoch, at), self.generation, delivery.tries);
        let letters = StageWriter::new(self.store.clone(), epoch.number, &name, self.stage_memory);
        RejectWriter { rules: &self.rules, epoch, sink: &task.name, letters, rows: 0 }
    }

    /// Makes what a sink rejected durable, if it is news, and if it will go anywhere.
    pub(super) async fn keep_rejects(
        &self,
        at: usize,
        epoch: &Epoch,
        rejects: Rejects,
        delivery: &mut Delivery,
    ) -> Result<()> {
        let number = self.tasks.get(at).and_then(|task| delivery.sinks.iter().position(|it| *it == task.name));
        let (tries, Some(item)) = (delivery.tries, delivery.items.get_mut(at)) else { return Ok(()) };
        let told = item.rejects.as_ref().map_or((0, 0, 0), |it| (it.rows, it.letters.bytes, it.letters.crc32));
        if told == (rejects.rows, rejects.letters.bytes, rejects.letters.crc32) {
            return Ok(());
        }
        let exact = self.letters.and_then(|at| self.tasks.get(at)).is_some_and(|it| !it.best_effort);
        let mut rejects = rejects;
        if let (true, Some(number)) = (exact, number) {
            if let Some(owner) = &self.owner {
                owner.check().await?;
            }
            let sink = self.tasks.get(at).map(|it| it.name.clone()).unwrap_or_default();
            let name = format!("{}.letters.{}-{tries}", stage::file_name(epoch, at), self.generation);
            let (place, bytes) = match &mut rejects.letters.held {
                Held::Memory(bytes) => (StagedPlace::Section(0), bytes.clone()),
                Held::File(file) => {
                    self.store.publish(&key(&name), file, epoch.number).await?;
                    delivery.files.push(name.clone());
                    (StagedPlace::File(name), Buffer::from(Vec::<u8>::new()))
                }
            };
            let Stage { bytes: length, crc32, .. } = rejects.letters;
            let piece = StagedPiece { sink, kind: StagedKind::Rows, place, bytes: length, crc32, rows: rejects.rows };
            let header = serde_json::to_vec(&piece).map_err(|e| Error::internal("dead letters").because(e))?;
            let sections: [&[u8]; 2] = [&header, &bytes];
            let name = rejects_name(epoch, number, self.generation);
            let heads = frame::Heads::new(Kind::Rejects, &sections);
            self.store.write(&key(&name), &heads.with(&sections), &Marks::NONE).await?;
            delivery.files.push(name);
            self.faults.hit(Point::CommitRejects, epoch.number)?;
        }
        if let Some(item) = delivery.items.get_mut(at) {
            item.rejects = Some(rejects);
        }
        Ok(())
    }

    /// What earlier lives wrote down of an attempt's rejects, by sink.
    pub(super) async fn load_rejects(&self, record: &Record, delivery: &mut Delivery) -> Result<()> {
        let mut newest: BTreeMap<usize, (u64, String)> = BTreeMap::new();
        for name in self.store.list(stage::FOLDER).await? {
            let Some((epoch, attempt, sink, generation)) = parse_rejects_name(&name) else { continue };
            if (epoch, attempt) != (record.epoch(), record.attempt) {
                continue;
            }
            if newest.get(&sink).is_none_or(|it| it.0 < generation) {
                newest.insert(sink, (generation, name));
            }
        }
        for (_, name) in newest.into_values() {
            let Some(bytes) = self.store.read(&key(&name)).await? else { continue };
            let named = |e: Error| e.within(self.store.name(&key(&name)));
            let (piece, letters) = open(&bytes).map_err(named)?;
            let at = self.tasks.iter().position(|it| it.name == piece.sink);
            let Some(item) = at.and_then(|at| delivery.items.get_mut(at)) else { continue };
            if let Ready::Rows(letters) = self.item(&piece, &[letters]).await?.ready {
                item.rejects = Some(Rejects { letters, rows: piece.rows });
            }
        }
        Ok(())
    }
}

/// Reads what a sink rejected: the piece, and its letters if they are in the file.
pub(crate) fn open(bytes: &[u8]) -> Result<(StagedPiece, Buffer)> {
    let (header, letters) = frame::open_two(Kind::Rejects, bytes)?;
    let damaged = |e| Error::config("the file is damaged: its header does not parse").because(e);
    Ok((serde_json::from_slice(header).map_err(damaged)?, Buffer::from(letters)))
}

fn rejects_name(epoch: &Epoch, sink: usize, generation: u64) -> String {
    format!("{}.rejects.{generation}", stage::file_name(epoch, sink))
}

/// The epoch, the attempt, the number of the sink, and the generation that wrote the file.
pub(crate) fn parse_rejects_name(name: &str) -> Option<(u64, AttemptId, usize, u64)> {
    let (epoch, attempt) = stage::parse_name(name)?;
    let mut rest = name.split('.').skip(3);
    let (sink, what, generation) = (rest.next()?.parse().ok()?, rest.next()?, rest.next()?.parse().ok()?);
    (what == "rejects" && rest.next().is_none()).then_some((epoch, attempt, sink, generation))
}
