//! A case: one life after the other, each with the faults that are still to come; who is stopped goes on later.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidegate_api::{Error, ErrorKind, Result};
use tidegate_epoch::Faults;
use tidegate_epoch::fault::PauseGate;

use super::threads::{self, Working};
use super::{Turn, World};
use crate::crash::case::{Case, Shot};
use crate::crash::mistake;
use crate::crash::{Fault, runtime};

/// An owner that stands still in the middle of a step, on a thread of its own.
pub(crate) struct Stopped {
    gate: PauseGate,
    thread: Option<Working>,
}

impl Stopped {
    /// Lets it go on and waits for its end.
    pub(crate) fn goes_on(mut self) -> Result<()> {
        self.gate.resume();
        self.thread.take().ok_or_else(|| Error::internal("an owner that has gone on already"))?.join()
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.gate.resume();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How a life ended that may have been stopped.
pub(crate) enum End {
    Stopped(Stopped),
    Over(Result<()>),
}

/// More lives than this no run takes.
const LIVES: usize = 40;

impl World {
    /// Runs a case to its end.
    pub(crate) async fn run_case(self: Arc<Self>, case: &Case) -> Result<()> {
        self.run_shots([Some(case.first), case.second].into_iter().flatten().collect()).await
    }

    /// Runs until all is read, whatever these faults do to it, one after the other.
    pub(crate) async fn run_shots(self: Arc<Self>, mut shots: Vec<Shot>) -> Result<()> {
        let mut patience = LIVES;
        let mut stopped: Vec<(Stopped, usize)> = Vec::new();
        loop {
            let life = self.shared().lives;
            let now = shots.iter().take_while(|it| it.life.is_none_or(|it| it <= life)).count();
            // What comes after a stop comes to the second owner.
            let stop = shots.iter().take(now).position(Shot::stops);
            let armed = stop.map_or(now, |it| it + 1);
            let faults = self.arms(armed, shots.len() - armed + stopped.len());
            let own = shots.get(..armed).unwrap_or_default();
            let ended = match stop.and_then(|it| shots.get(it)) {
                Some(stop) => {
                    let meanwhile = if stop.fault == Fault::Stop { self.meanwhile } else { 0 };
                    let end = self.live_till_stopped(&faults, own)?;
                    shots.drain(..faults.acted().min(shots.len()));
                    match end {
                        End::Over(ended) => ended,
                        End::Stopped(one) => {
                            self.tell(|| "it stands still".to_owned());
                            stopped.push((one, meanwhile));
                            self.next_life().await?;
                            continue;
                        }
                    }
                }
                None => {
                    own.iter().for_each(|it| drop(it.arm(&faults)));
                    let ended = self.live_beside(&faults, &mut stopped).await;
                    shots.drain(..faults.acted().min(shots.len()));
                    ended
                }
            };
            self.saw(life, &faults);
            if let Err(e) = &ended {
                self.tell(|| format!("it ends with: {e}"));
            }
            patience -= 1;
            // A store that fails may end a life too, but not for good.
            let flaky = |e: &Error| self.ground.flaky.is_some() && e.kind() == ErrorKind::Transient;
            match ended {
                Ok(()) => break,
                Err(e) if patience == 0 => return Err(e.within("in every life")),
                Err(e) if faults.acted() == 0 && !flaky(&e) => return Err(e.within("with nothing to fail")),
                Err(_) => {}
            }
            self.next_life().await?;
            if shots.is_empty() && stopped.is_empty() && self.died().await? {
                break;
            }
        }
        self.go_on(&mut stopped)?;
        self.acted.store(shots.is_empty(), Ordering::Relaxed);
        Ok(())
    }

    /// What happens between two lives.
    pub(crate) async fn next_life(&self) -> Result<()> {
        self.note().await?;
        mistake::before_restart(self.setup.mistake, &self.ground.files).await?;
        self.clock.set_back(self.set_back);
        self.feed()?;
        Ok(())
    }

    /// A life beside owners that stand still: they go on when it has committed some epochs, or when it ends.
    async fn live_beside(&self, faults: &Faults, stopped: &mut Vec<(Stopped, usize)>) -> Result<()> {
        if stopped.is_empty() {
            return self.live(faults, || true).await;
        }
        let meanwhile = stopped.iter().map(|it| it.1).max().unwrap_or(0);
        let second = async {
            let mut life = self.start(faults).await?;
            let mut ran = 0;
            while ran < meanwhile {
                match self.turn(&mut life).await? {
                    Turn::Ran => ran += 1,
                    Turn::Idle if self.feed()? => {}
                    Turn::Idle => break,
                }
            }
            self.go_on(stopped)?;
            loop {
                if self.turn(&mut life).await? == Turn::Idle && !self.feed()? {
                    return Ok(());
                }
            }
        };
        let ended = second.await;
        self.go_on(stopped)?;
        ended
    }

    /// Lets old owners go on. They find that they are fenced, or nothing to do, or not what they need any more; what counts
    /// is that nothing of it is seen.
    fn go_on(&self, stopped: &mut Vec<(Stopped, usize)>) -> Result<()> {
        let still = stopped.len();
        for (one, _) in stopped.drain(..) {
            self.tell(|| "the one that stood still goes on".to_owned());
            let ended = one.goes_on();
            self.tell(|| format!("it ends with: {}", ended.map_or_else(|e| e.to_string(), |()| "nothing".to_owned())));
        }
        let mut shared = self.shared();
        shared.to_come = shared.to_come.saturating_sub(still);
        Ok(())
    }

    /// A life on a thread of its own, which may stand still at a point.
    pub(crate) fn live_till_stopped(self: &Arc<Self>, faults: &Faults, shots: &[Shot]) -> Result<End> {
        let gates: Vec<_> = shots.iter().filter_map(|it| it.arm(faults)).collect();
        let gate = gates.into_iter().next().unwrap_or_default();
        let (world, faults, own) = (self.clone(), faults.clone(), gate.clone());
        let run = move || {
            let ended = runtime(&world.setup).and_then(|it| {
                // Whoever was stopped and goes on gets no more rows: the second owner gets them.
                it.block_on(world.live(&faults, || !own.is_over()))
            });
            own.resume();
            ended
        };
        let thread = threads::work(run)?;
        if gate.reached() {
            return Ok(End::Stopped(Stopped { gate, thread: Some(thread) }));
        }
        Ok(End::Over(thread.join()))
    }
}
