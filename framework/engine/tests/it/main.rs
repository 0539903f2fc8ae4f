//! Queries end to end in process: memory sources and sinks, real checkpoints, a manual clock.

mod batch_equals_stream;
mod harness;
mod plans;
mod restart;
