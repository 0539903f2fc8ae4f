//! `tidegate explain`: the plan of a query.

use tidegate_api::Registry;

use super::{DONE, FAILED, FileArgs, WRONG, report};
use crate::config::{Problem, References, load};
use crate::screen::Screen;
use crate::supervisor::Threads;

pub(super) fn explain(args: FileArgs, registry: Registry, screen: &Screen) -> u8 {
    let explained = Threads::start().and_then(|it| it.compute(async move { plans(&args, &registry).await }));
    let (plans, problems) = match explained {
        Ok(explained) => explained,
        Err(e) => {
            screen.note(&format!("error: {e}"));
            return FAILED;
        }
    };
    for plan in &plans {
        screen.result(plan.trim_end());
    }
    report(&problems, screen);
    if problems.is_empty() { DONE } else { WRONG }
}

/// The plans of all files, as text.
async fn plans(args: &FileArgs, registry: &Registry) -> (Vec<String>, Vec<Problem>) {
    let (files, mut problems) = args.read(&[]);
    let mut plans = Vec::new();
    for (file, settings) in files {
        let loaded = load(&file, &settings, &args.defaults(&file), registry, &References::Keep);
        let broken = !loaded.problems.is_empty();
        problems.extend(loaded.problems);
        let Some(pipeline) = loaded.pipeline else { continue };
        match pipeline.plan(registry).await {
            Ok(_) if broken => {}
            Ok(plan) => plans.push(plan.explain()),
            Err(found) if found.is_empty() && !broken => problems.push(Problem {
                file,
                key: String::new(),
                message: "a value that the plan needs is a reference, or the columns of a source that declares none: known only \
                          when the query starts"
                    .to_owned(),
            }),
            Err(found) => problems.extend(found),
        }
    }
    (plans, problems)
}
