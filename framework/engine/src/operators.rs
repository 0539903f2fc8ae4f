//! Stateful operators: each keeps its state between epochs and emits rows when an epoch's input is complete.

pub(crate) mod aggregate;
mod panes;
pub(crate) mod shape;
