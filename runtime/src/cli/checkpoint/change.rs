//! What `rewind` and `import` share: one pipeline file, a query of it that never starts, and how failures are told.

use tidegate_api::{Error, Registry, Result};
use tidegate_engine::{Environment, QueryOptions, QueryPlan};
use tokio_util::sync::CancellationToken;

use super::super::{DONE, FAILED, OneFileArgs, WRONG, one_line, report};
use crate::config::{Pipeline, Problem};
use crate::screen::Screen;
use crate::supervisor::{Threads, environment};

/// Why nothing was done.
pub(super) enum Refused {
    /// The command line or a file is wrong.
    Wrong(Vec<Problem>),
    /// It did not work.
    Failed(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Reads and plans the query of a file.
pub(super) async fn plan(
    args: &OneFileArgs,
    registry: &Registry,
    screen: &Screen,
    set: impl FnOnce(&mut QueryOptions),
) -> Result<(Pipeline, QueryPlan), Refused> {
    let loaded = args.files().load_one(registry, screen);
    let mut problems = loaded.problems;
    if let Some(mut pipeline) = loaded.pipeline {
        set(&mut pipeline.spec.options);
        let planned =
            if problems.is_empty() { pipeline.plan_to_run(registry).await? } else { pipeline.plan(registry).await };
        match planned {
            Ok(plan) if problems.is_empty() => return Ok((pipeline, plan)),
            Ok(_) => {}
            Err(found) => problems.extend(found),
        }
    }
    Err(Refused::Wrong(problems))
}

/// Runs `work` on a thread for queries, and says what came of it.
pub(super) fn change<F>(screen: &Screen, work: impl FnOnce(Environment) -> F) -> u8
where
    F: Future<Output = Result<String, Refused>> + Send + 'static,
{
    let done = Threads::start().and_then(|threads| {
        let cancel = CancellationToken::new();
        // What the connectors have started ends with the work, however that ends.
        let _ends_with_the_work = cancel.clone().drop_guard();
        let done = threads.compute(work(environment(threads.io(), cancel.clone())?));
        cancel.cancel();
        threads.end();
        done
    });
    match done {
        Ok(Ok(text)) => {
            screen.result(text.trim_end());
            DONE
        }
        Ok(Err(Refused::Wrong(problems))) => {
            report(&problems, screen);
            WRONG
        }
        Ok(Err(Refused::Failed(e))) | Err(e) => {
            screen.note(&format!("error: {}", one_line(&e.to_string())));
            FAILED
        }
    }
}
