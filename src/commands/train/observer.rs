//! What a person sees while a run goes on: one table row per epoch, a progress bar on a terminal.

use std::path::Path;

use indicatif::ProgressBar;
use layoutlm_trainer::train::{EpochReport, Observer, Outcome, Started, StepReport, TrainError};

use crate::progress;

/// Shows a run on stderr.
pub struct Console {
    bar: ProgressBar,
}

impl Console {
    /// Shows nothing until the run starts.
    pub fn new() -> Self {
        Self { bar: ProgressBar::hidden() }
    }
}

impl Observer for Console {
    fn started(&mut self, run: &Started<'_>) {
        eprintln!(
            "{}: {} training windows of {} receipts, {} validation receipts, {} labels, {} steps",
            run.record.job_name,
            run.record.split_metadata.num_train_lines,
            run.record.split_metadata.num_train_receipts,
            run.record.split_metadata.num_val_receipts,
            run.record.num_labels,
            run.total_steps
        );
        if run.first_step > 0 {
            eprintln!("going on from step {}", run.first_step);
        }
        eprintln!(
            "{:>6} {:>8} {:>10} {:>9} {:>9} {:>9} {:>8}",
            "epoch", "step", "loss", "precision", "recall", "f1", "time"
        );
        self.bar = progress::bar(run.total_steps, "steps");
        self.bar.set_position(run.first_step);
    }

    fn step(&mut self, step: &StepReport) {
        self.bar.set_position(step.global_step);
        self.bar.set_message(format!("loss {:.4} {:.0} tok/s", step.loss, step.tokens_per_second));
    }

    fn epoch(&mut self, report: &EpochReport<'_>) {
        let m = report.metrics;
        let e = report.evaluation;
        let row = format!(
            "{:>6} {:>8} {:>10.4} {:>9.4} {:>9.4} {:>9.4} {:>7.1}s{}",
            m.epoch,
            m.global_step,
            m.train_loss,
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
