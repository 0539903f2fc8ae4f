//! `tidegate run`: runs the queries of some files side by side.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use tidegate_api::{Registry, Result};

use super::{DONE, FAILED, ProgressKind, RunArgs, WRONG, one_line, report};
use crate::config::{Pipeline, Problem, References, load};
use crate::progress::Style;
use crate::screen::Screen;
use crate::supervisor::{Job, Threads};

pub(super) fn run(args: RunArgs, registry: Registry, screen: &Screen) -> u8 {
    let style = match args.progress {
        ProgressKind::Json => Style::Json,
        ProgressKind::Auto if screen.is_live() => Style::Line,
        ProgressKind::Auto | ProgressKind::None => Style::None,
    };
    let outcome = Threads::start().and_then(|threads| {
        let screen = screen.clone();
        let prepared = threads.compute({
            let screen = screen.clone();
            async move { prepare(&args, &around_the_live_line(registry, &screen), &screen).await }
        })??;
        let outcome = match prepared {
            Ok(jobs) => threads.run(jobs, style, &screen).map(|()| DONE),
            Err(problems) => {
                report(&problems, &screen);
                Ok(WRONG)
            }
        };
        threads.end();
        outcome
    });
    screen.clear();
    outcome.unwrap_or_else(|e| {
        screen.note(&format!("error: {}", one_line(&e.to_string())));
        FAILED
    })
}

/// Tables of console sinks and the live line share the terminal.
fn around_the_live_line(registry: Registry, screen: &Screen) -> Registry {
    if screen.is_live() && registry.find_sink("console").is_ok() {
        return tidegate_console::register_to(registry, Arc::new(Mutex::new(screen.output())));
    }
    registry
}

/// The queries that can start, or what is wrong with them.
type Prepared = std::result::Result<Vec<Job>, Vec<Problem>>;

async fn prepare(args: &RunArgs, registry: &Registry, screen: &Screen) -> Result<Prepared> {
    let over: Vec<(&str, &str)> = args.trigger.iter().map(|it| ("trigger", it.as_str())).collect();
    let (files, mut problems) = args.files.read(&over);
    let references = References::Resolve(screen.secrets().clone());
    let (mut pipelines, mut jobs) = (Vec::new(), Vec::new());
    for (file, settings) in files {
        let loaded = load(&file, &settings, &args.files.defaults(&file), registry, &references);
        problems.extend(loaded.problems);
        let Some(mut pipeline) = loaded.pipeline else { continue };
        pipeline.spec.options.take_over = args.take_over;
        pipeline.spec.options.adopt = args.adopt;
        // With a problem nothing will run: then nobody is asked for anything.
        let planned =
            if problems.is_empty() { pipeline.plan_to_run(registry).await? } else { pipeline.plan(registry).await };
        match planned {
            Ok(plan) => jobs.push(Job { name: pipeline.spec.name.clone(), plan }),
            Err(found) => problems.extend(found),
        }
        pipelines.push(pipeline);
    }
    problems.extend(clashes(&pipelines));
    Ok(if problems.is_empty() { Ok(jobs) } else { Err(problems) })
}

/// Queries that share a name or a checkpoint: each would break the other.
fn clashes(pipelines: &[Pipeline]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (mut names, mut checkpoints) = (BTreeMap::new(), BTreeMap::new());
    for pipeline in pipelines {
        let file = || pipeline.file.clone();
        let name = &pipeline.spec.name;
        if let Some(first) = names.insert(name.clone(), &pipeline.file) {
            let message = format!("query '{name}' of {first} has the same name");
            problems.push(Problem { file: file(), key: "name".to_owned(), message });
            continue;
        }
        let place = &pipeline.spec.options.checkpoint;
        let place = place.local().map_or_else(|| place.to_string(), |it| plain(it).display().to_string());
        if let Some(first) = checkpoints.insert(place.clone(), name) {
            let message = format!("{place} is the checkpoint of query '{first}' too, expected one for each");
            problems.push(Problem { file: file(), key: "checkpoint.location".to_owned(), message });
        }
    }
    problems
}

/// The path from the root, links followed as far as it exists, without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => _ = plain.pop(),
            other => plain.push(other),
        }
        plain = plain.canonicalize().unwrap_or(plain);
    }
    plain
}
