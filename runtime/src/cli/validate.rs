//! `tidegate validate`: all problems at once, no outside system touched.

use tidegate_api::Registry;

use super::{DONE, FAILED, FileArgs, WRONG, report};
use crate::config::{Pipeline, Problem, References, load};
use crate::screen::Screen;
use crate::supervisor::Threads;

pub(super) fn validate(args: FileArgs, registry: Registry, screen: &Screen) -> u8 {
    let checked = Threads::start().and_then(|it| it.compute(async move { check(&args, &registry).await }));
    let (pipelines, problems) = match checked {
        Ok(checked) => checked,
        Err(e) => {
            screen.note(&format!("error: {e}"));
            return FAILED;
        }
    };
    for pipeline in &pipelines {
        if !problems.iter().any(|it| it.file == pipeline.file) {
            screen.result(&format!("{}: query '{}' is valid", pipeline.file, pipeline.spec.name));
        }
    }
    report(&problems, screen);
    if problems.is_empty() { DONE } else { WRONG }
}

/// Reads and plans all files; references in values stay as they are.
async fn check(args: &FileArgs, registry: &Registry) -> (Vec<Pipeline>, Vec<Problem>) {
    let (files, mut problems) = args.read(&[]);
    let mut pipelines = Vec::new();
    for (file, settings) in files {
        let loaded = load(&file, &settings, &args.defaults(&file), registry, &References::Keep);
        problems.extend(loaded.problems);
        if let Some(pipeline) = loaded.pipeline {
            problems.extend(pipeline.plan(registry).await.err().unwrap_or_default());
            pipelines.push(pipeline);
        }
    }
    (pipelines, problems)
}
