//! Shares a fixed set of workers between requests: a bounded queue, one window or one small batch per run.
//!
//! Windows of short requests go before all but the first of a long one. What does not fit the queue
//! is refused at once; what nobody waits for any more is dropped before it costs anything. A window that has the
//! machine to itself is computed by all threads, many windows by one thread each: `load` decides by what it measures.

mod batch;
mod load;
mod queue;
mod task;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use layoutlm_core::encoder::EncodedReceipt;
use layoutlm_core::window::Window;
use tokio::sync::oneshot;

pub use batch::BatchRule;
use queue::State;
use task::Task;

use crate::engine::EngineError;
use crate::metrics::Metrics;

/// What computes the windows of one run: `[seq, labels]` logits of each.
pub type Run = Box<dyn FnMut(&[&Window]) -> Result<Vec<Vec<f32>>, EngineError> + Send>;

/// What the workers compute with.
pub struct Lanes {
    /// One per worker, each of one thread.
    pub single: Vec<Run>,
    /// All threads for one window; shared by the workers.
    pub wide: Option<Run>,
}

/// Why work was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The queue has no room.
    #[error("{waiting} windows are waiting and {wanted} more do not fit")]
    Full {
        /// Windows in the queue.
        waiting: usize,
        /// Windows of the refused request.
        wanted: usize,
    },
    /// What waits already takes longer than a caller has.
    #[error("about {:.1} s of work are waiting already", waiting.as_secs_f64())]
    TooLate {
        /// Time for what waits.
        waiting: Duration,
    },
    /// The pool is shutting down.
    #[error("the workers have stopped")]
    Closed,
    /// A window could not be run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A worker panicked on a window; it goes on with the next.
    #[error("a worker panicked: {0}")]
    Panicked(String),
}

/// A request's answer.
#[derive(Debug)]
pub struct Done {
    /// `logits[receipt][window]` is `[seq, labels]` of `encoded[receipt].windows[window]`.
    pub logits: Vec<Vec<Vec<f32>>>,
    /// Time until the first window was started.
    pub queued: Duration,
    /// Time spent computing, summed over workers.
    pub computed: Duration,
}

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Windows.
    pub windows: usize,
    /// Time, by what was measured: what would be answered too late is refused at once.
    pub time: Duration,
}

/// Worker threads and their queue. Dropping it stops them after the windows they are at.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    /// May come later than the workers.
    wide: OnceLock<Mutex<Run>>,
    rule: BatchRule,
    limits: QueueLimits,
    workers: usize,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("state", &self.state)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Whether a request fits the queue. One that finds it empty always does.
    fn room(&self, state: &State, task: &Task) -> Result<(), PoolError> {
        let (waiting, wanted) = (state.waiting(), task.units());
        if waiting == 0 {
            return Ok(());
        }
        if waiting + wanted > self.limits.windows {
            return Err(PoolError::Full { waiting, wanted });
        }
        // What goes before its first window, and what later comers may put before the others.
        let (ahead, own) = (state.waiting_tokens(), task.all_tokens());
        let later = queue::YIELDS * (own - own / wanted.max(1));
        let time = state.load.time_for(ahead + own + later.min(ahead), self.workers);
        if time > self.limits.time { Err(PoolError::TooLate { waiting: time }) } else { Ok(()) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic is caught before it can leave data half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// Starts one thread per single lane.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn start(
        lanes: Lanes,
        rule: BatchRule,
        limits: QueueLimits,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            wide: lanes.wide.map(|run| OnceLock::from(Mutex::new(run))).unwrap_or_default(),
            rule,
            limits,
            workers: lanes.single.len(),
            metrics,
        });
        let mut pool = Self { shared, workers: Vec::new() };
        for (index, run) in lanes.single.into_iter().enumerate() {
            let shared = pool.shared.clone();
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            pool.workers.push(thread.spawn(move || worker::work(&shared, run))?);
        }
        Ok(pool)
    }

    /// For adding the lane of all threads when the workers run already.
    pub fn widener(&self) -> Widener {
        Widener(self.shared.clone())
    }

    /// Windows that wait for a worker.
    pub fn waiting(&self) -> usize {
        lock(&self.shared.state).waiting()
    }

    /// Worker threads.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Runs every window. Dropping the future takes its windows out of the queue.
    ///
    /// A request that alone is larger than the queue is taken when nothing else waits: its size is bounded elsewhere.
    ///
    /// # Errors
    /// [`PoolError`]; the first window that fails fails the request.
    pub async fn run(&self, encoded: Arc<Vec<EncodedReceipt>>) -> Result<Done, PoolError> {
        let (reply, answer) = oneshot::channel();
        let _queued = self.submit(encoded, reply)?;
        answer.await.unwrap_or(Err(PoolError::Closed))
    }

    fn submit(
        &self,
        encoded: Arc<Vec<EncodedReceipt>>,
        reply: oneshot::Sender<Result<Done, PoolError>>,
    ) -> Result<Option<Queued<'_>>, PoolError> {
        let Some(task) = Task::new(encoded, reply) else { return Ok(None) };
        let mut state = lock(&self.shared.state);
        if state.closed() {
            return Err(PoolError::Closed);
        }
        self.shared.room(&state, &task)?;
        let id = state.push(Arc::new(task));
        self.shared.metrics.waiting(state.waiting());
        drop(state);
        self.shared.wake.notify_all();
        Ok(Some(Queued { shared: &self.shared, id }))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.state).close();
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches panics, so there is nothing to hear from it.
            let _ = worker.join();
        }
    }
}

/// Adds the lane of all threads to a pool, which may be gone by then.
pub struct Widener(Arc<Shared>);

impl Widener {
    /// From now on a window that has the machine to itself goes to `run`. A pool that has such a lane keeps it.
    pub fn widen(self, run: Run) {
        let _ = self.0.wide.set(Mutex::new(run));
    }
}

/// Takes a request out of the queue when its caller goes away.
struct Queued<'p> {
    shared: &'p Shared,
    id: u64,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        let abandoned = state.remove(self.id);
        self.shared.metrics.waiting(state.waiting());
        drop(state);
        self.shared.metrics.abandoned(abandoned);
    }
}
