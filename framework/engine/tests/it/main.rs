//! Queries end to end in process: memory sources and sinks, real checkpoints, a manual clock.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod batch_equals_stream;
mod builder;
mod fuzzed;
mod groups;
mod harness;
mod joins;
mod many_groups;
mod observed;
mod parallelism;
mod past_spark;
mod plans;
mod restart;
mod retraction;
mod stateful;
mod statics;
