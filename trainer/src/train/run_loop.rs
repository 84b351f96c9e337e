//! The loop: epochs of steps, each followed by an evaluation and a checkpoint.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::prepare::Prepared;
use super::{Observer, Outcome, Started, StepReport, TrainError};

pub(super) fn run(
    mut run: Prepared,
    observer: &mut (dyn Observer + Send),
    stop: &AtomicBool,
) -> Result<Outcome, TrainError> {
    run.repair_best()?;
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
        while self.state.epoch_step < steps {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let started = Instant::now();
            let Some(done) = self.step(stop)? else { return Ok(false) };
            let seconds = started.elapsed().as_secs_f64();
            self.state.loss_sum += done.loss;
            self.state.loss_steps += 1;
            self.state.train_seconds += seconds;
            self.state.seconds += seconds;
            let tokens_per_second = done.tokens as f64 / seconds.max(1e-9);
            let (global_step, loss) = (self.state.global_step, done.loss);
            let learning_rate = self.schedule.at(global_step.saturating_sub(1));
            observer.step(&StepReport { global_step, loss, tokens_per_second, learning_rate });
        }
        Ok(true)
    }
}
