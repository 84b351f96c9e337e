//! What observers are told, and in which order.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use layoutlm_trainer::run::RunRecord;
use layoutlm_trainer::train::{
    BestChanged, CheckpointSaved, EpochReport, Observer, Observers, Outcome, Started, StepReport, TrainError,
    train,
};

use crate::shared::{config, data, record, run, watched};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn say(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    fn said(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Log {
    fn started(&mut self, run: &Started<'_>) {
        assert!(run.run_dir.join("run.json").is_file());
        self.say(format!("started at {} of {}", run.first_step, run.total_steps));
    }
    fn step(&mut self, step: &StepReport) {
        self.say(format!("step {}", step.global_step));
    }
    fn epoch(&mut self, report: &EpochReport<'_>) {
        self.say(format!("epoch {}", report.metrics.epoch));
    }
    fn checkpoint_saved(&mut self, saved: &CheckpointSaved<'_>) {
        assert!(saved.folder.join("model.safetensors").is_file());
        assert!(saved.run_dir.join("epochs.json").is_file());
        self.say(format!("saved {} {}", saved.step, saved.evaluated));
    }
    fn best_changed(&mut self, change: &BestChanged<'_>) {
        let state = std::fs::read_to_string(change.folder.join("trainer_state.json")).unwrap();
        assert!(state.contains(&format!("\"global_step\": {}", change.best.step)));
        self.say(format!("best {}", change.best.step));
    }
    fn finished(&mut self, _outcome: &Outcome) {
        self.say("finished");
    }
    fn interrupted(&mut self, _outcome: &Outcome) {
        self.say("interrupted");
    }
    fn failed(&mut self, run_dir: &Path, error: &TrainError) {
        self.say(format!("failed: {} {error}", RunRecord::read(run_dir).unwrap().status));
    }
}

#[test]
fn every_observer_hears_of_steps_epochs_checkpoints_and_the_end() {
    let runs = tempfile::tempdir().unwrap();
    let (log, second) = (Log::default(), Log::default());
    let mut both = Observers(vec![Box::new(log.clone()), Box::new(second.clone())]);
    watched(config(runs.path(), "a"), &mut both, &AtomicBool::new(false));
    let said = log.said();
    assert_eq!(said, second.said());
    let steps = said.iter().filter(|s| s.starts_with("step ")).count();
    assert_eq!(said[0], format!("started at 0 of {steps}"));
    let place =
        |text: &str| said.iter().position(|s| s == text).unwrap_or_else(|| panic!("{text}: {said:?}"));
    let first = steps / 2;
    assert!(place(&format!("step {first}")) < place("epoch 1"));
    assert!(place("epoch 1") < place(&format!("saved {first} true")));
    assert!(place(&format!("saved {first} true")) < place(&format!("best {first}")));
    assert_eq!(said.last().unwrap(), "finished");
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run_as_failed_with_the_batch_on_disk() {
    let runs = tempfile::tempdir().unwrap();
    let mut log = Log::default();
    let config = layoutlm_trainer::config::TrainConfig {
        learning_rate: 1e38,
        warmup_ratio: 0.0,
        max_grad_norm: f64::MAX,
        ..config(runs.path(), "a")
    };
    let error = train(config, data(), &mut log, &AtomicBool::new(false)).unwrap_err();
    let TrainError::NotFinite { saved, .. } = &error else { panic!("{error}") };
    assert!(!error.is_usage());
    let rows: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(saved).unwrap()).unwrap();
    assert!(!rows.as_array().unwrap().is_empty());
    assert_eq!(rows[0]["input_ids"].as_array().unwrap().len(), rows[0]["bbox"].as_array().unwrap().len());
    assert!(log.said().last().unwrap().starts_with("failed: failed step"), "{:?}", log.said());
}

#[test]
fn weights_broken_by_the_last_step_of_an_epoch_are_never_the_best() {
    let runs = tempfile::tempdir().unwrap();
    for metric in ["f1", "loss"] {
        let config = layoutlm_trainer::config::TrainConfig {
            learning_rate: 1e38,
            warmup_ratio: 0.0,
            max_grad_norm: f64::MAX,
            batch_size: 1000,
            epochs: 1,
            checkpoint_metric: metric.parse().unwrap(),
            ..config(runs.path(), metric)
        };
        let run_dir = config.run_dir();
        let error = train(config, data(), &mut Log::default(), &AtomicBool::new(false)).unwrap_err();
        assert!(matches!(error, TrainError::NotFinite { step: 1, .. }), "{metric}: {error}");
        assert!(!run_dir.join("best").exists());
    }
}

/// Asks to stop after some steps.
struct StopAfter<'a>(u64, &'a AtomicBool);

impl Observer for StopAfter<'_> {
    fn step(&mut self, step: &StepReport) {
        if step.global_step == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn an_interrupted_run_says_so_and_its_checkpoint_is_not_an_evaluated_one() {
    let runs = tempfile::tempdir().unwrap();
    let log = Log::default();
    let stop: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    let mut both = Observers(vec![Box::new(StopAfter(2, stop)), Box::new(log.clone())]);
    let outcome = watched(config(runs.path(), "a"), &mut both, stop);
    assert!(outcome.interrupted);
    assert_eq!(record(&outcome).status, "interrupted");
    let said = log.said();
    assert_eq!(said[said.len() - 2..], ["saved 2 false", "interrupted"]);
}

#[test]
fn any_reported_figure_decides_the_best_checkpoint_and_ties_keep_the_earlier() {
    let runs = tempfile::tempdir().unwrap();
    let metric = |name: &str| name.parse().unwrap();
    let mut by_loss = config(runs.path(), "loss");
    (by_loss.epochs, by_loss.checkpoint_metric) = (3, metric("eval_loss"));
    let record_of_loss = record(&run(by_loss));
    let best = record_of_loss.best.unwrap();
    let lowest = record_of_loss.epoch_metrics.iter().map(|m| m.get("loss").unwrap()).reduce(f64::min);
    assert_eq!((best.metric.as_str(), Some(best.value)), ("loss", lowest));

    // A tiny model that hardly learns finds no TIME: every evaluation ties at 0.
    let mut tied = config(runs.path(), "tied");
    (tied.learning_rate, tied.epochs) = (1e-9, 3);
    tied.checkpoint_metric = metric("label_TIME_recall");
    tied.early_stopping_patience = Some(2);
    let outcome = run(tied);
    let record = record(&outcome);
    assert_eq!(record.best.unwrap().epoch, 1.0);
    assert!(!outcome.stopped_early, "the last epoch is not early");
    assert_eq!(record.epoch_metrics.len(), 3);

    let mut unknown = config(runs.path(), "unknown");
    unknown.checkpoint_metric = metric("label_TIP_f1");
    let said = crate::shared::run_on(unknown, data()).unwrap_err();
    assert!(said.to_string().contains("--checkpoint-metric label_TIP_f1: the model learns no such label"));
    assert!(!runs.path().join("unknown").exists());
}

#[test]
fn without_the_held_out_record_there_is_no_epochs_json_and_the_best_is_kept_all_the_same() {
    let runs = tempfile::tempdir().unwrap();
    let mut quiet = config(runs.path(), "a");
    quiet.eval_heldout_windowed = false;
    let outcome = run(quiet);
    assert!(!outcome.run_dir.join("epochs.json").exists());
    assert!(outcome.run_dir.join("best/model.safetensors").is_file());
    assert_eq!(record(&outcome).epoch_metrics.len(), 2);
}
