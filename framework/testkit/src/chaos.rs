//! Random runs from a seed: a query, its data, and all that may happen to it. The same seed gives the same run.
//!
//! ```text
//! seed → program, sinks, place of the checkpoint, snapshots, retention, limits, rows (late ones, empty adds)
//!      → faults at points: crashes, errors, second owners; faults of the store; a time of day that is set back
//! expected: what a run without faults shows whose epochs have the same ranges
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidegate_api::{Error, Result};

mod draw;

use crate::crash::check::References;
use crate::crash::world::World;

use draw::Draw;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChaosReport {
    /// What it was made from.
    pub seed: u64,
    /// What it was.
    pub about: String,
    /// All that happened, a line each.
    pub trace: Vec<String>,
    /// Epochs decided.
    pub epochs: usize,
    /// Requests to the store that went wrong.
    pub store_faults: u64,
    /// What differs from a run without faults.
    pub wrong: Vec<String>,
}

impl fmt::Display for ChaosReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}: ", self.seed, self.about)?;
        match self.wrong.as_slice() {
            [] => write!(f, "{} epochs, as without faults", self.epochs),
            wrong => write!(f, "{}\n  replay: TIDEGATE_CHAOS_SEED={}", wrong.join("\n  "), self.seed),
        }
    }
}

/// One run.
///
/// # Errors
/// If the harness itself fails.
pub fn chaos(seed: u64) -> Result<ChaosReport> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.map_err(|e| Error::internal("no runtime").because(e))?;
    runtime.block_on(run(seed))
}

async fn run(seed: u64) -> Result<ChaosReport> {
    let draw = Draw::new(seed);
    let script = Arc::new(draw.script.clone());
    let mut world = World::of(&draw.setup, script.clone())?;
    world.limit = draw.limit;
    world.settings.min_epochs_to_retain = draw.retain;
    world.set_back = Duration::from_millis(draw.set_back_ms);
    world.meanwhile = draw.meanwhile;
    let world = Arc::new(world);
    if let (Some(flaky), Some(plan)) = (&world.ground.flaky, &draw.store) {
        flaky.set(plan.clone());
    }
    world.listen();
    let ran = world.clone().run_shots(draw.shots.clone()).await;
    let (wrong, epochs) = match ran {
        Ok(()) => {
            let outcome = world.outcome().await?;
            (References::of(&draw.setup, script).differences(&draw.setup.sinks, &outcome).await?, outcome.log.len())
        }
        Err(e) => (vec![format!("it can't go on: {e}")], 0),
    };
    let mut trace = world.story();
    let store_faults = world.ground.flaky.as_ref().map_or(0, |it| it.faulted());
    trace.extend(world.ground.flaky.iter().flat_map(|it| it.trace()));
    let trace = trace.iter().map(|it| without_ids(it)).collect();
    Ok(ChaosReport { seed, about: draw.to_string(), trace, epochs, store_faults, wrong })
}

/// Identities are minted anew in each run, and folders too.
fn without_ids(line: &str) -> String {
    let is_id = |it: &str| {
        let dash = |at: usize| [8, 13, 18, 23].contains(&at);
        it.char_indices().all(|(at, it)| if dash(at) { it == '-' } else { it.is_ascii_hexdigit() })
    };
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        match rest.get(..36).filter(|it| is_id(it)) {
            Some(_) => {
                text.push_str("<id>");
                rest = rest.get(36..).unwrap_or_default();
            }
            None => {
                text.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
    }
    match text.split_once("tidegate-crash-") {
        Some((before, after)) => format!("{before}<folder>{}", after.get(6..).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests;
