//! A look at a checkpoint as text for people.

use std::fmt::Write;

use tidegate_epoch::inspect::{CheckpointView, EpochView, Finding, NewestView, OwnerState, OwnerView};

/// What a checkpoint holds.
pub(super) fn view(view: &CheckpointView) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write_view(&mut text, view);
    text
}

/// What is wrong with a checkpoint, a line each.
pub(super) fn findings(findings: &[Finding], place: &str) -> String {
    if findings.is_empty() {
        return format!("checkpoint {place}: nothing is wrong");
    }
    let mut text: String = findings.iter().map(|it| format!("{it}\n")).collect();
    let files = if findings.len() == 1 { "1 finding".to_owned() } else { format!("{} findings", findings.len()) };
    text.push_str(&format!("checkpoint {place}: {files}"));
    text
}

fn write_view(text: &mut String, view: &CheckpointView) -> std::fmt::Result {
    writeln!(text, "checkpoint {}", view.location)?;
    writeln!(text, "query      {}", view.query_id.as_deref().unwrap_or("none"))?;
    writeln!(text, "owner      {}", view.owner.as_ref().map_or("none".to_owned(), owner))?;
    writeln!(text, "newest     {}", view.newest.as_ref().map_or("no epoch yet".to_owned(), newest))?;
    for group in view.newest.iter().flat_map(|it| &it.next_watermark_groups) {
        let (nodes, sinks) = (group.nodes.join(", "), group.sinks.join(", "));
        writeln!(text, "watermark  {} of {nodes}, for sinks {sinks}", time(group.watermark_ms))?;
    }
    writeln!(text, "go back to {}", ranges(&view.epochs))?;
    for branch in &view.branches {
        writeln!(text, "branch     epoch {}: {}", branch.next, branch.reason)?;
    }
    for source in &view.sources {
        writeln!(text, "source     {} (sources/{}) at {}", source.name, source.index, source.offset)?;
    }
    for sink in &view.sinks {
        writeln!(text, "sink       {sink}")?;
    }
    for snapshot in &view.snapshots {
        writeln!(
            text,
            "snapshot   of epoch {} (attempt {}), {} bytes",
            snapshot.epoch, snapshot.attempt, snapshot.bytes
        )?;
    }
    for (folder, size) in &view.sizes {
        writeln!(text, "size       {folder}: {} files, {} bytes", size.files, size.bytes)?;
    }
    Ok(())
}

fn owner(owner: &OwnerView) -> String {
    let state = match owner.state {
        OwnerState::Running => "running".to_owned(),
        OwnerState::Ended => "ended".to_owned(),
        OwnerState::HeartbeatAt(ms) => format!("last heard of at {}", time(ms)),
        OwnerState::Unknown => "not heard of".to_owned(),
    };
    let OwnerView { run_id, host, process, generation, since_ms, .. } = owner;
    format!("{state}: run {run_id}, process {process} on {host}, generation {generation} since {}", time(*since_ms))
}

fn newest(newest: &NewestView) -> String {
    let state = if newest.decided { "decided" } else { "pending, unless its sinks have it" };
    let mut text =
        format!("epoch {} (attempt {}), {state}, planned at {}", newest.epoch, newest.attempt, time(newest.time_ms));
    if let Some(watermark) = newest.next_watermark_ms {
        text.push_str(&format!(", watermark {}", time(watermark)));
    }
    text
}

/// `3-7, 12`: epochs that follow each other as one.
fn ranges(epochs: &[EpochView]) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for epoch in epochs.iter().map(|it| it.epoch) {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(epoch) => *last = epoch,
            _ => ranges.push((epoch, epoch)),
        }
    }
    let shown = ranges.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    match shown.collect::<Vec<_>>() {
        none if none.is_empty() => "no epoch".to_owned(),
        some => some.join(", "),
    }
}

/// Milliseconds since 1970 as people write a time.
pub(super) fn time(ms: i64) -> String {
    use arrow_array::temporal_conversions::timestamp_ms_to_datetime;
    let shown = timestamp_ms_to_datetime(ms).map(|it| it.format("%Y-%m-%d %H:%M:%S%.3fZ").to_string());
    shown.unwrap_or_else(|| format!("{ms} ms"))
}
