//! The second phase: each sink shows the epoch, from what it prepared or from what waits for it. What was tried is tried
//! again until the outcome is known; a sink that writes in one step repeats the whole step. Dead letters come last, when it
//! is known what the others did not take.

use serde_json::Value;
use tidegate_api::{AttemptId, CommitOutcome, Epoch, Error, ErrorKind, Result, SourcePosition, Staging};

use super::outputs::write;
use super::staged::Ready;
use super::{Delivery, SinkTask, Sinks};
use crate::fault::Point;
use crate::stage::StageReader;

impl Sinks {
    /// Makes the epoch visible in all sinks, in order, dead letters after them, best-effort ones last. Stops at a sink that
    /// shows an attempt before ours which has not been accepted, and returns it.
    ///
    /// # Errors
    /// `Fenced` if a sink shows an attempt after ours; else as the sinks.
    pub(crate) async fn commit(
        &mut self,
        epoch: &Epoch,
        delivery: &mut Delivery,
        positions: &[SourcePosition],
    ) -> Result<Option<AttemptId>> {
        let (last, first): (Vec<_>, Vec<_>) = (0..self.tasks.len()).partition(|at| self.is_best_effort(*at));
        for at in first.into_iter().chain(last) {
            let group = self.group(at, delivery);
            let no_letters = self.is_for_letters(at) && !delivery.has_letters(at);
            if group.is_empty() || no_letters {
                continue;
            }
            match self.commit_group(&group, epoch, delivery, positions).await {
                Ok(shown) => {
                    if let Some(other) = self.note(&group, epoch, delivery, shown)? {
                        return Ok(Some(other));
                    }
                }
                Err(e) if self.faults.crashed() => return Err(e),
                Err(e) => {
                    let Some(task) = self.tasks.get_mut(at) else { return Err(e) };
                    task.tolerate(epoch, e)?;
                    delivery.give_up(at);
                }
            }
        }
        Ok(None)
    }

    /// True if a sink that the epoch waits for has yet to show it.
    pub(crate) fn waits_for(&self, delivery: &Delivery) -> bool {
        (0..self.tasks.len()).any(|at| !self.is_best_effort(at) && delivery.is_open(at))
    }

    /// Writes down who shows the epoch; returns an attempt that has to be looked at first.
    fn note(
        &self,
        group: &[usize],
        epoch: &Epoch,
        delivery: &mut Delivery,
        shown: AttemptId,
    ) -> Result<Option<AttemptId>> {
        if shown > epoch.attempt {
            let (number, ours) = (epoch.number, epoch.attempt);
            return Err(Error::fenced(format!("epoch {number}: attempt {shown} is visible, ours is {ours}")));
        }
        for at in group {
            if let Some(item) = delivery.items.get_mut(*at) {
                item.shows = Some(shown);
            }
        }
        Ok((shown != epoch.attempt && !delivery.accepted.contains(&shown)).then_some(shown))
    }

    fn is_best_effort(&self, at: usize) -> bool {
        self.tasks.get(at).is_some_and(|it| it.best_effort)
    }

    /// The sinks that one call on sink `at` commits: those of its whole group that have not committed yet.
    fn group(&self, at: usize, delivery: &Delivery) -> Vec<usize> {
        let waits = |it: &usize| delivery.is_open(*it);
        let group = self.tasks.get(at).and_then(|it| it.sink.commit_group());
        let same = |it: &usize| {
            *it == at || (group.is_some() && self.tasks.get(*it).is_some_and(|it| it.sink.commit_group() == group))
        };
        match (waits(&at), self.is_for_letters(at)) {
            (false, _) => Vec::new(),
            (true, true) => vec![at],
            (true, false) => {
                let others = (0..self.tasks.len()).filter(|it| !self.is_for_letters(*it));
                others.filter(same).filter(waits).collect()
            }
        }
    }

    /// Commits until the outcome is known. A best-effort sink gets one try: it must not delay the others.
    async fn commit_group(
        &self,
        group: &[usize],
        epoch: &Epoch,
        delivery: &mut Delivery,
        positions: &[SourcePosition],
    ) -> Result<AttemptId> {
        let first = group.first().and_then(|at| self.tasks.get(*at));
        let Some(task) = first else { return Err(Error::internal("a group of no sinks")) };
        let mut n = 0;
        loop {
            n += 1;
            let outcome = async {
                let parts = self.parts(group, epoch, delivery).await?;
                self.faults.hit(Point::CommitBefore, epoch.number)?;
                let outcome = task.sink.commit(epoch, parts, positions).await?;
                self.faults.hit(Point::CommitAfter, epoch.number)?;
                Ok::<_, Error>(outcome)
            };
            match outcome.await {
                Ok(CommitOutcome::Committed) => return Ok(epoch.attempt),
                // A best-effort sink has no say in which attempt the state is of.
                Ok(CommitOutcome::AlreadyCommitted { .. }) if task.best_effort => return Ok(epoch.attempt),
                Ok(CommitOutcome::AlreadyCommitted { attempt }) => return Ok(attempt.unwrap_or(epoch.attempt)),
                Err(error) if error.kind() == ErrorKind::Transient && !task.best_effort => {
                    tracing::warn!(sink = %task.name, epoch = epoch.number, attempt = n, %error, "a commit is not known to have worked");
                    if !self.retry.wait(n).await {
                        return Err(error.within(format!("commit of epoch {}", epoch.number)));
                    }
                    self.faults.hit(Point::Retry, epoch.number)?;
                    if let Some(owner) = &self.owner {
                        owner.check().await?;
                    }
                }
                Err(e) => return Err(e.within(format!("commit of epoch {}", epoch.number))),
            }
        }
    }

    /// What a group commits. Sinks whose rows wait are written now; their parts are kept only where they may be committed
    /// again.
    async fn parts(&self, group: &[usize], epoch: &Epoch, delivery: &mut Delivery) -> Result<Vec<Value>> {
        let mut parts = Vec::new();
        for at in group {
            let (Some(task), Some(item)) = (self.tasks.get(*at), delivery.items.get(*at)) else { continue };
            match &item.ready {
                Ready::Nothing => continue,
                Ready::Parts(own) => {
                    parts.extend(own.iter().cloned());
                    continue;
                }
                Ready::Rows(_) => {}
            }
            let part = self.write_waiting(*at, task, epoch, delivery).await?;
            if let Some(item) = delivery.items.get_mut(*at).filter(|_| task.sink.staging() != Staging::Rows) {
                item.ready = Ready::Parts(vec![part.clone()]);
            }
            parts.push(part);
        }
        Ok(parts)
    }

    /// Writes the rows that wait for a sink. What it does not take of them is durable then.
    async fn write_waiting(&self, at: usize, task: &SinkTask, epoch: &Epoch, delivery: &mut Delivery) -> Result<Value> {
        self.faults.hit(Point::CommitStaged, epoch.number)?;
        let for_letters = self.is_for_letters(at);
        let mut rejects = self.reject_writer(at, task, epoch, delivery);
        let mut writer = task.sink.writer(epoch, 0).await?;
        for mut rows in self.waiting(at, delivery)? {
            while let Some(batch) = rows.next()? {
                // A letter that is not taken has nowhere to go.
                let rejected = write(writer.as_mut(), &batch, self.rules.tolerates() && !for_letters).await?;
                rejects.add(&batch, &rejected)?;
            }
        }
        let shown = writer.is_shown();
        let part = writer.prepare().await?;
        if !shown && !for_letters {
            self.keep_rejects(at, epoch, rejects.finish()?, delivery).await?;
        }
        Ok(part)
    }

    /// What waits for a sink; for dead letters also what the others rejected, by sink.
    fn waiting(&self, at: usize, delivery: &Delivery) -> Result<Vec<StageReader>> {
        let mut waiting = Vec::new();
        if let Some(Ready::Rows(stage)) = delivery.items.get(at).map(|it| &it.ready) {
            waiting.push(stage.read()?);
        }
        let rejects = delivery.items.iter().filter(|_| self.is_for_letters(at)).filter_map(|it| it.rejects.as_ref());
        for rejects in rejects {
            waiting.push(rejects.letters.read()?);
        }
        Ok(waiting)
    }
}
