//! What each sink will be given once the epoch is logged, and what of it is staged: can be given after a restart too.

use std::sync::Arc;

use arrow_buffer::Buffer;
use serde_json::Value;
use tidegate_api::{AttemptId, Epoch, Error, Result};

use super::outputs::Target;
use super::rejects::Rejects;
use super::{Outputs, Sinks};
use crate::log::Record;
use crate::manifest::{StagedKind, StagedPiece, StagedPlace};
use crate::stage::{self, Held, Stage};

/// What each sink will be given, by sink.
#[derive(Default)]
pub(crate) struct Delivery {
    pub(super) items: Vec<Item>,
    /// Attempts that sinks may show instead of ours.
    pub(crate) accepted: Vec<AttemptId>,
    /// The sinks that the record names.
    pub(super) sinks: Vec<Arc<str>>,
    /// The steps in which sinks wrote what waited for them.
    pub(super) tries: u32,
    /// The files in `state/staged` that were written since the record.
    pub(crate) files: Vec<String>,
}

pub(super) struct Item {
    pub(super) ready: Ready,
    pub(super) rows: u64,
    /// Who shows the epoch already; nothing as long as the sink was not told to.
    pub(super) shows: Option<AttemptId>,
    /// What it did not take of the rows that waited for it.
    pub(super) rejects: Option<Rejects>,
}

pub(super) enum Ready {
    /// A best-effort sink that failed, or one that has no part in the epoch.
    Nothing,
    /// What its writers prepared.
    Parts(Vec<Value>),
    /// Rows that wait.
    Rows(Stage),
}

impl Item {
    fn of(ready: Ready, rows: u64) -> Self {
        Self { ready, rows, shows: None, rejects: None }
    }
}

impl Item {
    fn rejects_rows(&self) -> u64 {
        self.rejects.as_ref().map_or(0, |it| it.rows)
    }
}

impl Delivery {
    /// True if a sink shows the epoch by `attempt`.
    pub(crate) fn is_shown_by(&self, attempt: AttemptId) -> bool {
        self.items.iter().any(|it| it.shows == Some(attempt))
    }

    /// True if the sink has a part in the epoch and does not show it yet.
    pub(super) fn is_open(&self, sink: usize) -> bool {
        self.items.get(sink).is_some_and(|it| it.shows.is_none() && !matches!(it.ready, Ready::Nothing))
    }

    /// The sink, a best-effort one, gets nothing.
    pub(super) fn give_up(&mut self, sink: usize) {
        if let Some(item) = self.items.get_mut(sink) {
            item.ready = Ready::Nothing;
        }
    }

    /// Takes another attempt's outputs for the sinks that don't show the epoch yet, and what it rejected for those that
    /// show it by that attempt.
    pub(crate) fn go_over_to(&mut self, other: Self, attempt: AttemptId) {
        for (item, other) in self.items.iter_mut().zip(other.items) {
            match item.shows {
                None => *item = other,
                Some(shown) if shown == attempt => item.rejects = other.rejects,
                Some(_) => {}
            }
        }
        self.sinks = other.sinks;
    }

    /// True if there are dead letters for sink number `at` to write.
    pub(super) fn has_letters(&self, at: usize) -> bool {
        self.items.get(at).is_some_and(|it| it.rows > 0) || self.items.iter().any(|it| it.rejects_rows() > 0)
    }

    /// Rows that waited for their sink and were not taken, by sink.
    pub(crate) fn rejected(&self) -> Vec<u64> {
        self.items.iter().map(Item::rejects_rows).collect()
    }
}

impl Sinks {
    /// Makes what sinks took as it came durable, none visible. If one fails, the parts of the others are dropped.
    pub(crate) async fn prepare(&mut self, epoch: &Epoch, outputs: Outputs) -> Result<Delivery> {
        let mut delivery = Delivery::default();
        for (task, output) in self.tasks.iter_mut().zip(outputs.outputs.into_iter().chain(outputs.letters)) {
            let outcome = match output.target {
                Target::Writer(writer) => writer.prepare().await.map(|part| Ready::Parts(vec![part])),
                Target::Stage(stage) => stage.finish().map(Ready::Rows),
                Target::Nowhere(Some(error)) => Err(error),
                Target::Nowhere(None) => Ok(Ready::Nothing),
            };
            let ready = match outcome {
                Ok(ready) => Ok(ready),
                Err(e) => task.tolerate(epoch, e).map(|()| Ready::Nothing),
            };
            match ready {
                Ok(ready) => delivery.items.push(Item::of(ready, output.rows)),
                Err(e) => {
                    self.abort(epoch, delivery).await;
                    return Err(e);
                }
            }
        }
        Ok(delivery)
    }

    /// Drops what was prepared for an attempt that will not be committed.
    pub(crate) async fn abort(&self, epoch: &Epoch, delivery: Delivery) {
        if self.faults.crashed() {
            return;
        }
        for (task, item) in self.tasks.iter().zip(delivery.items) {
            let Ready::Parts(parts) = item.ready else { continue };
            if let Err(error) = task.sink.abort(epoch, parts).await {
                tracing::warn!(sink = %task.name, epoch = epoch.number, %error, "prepared rows can't be dropped");
            }
        }
    }

    /// The files that staging this will write.
    pub(crate) fn staged_files(&self, epoch: &Epoch, delivery: &Delivery) -> Vec<String> {
        let is_file = |item: &Item| matches!(&item.ready, Ready::Rows(Stage { held: Held::File(_), .. }));
        let all = self.tasks.iter().zip(&delivery.items).enumerate();
        let files = all.filter(|(_, (task, item))| task.way.staged && is_file(item));
        files.map(|(at, _)| stage::file_name(epoch, at)).collect()
    }

    /// Stages what has to be: gives the pieces for the manifest and the sections for the record. Files are durable then.
    pub(crate) async fn stage(
        &self,
        epoch: &Epoch,
        delivery: &mut Delivery,
    ) -> Result<(Vec<StagedPiece>, Vec<Buffer>)> {
        let (mut pieces, mut sections) = (Vec::new(), Vec::new());
        delivery.sinks = self.exact();
        for (at, (task, item)) in self.tasks.iter().zip(&mut delivery.items).enumerate() {
            if !task.way.staged {
                continue;
            }
            let mut in_record = |bytes: Buffer| {
                sections.push(bytes);
                StagedPlace::Section(sections.len() - 1)
            };
            let (kind, place, bytes, crc32) = match &mut item.ready {
                Ready::Nothing => continue,
                Ready::Parts(parts) => {
                    let bytes = serde_json::to_vec(parts).map_err(|e| Error::internal("committables").because(e))?;
                    let (length, crc32) = (bytes.len() as u64, crc32fast::hash(&bytes));
                    (StagedKind::Parts, in_record(Buffer::from(bytes)), length, crc32)
                }
                Ready::Rows(Stage { held, bytes, crc32, .. }) => {
                    let place = match held {
                        Held::Memory(bytes) => in_record(bytes.clone()),
                        Held::File(file) => {
                            let name = stage::file_name(epoch, at);
                            self.store.publish(&key(&name), file, epoch.number).await?;
                            StagedPlace::File(name)
                        }
                    };
                    (StagedKind::Rows, place, *bytes, *crc32)
                }
            };
            pieces.push(StagedPiece { sink: task.name.clone(), kind, place, bytes, crc32, rows: item.rows });
        }
        Ok((pieces, sections))
    }

    /// What a record stages, for the sinks that there are now.
    ///
    /// # Errors
    /// `Config` if a piece is missing or damaged, naming the file.
    pub(crate) async fn delivery(&self, record: &Record, sections: &[Buffer]) -> Result<Delivery> {
        let mut delivery = Delivery { sinks: record.manifest.sinks.clone(), ..Delivery::default() };
        for (at, task) in self.tasks.iter().enumerate() {
            let piece = record.manifest.staged.iter().find(|it| it.sink == task.name);
            delivery.items.push(match piece {
                Some(piece) => self.item(piece, sections).await?,
                // Rows that a sink rejects now are letters even if there was no place for letters then.
                None if self.is_for_letters(at) => Item::of(Ready::Rows(Stage::empty()), 0),
                None => Item::of(Ready::Nothing, 0),
            });
        }
        self.load_rejects(record, &mut delivery).await?;
        for piece in &record.manifest.staged {
            if !self.tasks.iter().any(|it| it.name == piece.sink) {
                let (sink, epoch, rows) = (&piece.sink, record.epoch(), piece.rows);
                tracing::warn!(%sink, epoch, rows, "the query has this sink no more: its part of the epoch is dropped");
            }
        }
        Ok(delivery)
    }

    pub(super) async fn item(&self, piece: &StagedPiece, sections: &[Buffer]) -> Result<Item> {
        let held = match &piece.place {
            StagedPlace::Section(at) => {
                let missing = || Error::internal(format!("section {at} of a record"));
                Held::Memory(sections.get(*at).cloned().ok_or_else(missing)?)
            }
            StagedPlace::File(name) => {
                let name = key(name);
                let missing =
                    || Error::config(format!("{} is missing: rows were staged in it", self.store.name(&name)));
                Held::File(self.store.fetch(&name).await?.ok_or_else(missing)?)
            }
        };
        let stage = Stage { held, bytes: piece.bytes, crc32: piece.crc32 };
        if let StagedPlace::File(name) = &piece.place {
            stage.check().map_err(|e| e.within(self.store.name(&key(name))))?;
        }
        let ready = match (piece.kind, &stage.held) {
            (StagedKind::Parts, Held::Memory(bytes)) => {
                let damaged =
                    |e| Error::config(format!("what is staged for sink {} is damaged", piece.sink)).because(e);
                Ready::Parts(serde_json::from_slice(bytes).map_err(damaged)?)
            }
            _ => Ready::Rows(stage),
        };
        Ok(Item::of(ready, piece.rows))
    }
}

pub(super) fn key(name: &str) -> String {
    format!("{}/{name}", stage::FOLDER)
}
