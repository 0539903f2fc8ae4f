//! `explain`: a query's plan as text for people.

use std::fmt::Write;

use datafusion::physical_plan::displayable;

use tidegate_api::{Changes, Replay};
use tidegate_epoch::Tolerance;
use tidegate_sql::CHANGE_COLUMN;

use super::cut::Target;
use super::{PlannedLetters, PlannedSink, QueryPlan};
use crate::exec::leaf::Emission;

impl QueryPlan {
    /// Sources, operators, state, watermarks, and what each sink gets.
    pub fn explain(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = self.write_to(&mut text);
        text
    }

    fn write_to(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "query {}", self.spec.name)?;
        writeln!(text, "trigger: {}", self.spec.options.trigger)?;
        self.write_checkpoint(text)?;
        for source in &self.sources {
            let kind = if source.spec.is_static { "static table" } else { "stream" };
            let columns: Vec<_> = source.used.fields().iter().map(|it| it.name().as_str()).collect();
            writeln!(
                text,
                "source {} ({}, {kind}): reads {}",
                source.spec.name,
                source.spec.connector,
                columns.join(", ")
            )?;
        }
        for node in &self.watermarks {
            write!(text, "watermark on {}: {:?} behind the largest event time", node.id, duration_of(node.delay_ms))?;
            match node.idle_ms {
                Some(ms) => writeln!(text, ", holds no other one back after {:?} without rows", duration_of(ms))?,
                None => writeln!(text)?,
            }
        }
        if let Some(ahead) = self.spec.options.max_ahead.filter(|_| !self.watermarks.is_empty()) {
            writeln!(text, "rows more than {ahead:?} ahead of the clock move no watermark and are late")?;
        }
        if self.spec.options.emit_in_same_epoch && !self.watermarks.is_empty() {
            writeln!(text, "what an epoch's own rows close is emitted in it")?;
        }
        if let Some(target) = self.spec.options.target_latency {
            writeln!(text, "as many rows in an epoch as it can do in about {target:?}")?;
        }
        self.write_stages(text)?;
        for (at, sink) in self.sinks.iter().enumerate() {
            let effort = if sink.part.best_effort { ", best effort" } else { "" };
            writeln!(text, "sink {} ({}, {} mode{effort})", sink.part.name, sink.part.connector, sink.spec.mode)?;
            writeln!(text, "    guarantee: {}", self.guarantee(sink))?;
            if sink.spec.changes == Changes::Retract {
                writeln!(text, "    {CHANGE_COLUMN}: -1 for a row that no longer is, +1 for one that is there now")?;
            }
            self.write_group(text, at)?;
            if self.late_sinks.contains(&at) {
                self.write_late(text)?;
            }
            for piece in self.graph.pieces.iter().filter(|it| it.target == Target::Sink(at)) {
                write!(text, "{}", indented(&displayable(piece.plan.as_ref()).indent(false).to_string()))?;
            }
        }
        self.write_errors(text)
    }

    /// What a sink of late rows gets.
    fn write_late(&self, text: &mut String) -> std::fmt::Result {
        for late in self.graph.late.iter().filter(|it| it.timed) {
            let columns: Vec<_> = late.document.iter().map(|it| it.name().as_str()).collect();
            writeln!(text, "    late rows of '{}': {}", late.operator, columns.join(", "))?;
        }
        Ok(())
    }

    /// What feeds a sink, if not all sinks go by the same.
    fn write_group(&self, text: &mut String, sink: usize) -> std::fmt::Result {
        let mut groups = self.groups.iter().filter(|it| !it.is_empty());
        let first = groups.next();
        let Some(group) = self.groups.get(sink).filter(|it| !it.is_empty()) else { return Ok(()) };
        if groups.all(|it| Some(it) == first) {
            return Ok(());
        }
        writeln!(
            text,
            "    goes by the watermarks of {}",
            group.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
        )
    }

    fn write_errors(&self, text: &mut String) -> std::fmt::Result {
        match (self.spec.options.errors.tolerance, &self.letters) {
            (Tolerance::None, _) => Ok(()),
            (Tolerance::All, None) => writeln!(text, "rows that can't be used: dropped and counted"),
            (Tolerance::All, Some(PlannedLetters { part, connector })) => {
                let promise = connector.guarantee(&part.settings).map(|it| format!(", {it}")).unwrap_or_default();
                writeln!(text, "rows that can't be used: dead letters ({}{promise})", part.connector)
            }
        }
    }

    fn write_checkpoint(&self, text: &mut String) -> std::fmt::Result {
        let options = &self.spec.options;
        write!(text, "checkpoint: {}", options.checkpoint)?;
        if options.checkpoint.local().is_none() {
            write!(text, ", owned by a lease of {:?}", options.lease_timeout)?;
        }
        match options.least_interval() {
            it if it.is_zero() => writeln!(text),
            it => writeln!(text, ", at most one epoch each {it:?}"),
        }
    }

    /// End to end: the sink's promise, as far as the sources can read the same rows again.
    fn guarantee(&self, sink: &PlannedSink) -> String {
        let streams = self.sources.iter().filter(|it| !it.spec.is_static);
        let lost: Vec<_> = streams.filter(|it| it.connector.replay(&it.spec.settings) == Replay::None).collect();
        let promised = sink.connector.guarantee(&sink.part.settings);
        let promised = promised.map_or_else(|| "known once the sink is built".to_owned(), |it| it.to_string());
        match lost.first() {
            None => promised,
            Some(it) => {
                format!("{promised}, but source {} can't read again what an unfinished epoch had read", it.spec.name)
            }
        }
    }

    fn write_stages(&self, text: &mut String) -> std::fmt::Result {
        for (at, stage) in self.graph.stages.iter().enumerate() {
            let emits: Vec<_> = stage
                .emissions
                .iter()
                .map(|it| match it {
                    Emission::Closed => "groups that the watermark closes (append)",
                    Emission::Changed => "groups that changed (update)",
                    Emission::Changes => "groups that changed, as they were and as they are",
                    Emission::Whole => "all groups (complete)",
                    Emission::Rows => "rows as they come",
                })
                .collect();
            writeln!(text, "stage {at}: state '{}', emits {}", stage.name, emits.join(" and "))?;
            if let Some(details) = stage.spec.details() {
                writeln!(text, "    {details}")?;
            }
            let feeds = |it: &Target| matches!(it, Target::Stage { stage, .. } if *stage == at);
            for piece in self.graph.pieces.iter().filter(|it| feeds(&it.target)) {
                write!(text, "{}", indented(&displayable(piece.plan.as_ref()).indent(false).to_string()))?;
            }
        }
        Ok(())
    }
}

fn duration_of(ms: i64) -> std::time::Duration {
    std::time::Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn indented(plan: &str) -> String {
    plan.lines().map(|line| format!("    {line}\n")).collect()
}
