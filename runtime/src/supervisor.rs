//! `Supervisor`: runs queries side by side until all have ended, one has failed, or a signal comes.
//!
//! Two runtimes: queries compute on one, network and disk have the other, so that a query that decodes never holds up
//! a commit or a heartbeat.

use std::time::Duration;

use tidegate_api::{Error, MemoryBudget, Result};
use tidegate_engine::{Environment, MEMORY_BYTES, QueryPlan, failed};
use tidegate_epoch::{Faults, StopSignal};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::clock;
use crate::progress::{self, Style};
use crate::screen::Screen;

/// Network and disk: little work, never held up.
const IO_THREADS: usize = 2;
/// Deep expressions recurse.
const CPU_STACK_BYTES: usize = 8 << 20;
/// How long threads that still block may hold up the end of the process.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// A query that is ready to start.
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) plan: QueryPlan,
}

/// The threads of the process.
pub(crate) struct Threads {
    io: Runtime,
    cpu: Runtime,
}

impl Threads {
    /// Starts them.
    ///
    /// # Errors
    /// `Internal` if the system gives none.
    pub(crate) fn start() -> Result<Self> {
        let wrong = |e: std::io::Error| Error::internal("threads can't be started").because(e);
        let mut io = Builder::new_multi_thread();
        let io = io.worker_threads(IO_THREADS).thread_name("tidegate-io").enable_all().build().map_err(wrong)?;
        let mut cpu = Builder::new_multi_thread();
        cpu.thread_name("tidegate-cpu").thread_stack_size(CPU_STACK_BYTES).enable_all();
        tidegate_storage::run_requests_on(io.handle().clone());
        Ok(Self { io, cpu: cpu.build().map_err(wrong)? })
    }

    /// Runs `work` on a thread for queries.
    ///
    /// # Errors
    /// `Internal` if it panics.
    pub(crate) fn compute<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let broke_off = |e: JoinError| Error::internal("the work broke off").because(e);
        self.io.block_on(self.cpu.spawn(work)).map_err(broke_off)
    }

    /// Where network and disk have their threads.
    pub(crate) fn io(&self) -> Handle {
        self.io.handle().clone()
    }

    /// Runs all jobs to their end.
    ///
    /// # Errors
    /// That of the first query that failed, with its name; the others have been stopped.
    pub(crate) fn run(&self, jobs: Vec<Job>, style: Style, screen: &Screen) -> Result<()> {
        self.io.block_on(supervise(jobs, style, screen, self.cpu.handle()))
    }

    /// Ends them; what still blocks is left behind.
    pub(crate) fn end(self) {
        self.cpu.shutdown_timeout(LAST_WAIT);
        self.io.shutdown_timeout(LAST_WAIT);
    }
}

async fn supervise(jobs: Vec<Job>, style: Style, screen: &Screen, cpu: &Handle) -> Result<()> {
    let mut signals = Signals::new()?;
    let stop = StopSignal::default();
    let mut running = JoinSet::new();
    for job in jobs {
        running.spawn_on(run_one(job, style, screen.clone(), Handle::current(), stop.clone()), cpu);
    }
    let mut failure = None;
    loop {
        tokio::select! {
            ended = running.join_next() => match ended {
                None => break,
                Some(ended) => {
                    if let Err(e) = flatten(ended) {
                        failure.get_or_insert(e);
                        stop.graceful.cancel();
                    }
                }
            },
            () = signals.next() => {
                if stop.graceful.is_cancelled() {
                    stop.forced.cancel();
                }
                stop.graceful.cancel();
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// What a query of this process runs in.
///
/// # Errors
/// `Config` if the environment sets the clock wrongly.
pub(crate) fn environment(io: Handle, cancel: CancellationToken) -> Result<Environment> {
    Ok(Environment {
        clock: clock()?,
        io,
        memory: MemoryBudget::new(MEMORY_BYTES),
        cancel,
        listeners: Vec::new(),
        faults: Faults::default(),
    })
}

async fn run_one(job: Job, style: Style, screen: Screen, io: Handle, stop: StopSignal) -> Result<()> {
    let cancel = CancellationToken::new();
    // What the connectors have started ends with the query, however that ends.
    let _ends_with_the_query = cancel.clone().drop_guard();
    let listeners = progress::listener(style, &job.name, &screen).into_iter().collect();
    let environment = Environment { listeners, ..environment(io, cancel)? };
    let run = async {
        let mut query = tokio::select! {
            biased;
            query = job.plan.start(environment) => query?,
            // Nothing is lost: what was pending is finished by the next start.
            () = stop.graceful.cancelled() => return Ok(()),
        };
        query.run(&stop).await
    };
    Box::pin(run).await.map_err(|e: Error| failed(e, &format!("query '{}'", job.name)))
}

fn flatten(ended: Result<Result<()>, JoinError>) -> Result<()> {
    ended.unwrap_or_else(|e| Err(Error::internal("a query broke off").because(e)))
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let wrong = |e: std::io::Error| Error::internal("signals can't be listened to").because(e);
        let interrupt = signal(SignalKind::interrupt()).map_err(wrong)?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate()).map_err(wrong)? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
