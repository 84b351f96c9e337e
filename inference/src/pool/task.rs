//! A request in the queue: its windows, and the answers that have come in.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use layoutlm_core::encoder::EncodedReceipt;
use layoutlm_core::window::Window;
use tokio::sync::oneshot;

use super::{Done, PoolError, lock};

type Reply = oneshot::Sender<Result<Done, PoolError>>;

#[derive(Debug)]
pub(super) struct Task {
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
    reply: Option<Reply>,
}

impl Task {
    /// A request that has something to compute; one that has not is answered here.
    pub(super) fn new(encoded: Arc<Vec<EncodedReceipt>>, reply: Reply) -> Option<Self> {
        let units: Vec<(usize, usize)> = encoded
            .iter()
            .enumerate()
            .flat_map(|(receipt, e)| (0..e.windows.len()).map(move |window| (receipt, window)))
            .collect();
        let mut progress = Progress {
            logits: encoded.iter().map(|e| vec![Vec::new(); e.windows.len()]).collect(),
            left: units.len(),
            queued: None,
            computed: Duration::ZERO,
            reply: Some(reply),
        };
        if units.is_empty() {
            progress.finish();
            return None;
        }
        Some(Self { encoded, units, submitted: Instant::now(), progress: Mutex::new(progress) })
    }

    /// Windows of the request.
    pub(super) fn units(&self) -> usize {
        self.units.len()
    }

    pub(super) fn submitted(&self) -> Instant {
        self.submitted
    }

    pub(super) fn window(&self, unit: usize) -> Option<&Window> {
        let &(receipt, window) = self.units.get(unit)?;
        self.encoded.get(receipt)?.windows.get(window)
    }

    /// Tokens of a window.
    pub(super) fn tokens(&self, unit: usize) -> usize {
        self.window(unit).map_or(0, Window::len)
    }

    /// Tokens of all windows.
    pub(super) fn all_tokens(&self) -> usize {
        (0..self.units()).map(|unit| self.tokens(unit)).sum()
    }

    /// Notes that a window is about to be computed; false when nobody waits for it any more.
    pub(super) fn start(&self, now: Instant) -> bool {
        let mut progress = lock(&self.progress);
        progress.queued.get_or_insert(now - self.submitted);
        progress.reply.as_ref().is_some_and(|reply| !reply.is_closed())
    }

    /// Takes in one window's logits; the last one answers the request.
    pub(super) fn finish(&self, unit: usize, logits: Vec<f32>, computed: Duration) {
        let mut progress = lock(&self.progress);
        progress.computed += computed;
        let Some(&(receipt, window)) = self.units.get(unit) else { return };
        if let Some(slot) = progress.logits.get_mut(receipt).and_then(|r| r.get_mut(window)) {
            *slot = logits;
        }
        progress.left = progress.left.saturating_sub(1);
        if progress.left == 0 {
            progress.finish();
        }
    }

    /// Answers the request with an error, unless it was answered already.
    pub(super) fn fail(&self, error: PoolError) {
        if let Some(reply) = lock(&self.progress).reply.take() {
            let _ = reply.send(Err(error));
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
