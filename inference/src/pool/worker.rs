//! A worker thread: takes windows, computes them, hands the answers back. It outlives panics of what it runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use layoutlm_core::window::Window;

use super::batch::Batch;
use super::load::Lane;
use super::queue::Unit;
use super::{PoolError, Run, Shared, lock};

/// Works until the pool closes.
pub(super) fn work(shared: &Shared, mut run: Run) {
    while let Some(Turn { batch, lane, alone, id, begun }) = next(shared) {
        let (tokens, single) = (batch.longest(), batch.units.len() == 1);
        let took = compute(shared, batch.units, lane, &mut run);
        let mut state = lock(&shared.state);
        state.ran(id);
        if let Some(took) = took.filter(|_| single) {
            let alone = alone && state.begun == begun;
            state.load.measured(lane, alone, tokens, took.as_secs_f32());
        }
    }
}

/// What a worker does next.
struct Turn {
    batch: Batch,
    lane: Lane,
    /// Nothing else was waiting or being computed.
    alone: bool,
    /// The request of its first window.
    id: u64,
    /// Runs begun by then, this one counted.
    begun: u64,
}

/// Waits for something to do.
fn next(shared: &Shared) -> Option<Turn> {
    let mut state = lock(&shared.state);
    let first = loop {
        if state.closed() {
            return None;
        }
        match state.take() {
            Some(unit) => break unit,
            None => state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    };
    let id = first.id;
    let mut batch = Batch::of(first, &shared.rule);
    state.fill(&mut batch, &shared.rule);
    while let Some(patience) = batch.patience(&shared.rule).filter(|_| !state.closed()) {
        state = shared.wake.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
        state.fill(&mut batch, &shared.rule);
    }
    shared.metrics.waiting(state.waiting());
    let alone = state.waiting() == 0 && state.running.is_empty() && batch.units.len() == 1;
    let lane = match shared.wide.get() {
        Some(_) => {
            let company = batch.units.len() > 1 || state.has_others(id);
            state.load.choose(alone, company, batch.longest())
        }
        None => Lane::Single,
    };
    state.running.push(id);
    state.begun += 1;
    Some(Turn { batch, lane, alone, id, begun: state.begun })
}

/// Computes a batch and answers for its windows; the time it took, if it was computed at all.
fn compute(shared: &Shared, mut units: Vec<Unit>, lane: Lane, run: &mut Run) -> Option<Duration> {
    let started = Instant::now();
    units.retain(|unit| {
        shared.metrics.started(started - unit.since());
        let wanted = unit.task.start(started);
        shared.metrics.abandoned(usize::from(!wanted));
        wanted
    });
    let windows: Vec<&Window> = units.iter().filter_map(|u| u.task.window(u.index)).collect();
    if windows.is_empty() {
        return None;
    }
    let answer = match shared.wide.get() {
        Some(wide) if lane == Lane::Wide => guarded(&mut lock(wide), &windows),
        _ => guarded(run, &windows),
    };
    let took = started.elapsed();
    let (longest, text) =
        (windows.iter().map(|w| w.len()).max().unwrap_or(0), windows.iter().map(|w| w.len()).sum());
    shared.metrics.ran(lane.name(), text, longest * windows.len() - text, took);
    match answer {
        Ok(logits) => {
            for (unit, logits) in units.iter().zip(logits) {
                unit.task.finish(unit.index, logits, took / windows.len() as u32);
            }
        }
        // One bad window must not fail those it shared the batch with.
        Err(_) if units.len() > 1 => units.into_iter().for_each(|unit| {
            compute(shared, vec![unit], Lane::Single, run);
        }),
        Err(error) => {
            if matches!(error, PoolError::Panicked(_)) {
                shared.metrics.panicked();
            }
            if let Some(unit) = units.pop() {
                lock(&shared.state).remove(unit.id);
                unit.task.fail(error);
            }
        }
    }
    Some(took)
}

fn guarded(run: &mut Run, windows: &[&Window]) -> Result<Vec<Vec<f32>>, PoolError> {
    catch_unwind(AssertUnwindSafe(|| run(windows)))
        .map_err(|panic| PoolError::Panicked(panic_text(&*panic)))
        .and_then(|answer| answer.map_err(PoolError::from))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".into())
}
