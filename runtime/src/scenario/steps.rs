//! One step of a scenario against the rig.

use serde_json::Value;

use super::compare::{cells, same_rows};
use super::file::{Action, At, Counter, Counts, Expected, Row, Scope};
use super::rig::Rig;
use super::rows;
use crate::config::Node;
use crate::progress::millis;

/// Runs a step.
///
/// # Errors
/// What was expected and what came.
pub(super) async fn run(action: &Action, rig: &mut Rig) -> Result<(), String> {
    match action {
        Action::Add(rows) => rig.add(rows).await,
        Action::Restart(set) => rig.restart(set).await,
        Action::AdvanceClock(by) => rig.advance_clock(*by).await,
        Action::Error { at, contains } => expect_error(*at, contains, rig).await,
        Action::Expect(scope, expected) => {
            rig.needs_running().await?;
            expect_rows(*scope, expected, rig)
        }
        Action::Watermark(expected) => {
            rig.needs_running().await?;
            expect_watermark(expected, rig)
        }
        Action::State(counts) => {
            rig.needs_running().await?;
            expect_state(counts, rig)
        }
        Action::EventTime(expected) => {
            rig.needs_running().await?;
            expect_event_time(expected, rig)
        }
    }
}

async fn expect_error(at: At, contains: &str, rig: &mut Rig) -> Result<(), String> {
    rig.start_if_new().await?;
    let word = |at| if at == At::Start { "at start" } else { "while running" };
    match rig.take_failure() {
        None => Err(format!("expected: an error {} that holds '{contains}'\ncame:     none", word(at))),
        Some((came_at, text)) if came_at != at => {
            Err(format!("expected: an error {}\ncame:     one {}: {text}", word(at), word(came_at)))
        }
        Some((_, text)) if text.to_lowercase().contains(&contains.to_lowercase()) => Ok(()),
        Some((_, text)) => Err(format!("expected: an error that holds '{contains}'\ncame:     {text}")),
    }
}

fn expect_rows(scope: Scope, expected: &Expected, rig: &mut Rig) -> Result<(), String> {
    let by_sink = match expected {
        Expected::BySink(by_sink) => by_sink.clone(),
        Expected::Only(rows) => match rig.sink_names().as_slice() {
            [only] => vec![(only.clone(), rows.clone())],
            several => return Err(format!("expected a map from sinks to rows, the sinks are {}", several.join(", "))),
        },
    };
    for (sink, rows) in by_sink {
        expect_rows_of(&sink, scope, &rows, rig).map_err(|e| format!("sink {sink}\n{e}"))?;
    }
    Ok(())
}

fn expect_rows_of(sink: &str, scope: Scope, expected: &[Row], rig: &mut Rig) -> Result<(), String> {
    let (schema, batches) = rig.sink_rows(sink, scope)?;
    let came = cells(&batches)?;
    let columns: Vec<&str> = schema.fields().iter().map(|it| it.name().as_str()).collect();
    let expected = expected.iter().map(|row| rows::in_order(row, &columns)).collect::<Result<Vec<_>, _>>();
    let came_text = || came.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let expected = expected.map_err(|e| format!("{e}\ncame:     [{}]", came_text()))?;
    let expected = cells([&rows::decode(&expected, &schema)?])?;
    same_rows(&expected, &came)
}

fn expect_watermark(expected: &Node, rig: &Rig) -> Result<(), String> {
    let expected = rows::time_ms(expected)?;
    // Without any watermark the query stands where one that has seen nothing stands.
    let came = rig.watermark_ms().unwrap_or(0);
    if came == expected {
        return Ok(());
    }
    Err(format!("expected: watermark {}\ncame:     {}", rows::show_ms(expected), rows::show_ms(came)))
}

fn expect_state(counts: &[(Counter, Counts)], rig: &mut Rig) -> Result<(), String> {
    let operators = rig.take_state();
    for (counter, expected) in counts {
        let came: Vec<u64> = operators.iter().map(|it| it.of(*counter)).collect();
        let (same, expected) = match expected {
            Counts::Sum(sum) => (came.iter().sum::<u64>() == *sum, sum.to_string()),
            Counts::Each(each) => (came == *each, format!("{each:?}")),
        };
        if !same {
            return Err(format!("expected: state {} {expected}\ncame:     {came:?}, by operator", counter.name()));
        }
    }
    Ok(())
}

fn expect_event_time(expected: &[(String, Node)], rig: &Rig) -> Result<(), String> {
    let progress = rig.last_with_input().ok_or("expected: event times\ncame:     no epoch had input")?;
    for (key, node) in expected {
        let expected = rows::time_ms(node)?;
        let came = progress.get("eventTime").and_then(|it| it.get(key)).and_then(Value::as_str).and_then(millis);
        if came != Some(expected) {
            let came = came.map_or_else(|| "nothing".to_owned(), rows::show_ms);
            return Err(format!("expected: event_time {key} {}\ncame:     {came}", rows::show_ms(expected)));
        }
    }
    Ok(())
}
