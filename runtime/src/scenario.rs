//! Scenario files: a real query over memory sources and sinks, driven step by step on a manual clock.
//!
//! ```text
//! file     YAML → steps
//! rig      the query in its little world: start, feed, run until idle, restart
//! steps    one step against the rig
//! rows     rows as written → Arrow
//! compare  rows as typed cells
//! ```

mod compare;
mod file;
mod rig;
mod rows;
mod steps;

pub use file::{Scenario, Step};

use std::fmt;

use tidegate_api::Registry;

/// Why a scenario failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The number of the step, from 1; 0 if it did not come to the first.
    pub step: usize,
    /// What was expected, what came, and the progress of the last epoch.
    pub report: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            0 => f.write_str(&self.report),
            step => write!(f, "step {step}: {}", self.report),
        }
    }
}

/// Runs a scenario. Needs a tokio runtime around it.
///
/// # Errors
/// The first step that failed, and why.
pub async fn run(scenario: &Scenario, registry: &Registry) -> Result<(), Failure> {
    let mut rig = rig::Rig::new(scenario, registry).map_err(|report| Failure { step: 0, report })?;
    let mut outcome = Ok(());
    for step in &scenario.steps {
        if let Err(report) = Box::pin(steps::run(&step.action, &mut rig)).await {
            let report = format!("{report}\nprogress: {}", rig.last_progress());
            outcome = Err(Failure { step: step.number, report });
            break;
        }
    }
    let unasked = rig.failure().map(|it| format!("the query failed and no step expected it: {it}"));
    outcome.and_then(|()| unasked.map_or(Ok(()), |report| Err(Failure { step: scenario.steps.len(), report })))
}
