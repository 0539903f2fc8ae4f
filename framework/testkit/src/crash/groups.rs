//! Counts for sinks that go by watermarks of their own: each has its own state, fed by one source or by both.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use tidegate_api::Result;
use tidegate_epoch::state::KeyedState;
use tidegate_epoch::{
    Deltas, EpochInput, EpochNumbers, OperatorDelta, OperatorSnapshot, Outputs, Program, WatermarkNode, Watermarks,
};

use super::program::{Counting, DELAY_MS, Groups, Probe, Seen, layout, lines, restore, show};
use super::script::output;

/// The watermark nodes, by source.
const NODES: [&str; 2] = ["left", "right"];

pub(super) struct GroupsProgram {
    /// By sink.
    states: Vec<KeyedState>,
    probe: Probe,
}

impl GroupsProgram {
    pub(super) fn new(sinks: usize, probe: Probe) -> Result<Self> {
        Ok(Self { states: Self::empty(sinks)?, probe })
    }

    fn empty(sinks: usize) -> Result<Vec<KeyedState>> {
        (0..sinks).map(|it| KeyedState::new(layout(&operator(it)))).collect()
    }

    /// The sources that feed a sink.
    fn sources(&self, sink: usize) -> Range<usize> {
        match sink {
            _ if self.states.len() == 1 => 0..2,
            0 => 0..1,
            1 => 1..2,
            _ => 0..2,
        }
    }

    fn show(&self) {
        let of_sink = |(sink, state)| lines(state).into_iter().map(move |it| format!("sink {sink}: {it}"));
        show(&self.probe, self.states.iter().enumerate().flat_map(of_sink).collect());
    }
}

fn operator(sink: usize) -> String {
    format!("count-{sink}")
}

#[async_trait]
impl Program for GroupsProgram {
    fn watermarks(&self) -> Vec<WatermarkNode> {
        NODES.iter().map(|it| WatermarkNode { id: (*it).into(), delay_ms: DELAY_MS, idle_ms: None }).collect()
    }

    fn watermark_groups(&self) -> Vec<BTreeSet<Arc<str>>> {
        let of = |sink: usize| NODES.iter().enumerate().filter(move |it| self.sources(sink).contains(&it.0));
        (0..self.states.len()).map(|sink| of(sink).map(|it| (*it.1).into()).collect()).collect()
    }

    async fn run(&mut self, input: EpochInput, outputs: &mut Outputs) -> Result<EpochNumbers> {
        let (mut came, mut event_times) = (Vec::new(), Vec::new());
        for source in input.sources {
            let mut seen = Seen::default();
            seen.read(source).await?;
            event_times.push(seen.times);
            came.push(seen.groups);
        }
        for sink in 0..self.states.len() {
            let mut groups = Groups::new();
            for (group, n) in came.get(self.sources(sink)).unwrap_or_default().iter().flatten() {
                *groups.entry(group.clone()).or_default() += n;
            }
            let of_sink = |it: &Watermarks| it.of_sink(sink).unwrap_or(0);
            let (late_ms, evict_ms) = (of_sink(&input.late), of_sink(&input.evict));
            let counting = Counting { epoch: &input.epoch, late_ms, evict_ms, mark: input.epoch.time_ms };
            let Some(state) = self.states.get_mut(sink) else { continue };
            let rows = counting.count(state, groups)?;
            if !rows.is_empty() {
                outputs.write(sink, output(&rows, sink)?).await?;
            }
        }
        let source_rows = event_times.iter().map(|it| it.count).collect();
        Ok(EpochNumbers { source_rows, event_times, ..EpochNumbers::default() })
    }

    fn delta(&self) -> Result<Vec<OperatorDelta>> {
        self.states.iter().filter_map(|it| it.delta().transpose()).collect()
    }

    fn seal(&mut self) {
        self.states.iter_mut().for_each(KeyedState::seal);
        self.show();
    }

    fn discard(&mut self) {
        self.states.iter_mut().for_each(KeyedState::discard);
    }

    fn restore(&mut self, snapshot: Vec<OperatorSnapshot>, deltas: &mut Deltas<'_>) -> Result<()> {
        self.states = Self::empty(self.states.len())?;
        restore(&mut self.states, &snapshot, deltas)?;
        self.show();
        Ok(())
    }

    fn snapshot(&self) -> Result<Vec<OperatorSnapshot>> {
        Ok(self.states.iter().map(KeyedState::snapshot).collect())
    }

    fn wants_epoch_without_data(&self, used: &Watermarks, next: &Watermarks) -> bool {
        (0..self.states.len()).any(|sink| next.of_sink(sink) > used.of_sink(sink))
    }
}
