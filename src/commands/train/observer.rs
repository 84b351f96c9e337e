//! What a person sees while a run goes on: one table row per epoch; on a terminal a progress bar with loss, tokens per
//! second and the time left, elsewhere a plain line now and then.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use std::path::Path;

use indicatif::ProgressBar;
use layoutlm_trainer::train::{EpochReport, Observer, Outcome, Started, StepReport, TrainError};

use crate::progress;

/// Time between two plain lines.
const EVERY: Duration = Duration::from_secs(30);
/// Weight of the newest step in the running means.
const NEWEST: f64 = 0.05;

/// Shows a run on stderr.
pub struct Console {
    bar: ProgressBar,
    plain: Option<Plain>,
    loss: Option<f64>,
    tokens_per_second: Option<f64>,
}

/// Where the bar would be on a terminal.
struct Plain {
    said: Instant,
    started: Instant,
    first_step: u64,
    total_steps: u64,
}

impl Console {
    /// Shows nothing until the run starts.
    pub fn new() -> Self {
        Self { bar: ProgressBar::hidden(), plain: None, loss: None, tokens_per_second: None }
    }
}

impl Plain {
    /// Seconds left, from the pace of this sitting.
    fn left(&self, step: u64) -> f64 {
        let done = step.saturating_sub(self.first_step).max(1) as f64;
        self.started.elapsed().as_secs_f64() / done * self.total_steps.saturating_sub(step) as f64
    }
}

fn running_mean(mean: &mut Option<f64>, value: f64) -> f64 {
    let next = mean.map_or(value, |m| m + NEWEST * (value - m));
    *mean = Some(next);
    next
}

impl Observer for Console {
    fn started(&mut self, run: &Started<'_>) {
        let split = &run.record.split_metadata;
        eprintln!(
            "{}: {} training windows of {} receipts, {} validation receipts, {} labels, {} steps",
            run.record.job_name,
            split.num_train_lines,
            split.num_train_receipts,
            split.num_val_receipts,
            run.record.num_labels,
            run.total_steps
        );
        if run.first_step > 0 {
            eprintln!("going on from step {}", run.first_step);
        }
        eprintln!(
            "{:>6} {:>8} {:>10} {:>10} {:>9} {:>9} {:>9} {:>8}",
            "epoch", "step", "loss", "eval loss", "precision", "recall", "f1", "time"
        );
        (self.loss, self.tokens_per_second) = (None, None);
        if std::io::stderr().is_terminal() {
            self.bar = progress::bar(run.total_steps, "steps");
            self.bar.set_position(run.first_step);
            // The time left is measured from this sitting's first step.
            self.bar.reset_eta();
        } else {
            let now = Instant::now();
            let (first_step, total_steps) = (run.first_step, run.total_steps);
            self.plain = Some(Plain { said: now, started: now, first_step, total_steps });
        }
    }

    fn step(&mut self, step: &StepReport) {
        let loss = running_mean(&mut self.loss, step.loss);
        let pace = running_mean(&mut self.tokens_per_second, step.tokens_per_second);
        let Some(plain) = &mut self.plain else {
            self.bar.set_position(step.global_step);
            self.bar.set_message(format!("loss {loss:.4} {pace:.0} tok/s"));
            return;
        };
        if plain.said.elapsed() >= EVERY {
            plain.said = Instant::now();
            eprintln!(
                "step {} of {}: loss {loss:.4}, {pace:.0} tokens/s, {:.0} s left",
                step.global_step,
                plain.total_steps,
                plain.left(step.global_step)
            );
        }
    }

    fn epoch(&mut self, report: &EpochReport<'_>) {
        let m = report.metrics;
        let e = report.evaluation;
        let row = format!(
            "{:>6} {:>8} {:>10.4} {:>10.4} {:>9.4} {:>9.4} {:>9.4} {:>7.1}s{}",
            m.epoch,
            m.global_step,
            m.train_loss,
            e.loss,
            e.precision,
            e.recall,
            e.f1,
            m.train_seconds,
            if report.is_best { " *" } else { "" }
        );
        self.bar.suspend(|| eprintln!("{row}"));
    }

    fn finished(&mut self, _outcome: &Outcome) {
        self.bar.finish_and_clear();
    }

    fn interrupted(&mut self, _outcome: &Outcome) {
        self.bar.finish_and_clear();
    }

    fn failed(&mut self, _run_dir: &Path, _error: &TrainError) {
        self.bar.finish_and_clear();
    }
}
