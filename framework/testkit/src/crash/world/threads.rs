//! Threads for owners that may stand still: one that has ended takes the next, since making one costs more than a life.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use tidegate_api::{Error, Result};

type Work = Box<dyn FnOnce() -> Result<()> + Send>;
type Order = (Work, SyncSender<Result<()>>);

/// Those that wait for work; they end with the process.
static IDLE: Mutex<Vec<SyncSender<Order>>> = Mutex::new(Vec::new());

/// Work on a thread of its own.
pub(super) struct Working(Receiver<Result<()>>);

impl Working {
    /// Waits for its end.
    pub(super) fn join(self) -> Result<()> {
        self.0.recv().unwrap_or_else(|_| Err(Error::internal("a life panicked")))
    }
}

/// Begins work.
pub(super) fn work(work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<Working> {
    let (done, ended) = sync_channel(1);
    let mut order: Order = (Box::new(work), done);
    loop {
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let thread = idle.map_or_else(new, Ok)?;
        match thread.send(order) {
            Ok(()) => return Ok(Working(ended)),
            Err(back) => order = back.0,
        }
    }
}

fn new() -> Result<SyncSender<Order>> {
    let (orders, taken) = sync_channel::<Order>(1);
    let own = orders.clone();
    let run = move || {
        while let Ok((work, done)) = taken.recv() {
            let ended = work();
            IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(own.clone());
            // Nobody may want to know any more.
            let _ = done.send(ended);
        }
    };
    thread::Builder::new().spawn(run).map_err(|e| Error::internal("no thread").because(e))?;
    Ok(orders)
}
