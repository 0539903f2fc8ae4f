//! `LinkThread`: the thread that makes the blocking calls of a [`Link`], one after the other.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tidegate_api::{Error, Result};
use tokio::sync::{Mutex, oneshot};
use tokio_util::sync::DropGuard;

use super::link::{Link, Setup};

/// How often the client is served while there is nothing to do.
const IDLE: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce(&mut Link) + Send>;

/// Lives as long as this; it is not waited for, since it may be in the middle of a question that takes a while.
#[derive(Clone)]
pub(crate) struct LinkThread {
    jobs: Arc<Mutex<SyncSender<Job>>>,
    /// Ends long waits once the last holder is gone.
    _stop: Arc<DropGuard>,
    _thread: Arc<JoinHandle<()>>,
}

impl LinkThread {
    /// Starts it.
    pub(crate) fn start(setup: Setup) -> Result<Self> {
        let stop = setup.stop.clone().drop_guard();
        let (jobs, waiting) = sync_channel(1);
        let thread = std::thread::Builder::new().name("kafka-sink".to_owned());
        let thread = thread.spawn(move || run(Link::new(setup), &waiting));
        let thread = thread.map_err(|e| Error::transient("no thread for a kafka producer").because(e))?;
        Ok(Self { jobs: Arc::new(Mutex::new(jobs)), _stop: Arc::new(stop), _thread: Arc::new(thread) })
    }

    /// Makes a call there and waits for its result.
    pub(crate) async fn call<T, F>(&self, call: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Link) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |link| {
            // Nobody may be waiting any more.
            let _ = reply.send(call(link));
        });
        // Held until the answer: one call at a time.
        let jobs = self.jobs.lock().await;
        match jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(Error::transient("the kafka producer is still busy")),
            Err(TrySendError::Disconnected(_)) => return Err(Error::internal("the thread of a kafka sink is gone")),
        }
        answer.await.map_err(|_| Error::internal("the thread of a kafka sink is gone"))?
    }
}

fn run(mut link: Link, jobs: &Receiver<Job>) {
    loop {
        match jobs.recv_timeout(IDLE) {
            Ok(job) => job(&mut link),
            Err(RecvTimeoutError::Timeout) => link.idle(),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    link.close();
}
