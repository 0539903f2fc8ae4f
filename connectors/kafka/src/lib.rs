#![doc = include_str!("../README.md")]

mod client;
mod cluster;
mod config;
mod feed;
mod fetch;
mod limit;
mod offset;
mod reader;
mod reading;
mod settings;
mod shared;
mod sink;
mod source;
mod start;
mod tracker;

pub use config::{FetchClient, KafkaConfig};
pub use offset::{KafkaOffset, StartAt, StartingOffsets};
pub use sink::config::{Delivery, KafkaSinkConfig, ValueFormat};
pub use sink::{KafkaSink, TopicPart, TopicSink, TopicWriter};
pub use source::{Kafka, KafkaSource};

/// Adds source and sink.
#[must_use]
pub fn register(registry: tidegate_api::Registry) -> tidegate_api::Registry {
    registry.source::<Kafka>().sink::<KafkaSink>()
}
