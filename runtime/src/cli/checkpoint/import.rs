//! `tidegate checkpoint import`: a new checkpoint begins where a query of Spark stopped.

mod sources;

use std::fmt::Write;

use serde_json::json;
use tidegate_api::{Imported, Registry, Result, SparkPosition};
use tidegate_engine::{Environment, QueryPlan};
use tidegate_epoch::ImportPoint;
use tidegate_storage::Location;

use super::super::ImportArgs;
use super::change::{Refused, change, plan};
use super::text::time;
use crate::config::{Pipeline, Problem};
use crate::screen::Screen;
use crate::spark::{Pending, Stopped};

/// Where a source of the file goes on.
struct Begins {
    name: String,
    /// The number or name of Spark's source; nothing: Spark has none for it.
    theirs: Option<String>,
    /// Nothing: at its starting offsets.
    position: Option<Imported>,
}

pub(super) fn import(args: ImportArgs, registry: &Registry, screen: &Screen) -> u8 {
    let registry = registry.clone();
    let shown = screen.clone();
    change(screen, move |environment| async move { begin(&args, &registry, &shown, environment).await })
}

async fn begin(
    args: &ImportArgs,
    registry: &Registry,
    screen: &Screen,
    environment: Environment,
) -> Result<String, Refused> {
    let (pipeline, plan) = plan(&args.file, registry, screen, |_| {}).await?;
    let place = pipeline.spec.options.checkpoint.clone();
    let wrong = |key: &str, message: String| {
        Refused::Wrong(vec![Problem { file: pipeline.file.clone(), key: key.to_owned(), message }])
    };
    if is_one_folder(&place, args) {
        let text = format!("found {place}, which is the checkpoint of Spark's query, expected a folder of its own");
        return Err(wrong("checkpoint.location", text));
    }
    let stopped = Stopped::read(&args.from, args.pending).map_err(|e| wrong("--from", e.to_string()))?;
    if !args.without_state {
        check_state(&stopped, &plan).map_err(|text| wrong("--without-state", text))?;
    }
    let begins = translate(args, &pipeline, registry, &stopped).await.map_err(Refused::Wrong)?;
    take_over(plan, environment, point(&stopped, &begins), &begins)
        .await
        .map_err(|e| e.within(format!("query '{}' did not begin where Spark stopped", pipeline.spec.name)))?;
    Ok(if args.file.json { as_json(&stopped, &begins) } else { as_text(&stopped, &begins, &place) })
}

/// Spark's folder is never written to.
fn is_one_folder(place: &Location, args: &ImportArgs) -> bool {
    let Some(ours) = place.local().and_then(|it| it.canonicalize().ok()) else { return false };
    args.from.canonicalize().is_ok_and(|it| it == ours)
}

/// State is not taken over: what it holds of rows that have been read is lost.
fn check_state(stopped: &Stopped, plan: &QueryPlan) -> Result<(), String> {
    let what = match (plan.is_stateful(), stopped.has_state) {
        (true, _) => {
            "this query keeps rows of earlier epochs (aggregates, joins, duplicates), and of those that Spark has read \
                      it would know nothing"
        }
        (false, true) => "Spark's query has kept rows in its state that it has not emitted, and they would never come",
        (false, false) => return Ok(()),
    };
    Err(format!(
        "is needed: {what}; only positions and the watermark are taken over. Say --without-state if that is right, or run \
         the file as a new query over the whole input"
    ))
}

/// What each source makes of Spark's position.
async fn translate(
    args: &ImportArgs,
    pipeline: &Pipeline,
    registry: &Registry,
    stopped: &Stopped,
) -> Result<Vec<Begins>, Vec<Problem>> {
    let mut problems = Vec::new();
    let add = |problems: &mut Vec<Problem>, key: String, message: String| {
        problems.push(Problem { file: pipeline.file.clone(), key, message });
    };
    let ours: Vec<&str> = pipeline.spec.sources.iter().filter(|it| !it.is_static).map(|it| it.name.as_str()).collect();
    let pairs = match sources::pair(&ours, &stopped.sources, &args.sources) {
        Ok(pairs) => pairs,
        Err(messages) => {
            messages.into_iter().for_each(|it| add(&mut problems, "--source".to_owned(), it));
            return Err(problems);
        }
    };
    let mut begins = Vec::new();
    for (name, theirs) in pairs {
        let Some(spec) = pipeline.spec.sources.iter().find(|it| it.name == name) else { continue };
        let Some(key) = theirs else {
            begins.push(Begins { name, theirs: None, position: None });
            continue;
        };
        let offset = stopped.sources.get(&key).cloned().flatten();
        let mut found = SparkPosition::new(offset.clone(), stopped.log(&key));
        found.data_dir.clone_from(&pipeline.spec.options.data_dir);
        let imported = match registry.find_source(&spec.connector) {
            Ok(connector) => connector.import(&spec.settings, &found).await,
            Err(e) => Err(e),
        };
        match imported {
            Ok(position) => begins.push(Begins { name, theirs: Some(key), position }),
            Err(e) => {
                let at = offset.unwrap_or_else(|| "-".to_owned());
                add(&mut problems, format!("sources.{name}"), format!("source {key} of Spark's at {at}: {e}"));
            }
        }
    }
    if problems.is_empty() { Ok(begins) } else { Err(problems) }
}

fn point(stopped: &Stopped, begins: &[Begins]) -> ImportPoint {
    let position = |it: &Begins| Some((it.name.clone(), it.position.as_ref()?.offset.clone()));
    ImportPoint {
        next: stopped.next,
        positions: begins.iter().filter_map(position).collect(),
        watermark_ms: stopped.watermark_ms,
        watermark_policy: stopped.watermark_policy,
        reason: format!("goes on {} in {}", after(stopped), stopped.root().display()),
    }
}

fn after(stopped: &Stopped) -> String {
    let last =
        stopped.last.map_or_else(|| "before Spark's first epoch".to_owned(), |it| format!("after Spark's epoch {it}"));
    match stopped.pending {
        None => last,
        Some((_, Pending::Done)) => format!("{last} (which was pending, and counts as delivered)"),
        Some((epoch, Pending::Redo)) => format!("{last} (epoch {epoch}, which was pending, is read again)"),
    }
}

/// The logs first: a source reads its own when it is built.
async fn take_over(plan: QueryPlan, environment: Environment, point: ImportPoint, begins: &[Begins]) -> Result<()> {
    let checkpoint = plan.open_checkpoint(&environment).await?;
    for it in begins {
        if let Some(imported) = &it.position {
            checkpoint.import_log(&it.name, &imported.log).await?;
        }
    }
    let mut query = plan.build_on(checkpoint, environment).await?;
    query.import(point).await
}

fn as_text(stopped: &Stopped, begins: &[Begins], place: &Location) -> String {
    let mut text = format!("checkpoint {place}\n");
    // Writing to a String does not fail.
    let _ = writeln!(text, "goes on    {} in {}", after(stopped), stopped.root().display());
    let _ = writeln!(text, "next epoch {}", stopped.next);
    if let Some(ms) = stopped.watermark_ms {
        let _ = writeln!(text, "watermark  {} (policy {})", time(ms), stopped.watermark_policy);
    }
    for Begins { name, theirs, position } in begins {
        let at = position.as_ref().map_or_else(|| "its starting offsets".to_owned(), |it| it.offset.to_string());
        let theirs = theirs.as_ref().map_or_else(String::new, |it| format!(" (source {it} of Spark's)"));
        let _ = writeln!(text, "source     {name}{theirs} at {at}");
    }
    text
}

fn as_json(stopped: &Stopped, begins: &[Begins]) -> String {
    let source = |it: &Begins| {
        let offset = it.position.as_ref().map(|it| &it.offset);
        json!({ "name": it.name, "spark_source": it.theirs, "offset": offset })
    };
    let sources: Vec<_> = begins.iter().map(source).collect();
    json!({
        "last": stopped.last,
        "next": stopped.next,
        "watermark_ms": stopped.watermark_ms,
        "watermark_policy": stopped.watermark_policy,
        "sources": sources,
    })
    .to_string()
}
