//! `Tracker`: the thread that serves the client's events and asks for marks and partitions beside the epochs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use tidegate_api::{Error, Result};

use crate::shared::Shared;

/// A wait for the client's events, and the least time between two questions for ends.
const TICK: Duration = Duration::from_millis(100);
/// Between two questions for ends while nothing is known to be new.
const IDLE: Duration = Duration::from_secs(1);
/// Between two looks for new partitions.
const FIND: Duration = Duration::from_secs(3);

/// Runs until it is dropped. The thread ends soon after, and closes the client if it is the last to hold it.
pub(crate) struct Tracker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tracker {
    pub(crate) fn start(shared: Arc<Shared>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("kafka-tracker".to_owned());
        let thread = thread.spawn(move || run(&shared, &stopped));
        let thread = thread.map_err(|e| Error::transient("no thread for the kafka client").because(e))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// False if the thread has ended, which it does not do by itself.
    pub(crate) fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|it| !it.is_finished())
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        // Not joined: the thread may be in the middle of a question that takes seconds.
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn run(shared: &Shared, stopped: &AtomicBool) {
    let client = shared.cluster.consumer.client();
    let start = Instant::now();
    let (mut asked_at, mut found_at) = (start, start);
    let mut missing = BTreeSet::new();
    while !stopped.load(Ordering::Relaxed) {
        match client.poll(TICK) {
            Some(Ok(_)) => tracing::error!("a kafka record came by the wrong queue"),
            Some(Err(error)) => tracing::debug!("kafka: {error}"),
            None => {}
        }
        if let Some((code, text)) = client.context().take_last() {
            tracing::warn!(?code, "kafka at {}: {text}", shared.cluster.servers());
        }
        if found_at.elapsed() >= FIND {
            shared.find_partitions(&mut missing);
            found_at = Instant::now();
        }
        let due = asked_at.elapsed();
        if due >= TICK && shared.is_behind() || due >= IDLE && shared.asked.swap(false, Ordering::Relaxed) {
            shared.ask_ends();
            asked_at = Instant::now();
        }
    }
}
