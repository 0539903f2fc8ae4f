//! The two phases: all sinks prepare, then all commit; what was prepared is committed by the same parts until it is
//! known to be visible.

use serde_json::Value;
use tidegate_api::{AttemptId, CommitOutcome, Epoch, Error, ErrorKind, Result, SourcePosition};

use super::{Outputs, Prepared, Sinks};
use crate::fault::Point;

impl Sinks {
    /// Makes the rows of all writers durable, none visible. If one fails, the parts of the others are dropped.
    pub(crate) async fn prepare(&mut self, epoch: &Epoch, outputs: Outputs) -> Result<Prepared> {
        let mut prepared = Prepared(Vec::with_capacity(self.tasks.len()));
        for (task, output) in self.tasks.iter_mut().zip(outputs.outputs) {
            let outcome = match (output.writer, output.error) {
                (Some(writer), _) => writer.prepare().await.map(|part| Some(vec![part])),
                (None, Some(error)) => Err(error),
                (None, None) => Ok(None),
            };
            let part = match outcome {
                Ok(part) => Ok(part),
                Err(e) => task.tolerate(epoch, e).map(|()| None),
            };
            match part {
                Ok(part) => prepared.0.push(part),
                Err(e) => {
                    self.abort(epoch, prepared).await;
                    return Err(e);
                }
            }
        }
        Ok(prepared)
    }

    /// Drops what was prepared for an attempt that will not be committed.
    pub(crate) async fn abort(&self, epoch: &Epoch, prepared: Prepared) {
        if self.faults.crashed() {
            return;
        }
        for (task, parts) in self.tasks.iter().zip(prepared.0) {
            let Some(parts) = parts else { continue };
            if let Err(error) = task.sink.abort(epoch, parts).await {
                tracing::warn!(sink = %task.name, epoch = epoch.number, %error, "prepared rows can't be dropped");
            }
        }
    }

    /// Makes the epoch visible in all sinks, in order, best-effort ones last. Returns the attempt whose rows they show.
    pub(crate) async fn commit(
        &mut self,
        epoch: &Epoch,
        prepared: Prepared,
        positions: &[SourcePosition],
    ) -> Result<AttemptId> {
        let mut chosen = epoch.attempt;
        let mut parts = prepared.0;
        let (last, first): (Vec<_>, Vec<_>) = (0..self.tasks.len()).partition(|at| self.is_best_effort(*at));
        for at in first.into_iter().chain(last) {
            let own = self.take_group(at, &mut parts);
            if own.is_empty() {
                continue;
            }
            match self.commit_one(at, epoch, &own, positions).await {
                Ok(Some(attempt)) if attempt > epoch.attempt => {
                    let (number, ours) = (epoch.number, epoch.attempt);
                    return Err(Error::fenced(format!("epoch {number}: attempt {attempt} is visible, ours is {ours}")));
                }
                // Of several attempts the first is the one that an earlier life went by, or would have.
                Ok(attempt) => chosen = chosen.min(attempt.unwrap_or(chosen)),
                Err(e) if self.faults.crashed() => return Err(e),
                Err(e) => {
                    let Some(task) = self.tasks.get_mut(at) else { return Err(e) };
                    task.tolerate(epoch, e)?;
                }
            }
        }
        Ok(chosen)
    }

    fn is_best_effort(&self, at: usize) -> bool {
        self.tasks.get(at).is_some_and(|it| it.best_effort)
    }

    /// The parts that one call on this sink commits: those of its whole group, if it is the group's first.
    fn take_group(&self, at: usize, parts: &mut [Option<Vec<Value>>]) -> Vec<Value> {
        let group = self.tasks.get(at).and_then(|it| it.sink.commit_group());
        let mut own = Vec::new();
        for (other, (task, part)) in self.tasks.iter().zip(parts.iter_mut()).enumerate() {
            if other == at || (group.is_some() && task.sink.commit_group() == group) {
                own.extend(part.take().unwrap_or_default());
            }
        }
        own
    }

    /// Commits until the outcome is known. A best-effort sink gets one try: it must not delay the others.
    async fn commit_one(
        &self,
        at: usize,
        epoch: &Epoch,
        parts: &[Value],
        positions: &[SourcePosition],
    ) -> Result<Option<AttemptId>> {
        let Some(task) = self.tasks.get(at) else { return Err(Error::internal(format!("no sink number {at}"))) };
        let mut n = 0;
        loop {
            n += 1;
            let outcome = async {
                self.faults.hit(Point::CommitBefore, epoch.number)?;
                let outcome = task.sink.commit(epoch, parts.to_vec(), positions).await?;
                self.faults.hit(Point::CommitAfter, epoch.number)?;
                Ok::<_, Error>(outcome)
            };
            match outcome.await {
                Ok(CommitOutcome::Committed) => return Ok(Some(epoch.attempt)),
                // A best-effort sink has no say in which attempt the state is of.
                Ok(CommitOutcome::AlreadyCommitted { .. }) if task.best_effort => return Ok(None),
                Ok(CommitOutcome::AlreadyCommitted { attempt }) => return Ok(attempt),
                Err(error) if error.kind() == ErrorKind::Transient && !task.best_effort => {
                    tracing::warn!(sink = %task.name, epoch = epoch.number, attempt = n, %error, "a commit is not known to have worked");
                    if !self.retry.wait(n).await {
                        return Err(error.within(format!("commit of epoch {}", epoch.number)));
                    }
                }
                Err(e) => return Err(e.within(format!("commit of epoch {}", epoch.number))),
            }
        }
    }
}
