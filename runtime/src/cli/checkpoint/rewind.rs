//! `tidegate checkpoint rewind`: the next run goes on from an earlier epoch.

use std::fmt::Write;

use serde_json::json;
use tidegate_api::{Error, Registry, Result};
use tidegate_engine::Environment;
use tidegate_epoch::{RewindReport, SinkMode, SinkOutcome};

use super::super::RewindArgs;
use super::change::{Refused, change, plan};
use crate::screen::Screen;

pub(super) fn rewind(args: RewindArgs, registry: &Registry, screen: &Screen) -> u8 {
    let registry = registry.clone();
    let shown = screen.clone();
    change(screen, move |environment| async move { go_back(&args, &registry, &shown, environment).await })
}

async fn go_back(
    args: &RewindArgs,
    registry: &Registry,
    screen: &Screen,
    environment: Environment,
) -> Result<String, Refused> {
    let (pipeline, plan) = plan(&args.file, registry, screen, |options| {
        options.take_over = args.take_over;
        options.adopt = args.adopt;
    })
    .await?;
    let place = pipeline.spec.options.checkpoint.clone();
    // To open one makes it.
    if place.local().is_some_and(|it| !it.is_dir()) {
        return Err(Error::config(format!("there is no checkpoint at {place}")).into());
    }
    let named = |e: Error| e.within(format!("query '{}' was not rewound", pipeline.spec.name));
    let mut query = plan.build(environment).await.map_err(named)?;
    let report = query.rewind(args.to, args.sinks).await.map_err(named)?;
    Ok(if args.file.json { as_json(&report, args.sinks) } else { as_text(&report, args.sinks, &place.to_string()) })
}

fn as_text(report: &RewindReport, mode: SinkMode, place: &str) -> String {
    let RewindReport { from, to, next, sinks } = report;
    let mut text = format!("checkpoint {place}\n");
    // Writing to a String does not fail.
    let _ = writeln!(text, "went back  from epoch {from} to epoch {to}, sinks: {mode}");
    let _ = writeln!(text, "next epoch {next}");
    for (name, outcome) in sinks {
        let what = match outcome {
            SinkOutcome::Kept => format!("keeps its rows of epochs after {to}; they do not come again"),
            SinkOutcome::TakenBack => format!("has taken back its rows of epochs after {to}; they come again"),
            SinkOutcome::Overwritten => {
                format!("can't take back its rows of epochs after {to}; they come again, over the same keys")
            }
            SinkOutcome::Twice => format!("can't take back its rows of epochs after {to}: they come a second time"),
            SinkOutcome::BestEffort => format!("gets its rows of epochs after {to} a second time (best effort)"),
        };
        let _ = writeln!(text, "sink       {name}: {what}");
    }
    text
}

fn as_json(report: &RewindReport, mode: SinkMode) -> String {
    let word = |outcome: &SinkOutcome| match outcome {
        SinkOutcome::Kept => "kept",
        SinkOutcome::TakenBack => "taken_back",
        SinkOutcome::Overwritten => "overwritten",
        SinkOutcome::Twice => "twice",
        SinkOutcome::BestEffort => "best_effort",
    };
    let RewindReport { from, to, next, sinks } = report;
    let sinks: Vec<_> = sinks.iter().map(|(name, it)| json!({ "name": &**name, "rows": word(it) })).collect();
    json!({ "from": from, "to": to, "next": next, "mode": mode.to_string(), "sinks": sinks }).to_string()
}
