//! Shares a fixed set of workers between requests: a bounded queue, one window per run.
//!
//! Requests take turns window by window, so that a short one never waits behind a long one. What does not fit the queue
//! is refused at once; what nobody waits for any more is dropped before it costs anything. A window's answer never
//! depends on who else is in the queue.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use layoutlm_core::encoder::EncodedReceipt;
use layoutlm_core::window::Window;
use tokio::sync::oneshot;

use crate::engine::EngineError;

/// What a worker does with one window: `[seq, labels]` logits.
pub type Run = Box<dyn FnMut(&Window) -> Result<Vec<f32>, EngineError> + Send>;

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

/// Worker threads and their queue. Dropping it stops them after the windows they are at.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Entry>,
    waiting: usize,
    next_id: u64,
    closed: bool,
}

/// A request with windows that nobody has started yet.
#[derive(Debug)]
struct Entry {
    id: u64,
    task: Arc<Task>,
    next: usize,
}

#[derive(Debug)]
struct Task {
    encoded: Arc<Vec<EncodedReceipt>>,
    /// `(receipt, window)` of each unit of work.
    units: Vec<(usize, usize)>,
    submitted: Instant,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    logits: Vec<Vec<Vec<f32>>>,
    left: usize,
    queued: Option<Duration>,
    computed: Duration,
    reply: Option<oneshot::Sender<Result<Done, PoolError>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic is caught before it can leave data half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// Starts one thread per `run`; at most `capacity` windows wait.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn start(runs: Vec<Run>, capacity: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Condvar::new(), capacity });
        let mut pool = Self { shared, workers: Vec::new() };
        for (index, run) in runs.into_iter().enumerate() {
            let shared = pool.shared.clone();
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            pool.workers.push(thread.spawn(move || work(&shared, run))?);
        }
        Ok(pool)
    }

    /// Windows that wait for a worker.
    pub fn waiting(&self) -> usize {
        lock(&self.shared.state).waiting
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
        let units: Vec<(usize, usize)> = encoded
            .iter()
            .enumerate()
            .flat_map(|(receipt, e)| (0..e.windows.len()).map(move |window| (receipt, window)))
            .collect();
        let logits = encoded.iter().map(|e| vec![Vec::new(); e.windows.len()]).collect();
        let wanted = units.len();
        if wanted == 0 {
            let _ = reply.send(Ok(Done { logits, queued: Duration::ZERO, computed: Duration::ZERO }));
            return Ok(None);
        }
        let progress =
            Progress { logits, left: wanted, queued: None, computed: Duration::ZERO, reply: Some(reply) };
        let task = Task { encoded, units, submitted: Instant::now(), progress: Mutex::new(progress) };
        let mut state = lock(&self.shared.state);
        if state.closed {
            return Err(PoolError::Closed);
        }
        if state.waiting > 0 && state.waiting + wanted > self.shared.capacity {
            return Err(PoolError::Full { waiting: state.waiting, wanted });
        }
        let id = state.next_id;
        state.next_id += 1;
        state.waiting += wanted;
        state.queue.push_back(Entry { id, task: Arc::new(task), next: 0 });
        drop(state);
        self.shared.wake.notify_all();
        Ok(Some(Queued { shared: &self.shared, id }))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.closed = true;
        state.waiting = 0;
        state.queue.clear();
        drop(state);
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches panics, so there is nothing to hear from it.
            let _ = worker.join();
        }
    }
}

/// Takes a request out of the queue when its caller goes away.
struct Queued<'p> {
    shared: &'p Shared,
    id: u64,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        lock(&self.shared.state).remove(self.id);
    }
}

impl State {
    fn remove(&mut self, id: u64) {
        if let Some(position) = self.queue.iter().position(|e| e.id == id)
            && let Some(entry) = self.queue.remove(position)
        {
            self.waiting = self.waiting.saturating_sub(entry.task.units.len() - entry.next);
        }
    }

    /// The next window of the request whose turn it is.
    fn take(&mut self) -> Option<(u64, Arc<Task>, usize)> {
        let mut entry = self.queue.pop_front()?;
        let (id, task, unit) = (entry.id, entry.task.clone(), entry.next);
        entry.next += 1;
        self.waiting = self.waiting.saturating_sub(1);
        if entry.next < task.units.len() {
            self.queue.push_back(entry);
        }
        Some((id, task, unit))
    }
}

fn work(shared: &Shared, mut run: Run) {
    loop {
        let (id, task, unit) = {
            let mut state = lock(&shared.state);
            loop {
                if state.closed {
                    return;
                }
                match state.take() {
                    Some(next) => break next,
                    None => state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                }
            }
        };
        if task.do_unit(unit, &mut run).is_err() {
            lock(&shared.state).remove(id);
        }
    }
}

/// The request has failed and been answered.
struct Failed;

impl Task {
    fn do_unit(&self, unit: usize, run: &mut Run) -> Result<(), Failed> {
        let Some((receipt, index)) = self.units.get(unit).copied() else { return Ok(()) };
        let Some(window) = self.encoded.get(receipt).and_then(|e| e.windows.get(index)) else {
            return Ok(());
        };
        let started = Instant::now();
        {
            let mut progress = lock(&self.progress);
            let queued = started - self.submitted;
            progress.queued.get_or_insert(queued);
            if progress.reply.as_ref().is_none_or(oneshot::Sender::is_closed) {
                return Err(Failed);
            }
        }
        let answer = catch_unwind(AssertUnwindSafe(|| run(window)))
            .map_err(|panic| PoolError::Panicked(panic_text(&*panic)))
            .and_then(|answer| answer.map_err(PoolError::from));
        let mut progress = lock(&self.progress);
        progress.computed += started.elapsed();
        match answer {
            Ok(logits) => {
                if let Some(slot) = progress.logits.get_mut(receipt).and_then(|r| r.get_mut(index)) {
                    *slot = logits;
                }
                progress.left -= 1;
                if progress.left == 0 {
                    progress.finish();
                }
                Ok(())
            }
            Err(error) => {
                if let Some(reply) = progress.reply.take() {
                    let _ = reply.send(Err(error));
                }
                Err(Failed)
            }
        }
    }
}

impl Progress {
    fn finish(&mut self) {
        let done = Done {
            logits: std::mem::take(&mut self.logits),
            queued: self.queued.unwrap_or_default(),
            computed: self.computed,
        };
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Ok(done));
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".into())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use layoutlm_core::bbox::NormalizedBox;

    use super::*;

    fn request(first_ids: &[u32]) -> Arc<Vec<EncodedReceipt>> {
        let window = |&id: &u32| Window {
            word_indices: vec![],
            input_ids: vec![id],
            bbox: vec![NormalizedBox::ZERO],
            word_ids: vec![None],
        };
        let windows = first_ids.iter().map(window).collect();
        Arc::new(vec![EncodedReceipt { num_words: 0, order: vec![], windows }])
    }

    fn echo(window: &Window) -> Result<Vec<f32>, EngineError> {
        Ok(window.input_ids.iter().map(|&id| id as f32).collect())
    }

    /// A worker that waits for a token before each window and says which window it does.
    fn gated() -> (Run, mpsc::Sender<()>, mpsc::Receiver<u32>) {
        let (go, gate) = mpsc::channel();
        let (say, said) = mpsc::channel();
        let run: Run = Box::new(move |window| {
            say.send(window.input_ids[0]).unwrap();
            gate.recv().unwrap();
            echo(window)
        });
        (run, go, said)
    }

    #[tokio::test]
    async fn answers_come_back_in_the_order_of_the_windows() {
        let pool = Pool::start((0..3).map(|_| Box::new(echo) as Run).collect(), 100).unwrap();
        let ids: Vec<u32> = (0..50).collect();
        let done = pool.run(request(&ids)).await.unwrap();
        let found: Vec<u32> = done.logits[0].iter().map(|l| l[0] as u32).collect();
        assert_eq!(found, ids);
        assert_eq!(pool.waiting(), 0);
    }

    #[tokio::test]
    async fn nothing_to_do_is_done_at_once() {
        let pool = Pool::start(vec![], 1).unwrap();
        assert!(pool.run(request(&[])).await.unwrap().logits[0].is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_full_queue_refuses_and_requests_take_turns() {
        let (run, go, said) = gated();
        let pool = Arc::new(Pool::start(vec![run], 4).unwrap());
        let start = |ids: &'static [u32]| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.run(request(ids)).await })
        };
        let long = start(&[10, 11, 12]);
        assert_eq!(said.recv().unwrap(), 10);
        let short = start(&[20]);
        while pool.waiting() < 3 {
            tokio::task::yield_now().await;
        }
        let refused = pool.run(request(&[30, 31])).await.unwrap_err();
        assert!(matches!(refused, PoolError::Full { waiting: 3, wanted: 2 }), "{refused}");
        (0..4).for_each(|_| go.send(()).unwrap());
        assert_eq!(said.iter().take(3).collect::<Vec<_>>(), [11, 20, 12]);
        assert_eq!(short.await.unwrap().unwrap().logits, [[[20.0]]]);
        assert_eq!(long.await.unwrap().unwrap().logits[0].len(), 3);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_caller_who_left_costs_nothing_more() {
        let (run, go, said) = gated();
        let pool = Arc::new(Pool::start(vec![run], 100).unwrap());
        let other = pool.clone();
        let leaving = tokio::spawn(async move { other.run(request(&[1, 2, 3, 4])).await });
        assert_eq!(said.recv().unwrap(), 1);
        leaving.abort();
        assert!(leaving.await.unwrap_err().is_cancelled());
        assert_eq!(pool.waiting(), 0);
        (0..2).for_each(|_| go.send(()).unwrap());
        assert_eq!(pool.run(request(&[9])).await.unwrap().logits, [[[9.0]]]);
        assert_eq!(said.try_iter().collect::<Vec<_>>(), [9]);
    }

    #[tokio::test]
    async fn a_panic_fails_its_request_and_the_worker_lives() {
        let run: Run = Box::new(|w| if w.input_ids[0] == 13 { panic!("unlucky") } else { echo(w) });
        let pool = Pool::start(vec![run], 100).unwrap();
        let error = pool.run(request(&[1, 13, 2, 3])).await.unwrap_err();
        assert!(matches!(&error, PoolError::Panicked(text) if text == "unlucky"), "{error}");
        assert_eq!(pool.run(request(&[5])).await.unwrap().logits, [[[5.0]]]);
        assert_eq!(pool.waiting(), 0);
    }
}
