//! The loop: epochs of steps, each followed by an evaluation and a checkpoint.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::engine::Losses;
use super::prepare::Prepared;
use super::{Observer, Outcome, Started, StepReport, TrainError};

pub(super) fn run(
    mut run: Prepared,
    observer: &mut (dyn Observer + Send),
    stop: &AtomicBool,
) -> Result<Outcome, TrainError> {
    if run.leads() {
        run.repair_best()?;
    }
    run.write_records("running")?;
    let (total_steps, first_step, run_dir) = (run.total_steps(), run.state.global_step, run.config.run_dir());
    observer.started(&Started { record: &run.record, run_dir: &run_dir, total_steps, first_step });
    match run.epochs(observer, stop) {
        Ok(outcome) if outcome.interrupted => {
            observer.interrupted(&outcome);
            Ok(outcome)
        }
        Ok(outcome) => {
            observer.finished(&outcome);
            Ok(outcome)
        }
        Err(error) => {
            // What broke the run matters more than that its record could not be written either.
            if let Err(e) = run.write_records("failed") {
                tracing::warn!("{e}");
            }
            observer.failed(&run_dir, &error);
            Err(error)
        }
    }
}

impl Prepared {
    fn epochs(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome, TrainError> {
        let mut best_evaluation = None;
        let mut interrupted = false;
        while self.state.epoch < self.config.epochs && !self.is_stale() {
            let evaluated =
                if self.train_epoch(observer, stop)? { self.finish_epoch(observer, stop)? } else { None };
            let Some(best) = evaluated else {
                self.save_interrupted(observer)?;
                interrupted = true;
                break;
            };
            best_evaluation = best.or(best_evaluation);
        }
        if !interrupted {
            self.write_records("succeeded")?;
        }
        Ok(Outcome {
            run_dir: self.config.run_dir(),
            best: self.state.best.clone(),
            best_evaluation,
            steps: self.state.global_step,
            interrupted,
            stopped_early: !interrupted && self.state.epoch < self.config.epochs,
            seconds: self.state.seconds,
        })
    }

    /// True when patience is used up.
    fn is_stale(&self) -> bool {
        self.config.early_stopping_patience.is_some_and(|p| self.state.evaluations_without_improvement >= p)
    }

    /// Steps through the rest of the epoch; false when stopped before its end.
    fn train_epoch(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<bool, TrainError> {
        let steps = self.plans.get(self.state.epoch).map_or(0, |p| p.steps());
        let every = self.engine.steps_between_losses();
        let mut pace = Pace::default();
        while self.state.epoch_step < steps {
            // With others, whether to stop is agreed on inside the step.
            if self.communicator.is_none() && stop.load(Ordering::Relaxed) {
                self.take_losses(&mut pace)?;
                return Ok(false);
            }
            let started = Instant::now();
            let Some(tokens) = self.step(stop)? else {
                self.take_losses(&mut pace)?;
                return Ok(false);
            };
            pace.steps += 1;
            pace.tokens += tokens;
            let due = self.state.global_step.is_multiple_of(every)
                || pace.loss.is_none()
                || self.state.epoch_step == steps;
            let taken = if due { self.take_losses(&mut pace)? } else { 0 };
            let seconds = started.elapsed().as_secs_f64();
            self.state.train_seconds += seconds;
            self.state.seconds += seconds;
            pace.seconds += seconds;
            if taken > 0 {
                pace.tokens_per_second = taken as f64 / pace.seconds.max(1e-9);
                pace.seconds = 0.0;
            }
            let (global_step, loss) = (self.state.global_step, pace.loss.unwrap_or(f64::NAN));
            let learning_rate = self.schedule.at(global_step.saturating_sub(1));
            let tokens_per_second = pace.tokens_per_second;
            observer.step(&StepReport { global_step, loss, tokens_per_second, learning_rate });
        }
        Ok(true)
    }

    /// Adds the losses of the steps since the last call to the state; gives the tokens of those steps, of all processes.
    fn take_losses(&mut self, pace: &mut Pace) -> Result<usize, TrainError> {
        if pace.steps == 0 {
            return Ok(0);
        }
        if let Some(others) = &self.communicator {
            // Everyone is alive and has started its sums: only then is a card waited for.
            others.barrier()?;
        }
        let Losses { sum, diverged } = self.engine.losses()?;
        let (sum, tokens) = match &self.communicator {
            None => (sum, pace.tokens),
            Some(others) => {
                let mut both = [sum, pace.tokens as f64];
                others.sum_f64(&mut both)?;
                let [sum, tokens] = both;
                (sum, tokens as usize)
            }
        };
        let steps = std::mem::take(&mut pace.steps);
        pace.tokens = 0;
        let mean = sum / steps as f64;
        if diverged || !mean.is_finite() {
            return Err(self.not_finite(mean, steps));
        }
        self.state.loss_sum += sum;
        self.state.loss_steps += steps;
        pace.loss = Some(mean);
        Ok(tokens)
    }
}

/// Steps since the losses were last taken, and what was found then.
#[derive(Default)]
struct Pace {
    steps: usize,
    tokens: usize,
    seconds: f64,
    loss: Option<f64>,
    tokens_per_second: f64,
}
