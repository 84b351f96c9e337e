//! The queue: requests with windows that nobody has started yet.
//!
//! First come, first served, but each window of a request lets a few of later requests go before it: a long receipt does
//! not hold up short ones, and is not held up for ever by a stream of them either.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::batch::{Batch, BatchRule};
use super::load::Load;
use super::task::Task;

/// Windows that came later and may go before a request's next one.
pub(super) const YIELDS: usize = 8;
/// Windows that are looked at, at most, to fill one batch.
const LOOK_AHEAD: usize = 256;

/// What workers and callers share.
#[derive(Debug, Default)]
pub(super) struct State {
    queue: VecDeque<Entry>,
    waiting: usize,
    waiting_tokens: usize,
    next_id: u64,
    /// Windows that ever came.
    came: usize,
    closed: bool,
    /// Requests of the runs in progress.
    pub(super) running: Vec<u64>,
    /// Runs begun so far.
    pub(super) begun: u64,
    /// What was measured of the lanes.
    pub(super) load: Load,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    task: Arc<Task>,
    left: VecDeque<usize>,
    /// Place in the order; the queue is sorted by it.
    rank: usize,
}

/// One window of one request, taken out of the queue.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) id: u64,
    pub(super) task: Arc<Task>,
    /// Which of the task's windows.
    pub(super) index: usize,
    pub(super) tokens: usize,
}

impl Unit {
    fn of(entry: &Entry, index: usize) -> Self {
        Self { id: entry.id, task: entry.task.clone(), index, tokens: entry.task.tokens(index) }
    }

    /// When its request came.
    pub(super) fn since(&self) -> Instant {
        self.task.submitted()
    }
}

impl State {
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Tokens of the windows that wait.
    pub(super) fn waiting_tokens(&self) -> usize {
        self.waiting_tokens
    }

    /// A window left the queue.
    fn left(&mut self, tokens: usize) {
        self.waiting = self.waiting.saturating_sub(1);
        self.waiting_tokens = self.waiting_tokens.saturating_sub(tokens);
    }

    /// Whether windows of another request are waiting or being computed.
    pub(super) fn has_others(&self, id: u64) -> bool {
        self.running.iter().any(|other| *other != id) || self.queue.iter().any(|entry| entry.id != id)
    }

    /// A run of this request ended.
    pub(super) fn ran(&mut self, id: u64) {
        if let Some(place) = self.running.iter().position(|running| *running == id) {
            self.running.swap_remove(place);
        }
    }

    pub(super) fn closed(&self) -> bool {
        self.closed
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        (self.waiting, self.waiting_tokens) = (0, 0);
        self.queue.clear();
    }

    pub(super) fn push(&mut self, task: Arc<Task>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.waiting += task.units();
        self.waiting_tokens += task.all_tokens();
        let rank = self.came;
        self.came += task.units();
        self.insert(Entry { id, left: (0..task.units()).collect(), task, rank });
        id
    }

    fn insert(&mut self, entry: Entry) {
        let place = self.queue.partition_point(|other| other.rank <= entry.rank);
        self.queue.insert(place, entry);
    }

    /// Takes a request out; says how many of its windows nobody had started.
    pub(super) fn remove(&mut self, id: u64) -> usize {
        let position = self.queue.iter().position(|e| e.id == id);
        let Some(entry) = position.and_then(|p| self.queue.remove(p)) else { return 0 };
        entry.left.iter().for_each(|&index| self.left(entry.task.tokens(index)));
        entry.left.len()
    }

    /// The next window of the request whose turn it is.
    pub(super) fn take(&mut self) -> Option<Unit> {
        let mut entry = self.queue.pop_front()?;
        let index = entry.left.pop_front()?;
        let unit = Unit::of(&entry, index);
        self.left(unit.tokens);
        if !entry.left.is_empty() {
            entry.rank += YIELDS;
            self.insert(entry);
        }
        Some(unit)
    }

    /// Adds waiting windows of fitting length to a batch, oldest request first.
    pub(super) fn fill(&mut self, batch: &mut Batch, rule: &BatchRule) {
        if rule.tokens == 0 {
            return;
        }
        let (mut looked, before) = (0, batch.units.len());
        for entry in &mut self.queue {
            let mut place = 0;
            while let Some(&index) = entry.left.get(place) {
                looked += 1;
                if looked > LOOK_AHEAD {
                    break;
                }
                if batch.takes(entry.task.tokens(index), rule) {
                    entry.left.remove(place);
                    batch.add(Unit::of(entry, index));
                } else {
                    place += 1;
                }
            }
        }
        self.queue.retain(|entry| !entry.left.is_empty());
        batch.units.iter().skip(before).for_each(|unit| self.left(unit.tokens));
    }
}
