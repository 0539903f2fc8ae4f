//! Fetches whole record batches over connections of our own, beside librdkafka, which stays the one that knows brokers,
//! partitions and offsets (`docs/decisions/0018-own-fetch.md`).
//!
//! ```text
//! leaders ── partition ──▶ link (a task a broker) ── record batches ──▶ inbox ──▶ OwnQueue ── records ──▶ Reader
//!    ▲                       │ error, other leader                        (bytes as they came)  (engine's thread)
//!    └────── homeless ◀──────┘
//! ```

mod batch;
mod connection;
mod homeless;
mod inbox;
mod leaders;
mod link;
mod options;
mod queue;
mod record;
mod records;
mod sasl;
mod security;
mod tls;
mod unpack;
mod wire;

use std::sync::Arc;

use tidegate_api::{Error, Result};
use tidegate_kafka_ffi::Wake;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

pub(crate) use options::supports;
pub(crate) use queue::OwnQueue;

use crate::cluster::Cluster;
use crate::config::{FetchClient, KafkaConfig};
use crate::settings;
use homeless::Homeless;
use inbox::Inbox;
use link::Rules;
use options::Options;

/// Fetches the partitions that are opened. Its tasks end with it.
pub(crate) struct Fetcher {
    rules: Arc<Rules>,
    task: AbortHandle,
}

impl Fetcher {
    /// Starts the task that looks for brokers; connects to nothing yet.
    fn start(cluster: &Arc<Cluster>, options: Options, connector: Option<TlsConnector>, io: &Handle) -> Self {
        let homeless = Arc::new(Homeless::default());
        let rules = Arc::new(Rules { options, connector, fail_on_data_loss: cluster.fail_on_data_loss, homeless });
        // It keeps no client alive: closing one takes its time and is no matter for this runtime.
        let task = io.spawn(leaders::run(rules.clone(), Arc::downgrade(cluster))).abort_handle();
        Self { rules, task }
    }

    /// Starts to fetch a partition from `start`. `wake` is called when there is news; it must be quick.
    pub(crate) fn open(self: &Arc<Self>, topic: &str, partition: i32, start: i64, wake: Wake) -> OwnQueue {
        let options = &self.rules.options;
        let inbox = Arc::new(Inbox::new(topic, partition, start, options.queue_bytes, wake));
        self.rules.homeless.new_one(inbox.clone());
        OwnQueue::new(inbox, self.clone(), start, options.answer_bytes)
    }

    /// Goes on at `start` in a partition.
    fn jump(&self, inbox: &Arc<Inbox>, start: i64) {
        if inbox.jump(start) {
            self.rules.homeless.new_one(inbox.clone());
        }
    }
}

/// Our own client, where it is wanted and the settings allow it; else librdkafka fetches. Says which.
///
/// # Errors
/// If our own client is asked for and can't do what the settings want.
pub(crate) async fn choose(
    config: &KafkaConfig,
    group: &str,
    cluster: &Arc<Cluster>,
    io: &Handle,
) -> Result<Option<Arc<Fetcher>>> {
    if config.fetch_client == FetchClient::Librdkafka {
        return Ok(None);
    }
    let supported = supports(&settings::source(config, group));
    let prepared = io.spawn_blocking(move || {
        let options = supported?;
        Ok((options.connector()?, options))
    });
    match prepared.await.map_err(|e| Error::internal("certificates were not read").because(e))? {
        Ok((connector, options)) => {
            tracing::info!("kafka at {}: records are fetched by our own client", cluster.servers());
            Ok(Some(Arc::new(Fetcher::start(cluster, options, connector, io))))
        }
        Err(reason) if config.fetch_client == FetchClient::Own => {
            Err(Error::config(format!("fetch.client can't be own: {reason}")))
        }
        Err::<_, String>(reason) => {
            tracing::info!("kafka at {}: records are fetched by librdkafka: {reason}", cluster.servers());
            Ok(None)
        }
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}
