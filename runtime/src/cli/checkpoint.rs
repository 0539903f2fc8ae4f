//! `tidegate checkpoint`: what a checkpoint holds, what is wrong with it, going back, beginning where Spark stopped.

mod change;
mod import;
mod rewind;
mod text;

use std::path::{Path, PathBuf};

use arrow_array::{RecordBatch, StructArray};
use futures::TryStreamExt;
use serde::Serialize;
use tidegate_api::Registry;
use tidegate_epoch::inspect::{self, CheckpointView, Finding};
use tidegate_storage::{Location, StoreOptions};

use super::{CheckpointCommand, DONE, FAILED, LookArgs, ShowArgs, WRONG, one_line, report};
use crate::config::Problem;
use crate::screen::Screen;
use crate::supervisor::Threads;

pub(super) fn checkpoint(command: CheckpointCommand, registry: &Registry, screen: &Screen) -> u8 {
    match command {
        CheckpointCommand::Show(args) => show(&args, registry, screen),
        CheckpointCommand::Verify(args) => verify(&args, registry, screen),
        CheckpointCommand::Rewind(args) => rewind::rewind(args, registry, screen),
        CheckpointCommand::Import(args) => import::import(args, registry, screen),
    }
}

fn show(args: &ShowArgs, registry: &Registry, screen: &Screen) -> u8 {
    let ShowArgs { look: args, state, operators, epoch } = args;
    if let Some(operator) = state {
        return show_state(args, (operator.clone(), *epoch), registry, screen);
    }
    if *operators {
        return show_operators(args, *epoch, registry, screen);
    }
    let look = |location: Location| async move { inspect::show(&location).await };
    let print = |view: &CheckpointView| if args.json { json(view) } else { text::view(view) };
    match look_at(args, registry, screen, look) {
        Ok(view) => {
            screen.result(print(&view).trim_end());
            DONE
        }
        Err(code) => code,
    }
}

/// The rows of an operator's state, a line each, as they are read.
fn show_state(args: &LookArgs, (operator, epoch): (String, Option<u64>), registry: &Registry, screen: &Screen) -> u8 {
    let lines = screen.clone();
    let look = |location: Location| async move {
        let mut table = inspect::state(&location, &operator, epoch).await?;
        while let Some(rows) = table.rows.try_next().await? {
            print_rows(rows, &lines)?;
        }
        Ok(())
    };
    look_at(args, registry, screen, look).map_or_else(|code| code, |()| DONE)
}

/// The operators that have state, a line each.
fn show_operators(args: &LookArgs, epoch: Option<u64>, registry: &Registry, screen: &Screen) -> u8 {
    let lines = screen.clone();
    let look = |location: Location| async move { print_rows(inspect::operators(&location, epoch).await?, &lines) };
    look_at(args, registry, screen, look).map_or_else(|code| code, |()| DONE)
}

fn print_rows(rows: RecordBatch, screen: &Screen) -> tidegate_api::Result<()> {
    let rows = tidegate_formats::json::encode(&StructArray::from(rows))?;
    rows.iter().flatten().for_each(|row| screen.result(row));
    Ok(())
}

fn verify(args: &LookArgs, registry: &Registry, screen: &Screen) -> u8 {
    let look = |location: Location| async move { Ok((inspect::verify(&location).await?, location.to_string())) };
    let found: Result<(Vec<Finding>, String), u8> = look_at(args, registry, screen, look);
    match found {
        Ok((findings, place)) => {
            let whole = if args.json { json(&findings) } else { text::findings(&findings, &place) };
            screen.result(whole.trim_end());
            if findings.is_empty() { DONE } else { FAILED }
        }
        Err(code) => code,
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Finds the checkpoint and looks at it; what is wrong with either has been told when this returns a code.
fn look_at<T, F>(
    args: &LookArgs,
    registry: &Registry,
    screen: &Screen,
    look: impl FnOnce(Location) -> F,
) -> Result<T, u8>
where
    T: Send + 'static,
    F: Future<Output = tidegate_api::Result<T>> + Send + 'static,
{
    let location = find(args, registry, screen).map_err(|problems| {
        report(&problems, screen);
        WRONG
    })?;
    let looked = Threads::start().and_then(|it| {
        let looked = it.compute(look(location));
        it.end();
        looked
    });
    looked.and_then(|it| it).map_err(|e| {
        screen.note(&format!("error: {}", one_line(&e.to_string())));
        FAILED
    })
}

/// A pipeline file's checkpoint, or the location itself.
fn find(args: &LookArgs, registry: &Registry, screen: &Screen) -> Result<Location, Vec<Problem>> {
    if !Path::new(&args.what).is_file() {
        return at(args).map_err(|message| vec![problem(&args.what, message)]);
    }
    // What it needs to be reached may be a secret.
    let loaded = args.files().load_one(registry, screen);
    loaded.pipeline.map(|it| it.spec.options.checkpoint).ok_or(loaded.problems)
}

fn at(args: &LookArgs) -> Result<Location, String> {
    let mut options = StoreOptions::new();
    for (key, value) in &args.set {
        let key =
            key.strip_prefix("storage.").ok_or(format!("found '{key}' for a location, expected storage.<key>"))?;
        options.insert(key.to_owned(), value.clone());
    }
    let base = PathBuf::from(".");
    let location = Location::open(&args.what, &options, &base).map_err(|e| e.to_string())?;
    if location.local().is_some_and(|it| !it.is_dir()) {
        return Err("found no such file or folder, expected a pipeline file or a checkpoint".to_owned());
    }
    Ok(location)
}

fn problem(file: &str, message: String) -> Problem {
    Problem { file: file.to_owned(), key: String::new(), message }
}
