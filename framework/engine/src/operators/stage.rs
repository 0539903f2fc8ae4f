//! `RunningStage`: an operator in its place in the query, and what all operators do alike with their state.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::RecordBatch;
use tidegate_api::Result;
use tidegate_epoch::state::KeyedState;
use tidegate_epoch::{OperatorDelta, OperatorNumbers, OperatorSnapshot, StateShape};

use super::{Emitted, Operator, OperatorEpoch};

/// A stage of a query that runs.
pub(crate) struct RunningStage {
    /// The name of its state.
    pub(crate) name: Arc<str>,
    pub(crate) operator: Box<dyn Operator>,
    /// The stages that it reads, all before it.
    pub(crate) below: BTreeSet<usize>,
    /// The sinks above it. Where a watermark acts they go by the same.
    pub(crate) sinks: BTreeSet<usize>,
    /// The stage whose state it takes over as long as the checkpoint has none of its own.
    pub(crate) origin: Option<Arc<str>>,
}

impl RunningStage {
    /// Runs an epoch of its operator, and counts what its stores hold then.
    pub(crate) async fn epoch(
        &mut self,
        inputs: Vec<Vec<RecordBatch>>,
        ctx: &OperatorEpoch<'_>,
    ) -> Result<(Emitted, OperatorNumbers)> {
        let (emitted, mut numbers) = self.operator.epoch(inputs, ctx).await?;
        let stores = self.operator.stores();
        numbers.rows_total = stores.iter().map(|it| it.len() as u64).sum();
        numbers.memory_bytes = stores.iter().map(|it| it.memory_bytes() as u64).sum();
        let on_disk: u64 = stores.iter().map(KeyedState::disk_bytes).sum();
        if on_disk > 0 {
            numbers.custom.insert("spilledBytes", on_disk);
        }
        Ok((emitted, numbers))
    }

    /// The names of its stores.
    pub(crate) fn store_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.operator.stores().iter().map(|it| &it.layout().operator)
    }

    /// The store of that name, if it is one of this stage's.
    pub(crate) fn store(&mut self, name: &str) -> Option<&mut KeyedState> {
        self.operator.stores_mut().iter_mut().find(|it| *it.layout().operator == *name)
    }

    /// Its stores, each with the one whose state it takes over.
    pub(crate) fn origins(&self) -> impl Iterator<Item = (Arc<str>, Arc<str>)> {
        self.store_names().filter_map(|store| {
            let which = store.strip_prefix(&*self.name)?;
            Some((store.clone(), format!("{}{which}", self.origin.as_ref()?).into()))
        })
    }

    /// Deltas that change nothing, of the stores that take over another's state and are not among `written`.
    pub(crate) fn silent(&self, written: &[OperatorDelta]) -> impl Iterator<Item = OperatorDelta> {
        let stores = self.operator.stores().iter().filter(|_| self.origin.is_some());
        stores.map(KeyedState::layout).filter(|it| written.iter().all(|delta| delta.operator != it.operator)).map(
            |it| {
                let (operator, layout) = (it.operator.clone(), it.layout.clone());
                let shape = Some(self.with_origin(it.shape(), &operator));
                OperatorDelta { operator, layout, evict_through_us: None, tombstones: None, puts: None, shape }
            },
        )
    }

    /// What the epoch changed, of the stores that it changed.
    pub(crate) fn deltas(&self) -> impl Iterator<Item = Result<OperatorDelta>> {
        let deltas = self.operator.stores().iter().filter_map(|it| it.delta().transpose());
        deltas.map(|delta| {
            let mut delta = delta?;
            delta.shape = delta.shape.map(|it| self.with_origin(it, &delta.operator));
            Ok(delta)
        })
    }

    /// The shape of a store, with the one whose state it took over.
    fn with_origin(&self, mut shape: StateShape, store: &str) -> StateShape {
        shape.origin = self.origins().find(|it| *it.0 == *store).map(|it| it.1);
        shape
    }

    pub(crate) fn snapshots(&self) -> impl Iterator<Item = OperatorSnapshot> {
        self.operator.stores().iter().map(KeyedState::snapshot)
    }

    pub(crate) fn seal(&mut self) {
        self.operator.stores_mut().iter_mut().for_each(KeyedState::seal);
    }

    pub(crate) fn discard(&mut self) {
        self.operator.stores_mut().iter_mut().for_each(KeyedState::discard);
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) -> Result<()> {
        for store in self.operator.stores_mut() {
            *store = KeyedState::new(store.layout().clone())?;
        }
        Ok(())
    }
}

/// The watermark of a stage's input, given that of its sinks: that one, or what the stages below make of it (Spark:
/// `WatermarkPropagator`).
pub(crate) fn input_watermark(stages: &[RunningStage], at: usize, sinks_us: Option<i64>) -> Option<i64> {
    let below = stages.get(at).into_iter().flat_map(|it| &it.below);
    let outputs = below.filter_map(|below| {
        let operator = &stages.get(*below)?.operator;
        operator.output_watermark(input_watermark(stages, *below, sinks_us))
    });
    outputs.chain(sinks_us).min()
}
