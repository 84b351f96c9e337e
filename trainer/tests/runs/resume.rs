//! A run broken off and taken up again ends with the same bytes as one that never was.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use layoutlm_core::config::ModelConfig;
use layoutlm_trainer::config::{ClassWeights, TrainConfig};
use layoutlm_trainer::run::{RunError, RunLock, checkpoints};
use layoutlm_trainer::train::{Observer, StepReport, TrainError};
use layoutlm_trainer::weights::read_tensor_file;

use crate::shared::{config, data, newest, record, run, run_on, watched};

/// Everything that has state: averaged weights, two dropout passes, accumulation, rates by layer, weighted classes.
fn everything(runs: &Path, name: &str) -> TrainConfig {
    TrainConfig {
        ema_decay: Some(0.9),
        r_drop: 1.0,
        dropout: Some(0.2),
        gradient_accumulation_steps: 2,
        layer_lr_decay: 0.8,
        class_weights: ClassWeights::Balanced,
        label_smoothing: 0.1,
        epochs: 3,
        early_stopping_patience: Some(3),
        ..config(runs, name)
    }
}

struct StopEvery<'a>(u64, &'a AtomicBool);

impl Observer for StopEvery<'_> {
    fn step(&mut self, step: &StepReport) {
        if step.global_step.is_multiple_of(self.0) {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn stopped_every_other_step_it_ends_with_the_same_weights_average_moments_and_best() {
    let runs = tempfile::tempdir().unwrap();
    let whole = run(everything(runs.path(), "whole"));
    let mut sittings = 0;
    let broken = loop {
        let stop = AtomicBool::new(false);
        let outcome = watched(everything(runs.path(), "broken"), &mut StopEvery(2, &stop), &stop);
        sittings += 1;
        assert!(sittings < 50, "it never ends");
        if !outcome.interrupted {
            break outcome;
        }
    };
    assert!(sittings > 3, "only {sittings} sittings");
    assert_eq!(whole.steps, broken.steps);
    for file in ["model.safetensors", "trainer_state.safetensors"] {
        assert_eq!(newest(&whole, file), newest(&broken, file), "{file}");
    }
    let (a, b) = (record(&whole), record(&broken));
    assert_eq!(a.best, b.best);
    let figures = |r: &layoutlm_trainer::run::RunRecord| -> Vec<_> {
        let scores = |eval: &std::collections::BTreeMap<String, f64>| -> Vec<(String, f64)> {
            let timed = |name: &str| name.ends_with("_runtime") || name.ends_with("_per_second");
            eval.iter().filter(|(name, _)| !timed(name)).map(|(name, value)| (name.clone(), *value)).collect()
        };
        r.epoch_metrics.iter().map(|m| (m.train_loss, m.learning_rate, scores(&m.eval))).collect()
    };
    assert_eq!(figures(&a), figures(&b));
}

#[test]
fn the_checkpoint_holds_the_average_and_its_state_the_weights_themselves() {
    let runs = tempfile::tempdir().unwrap();
    let outcome = run(everything(runs.path(), "a"));
    let folder = outcome.run_dir.join(format!("checkpoint-{}", outcome.steps));
    let average = read_tensor_file(&folder.join("model.safetensors")).unwrap();
    let state = read_tensor_file(&folder.join("trainer_state.safetensors")).unwrap();
    for (name, array) in average.iter() {
        let raw = state.get(&format!("weight.{name}")).unwrap();
        assert_eq!(raw.shape, array.shape);
    }
    assert_ne!(average.get("classifier.weight"), state.get("weight.classifier.weight"));
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    assert!(ModelConfig::from_json(&text).is_ok());
}

#[test]
fn the_early_stop_counter_survives_an_interruption() {
    let runs = tempfile::tempdir().unwrap();
    let hopeless = |name: &str| TrainConfig {
        learning_rate: 1e-9,
        epochs: 9,
        checkpoint_metric: "label_TIME_recall".parse().unwrap(),
        early_stopping_patience: Some(3),
        ..config(runs.path(), name)
    };
    let whole = run(hopeless("whole"));
    assert!(whole.stopped_early);
    let stop = AtomicBool::new(false);
    let per_epoch = whole.steps / 4;
    let outcome = watched(hopeless("broken"), &mut StopEvery(3 * per_epoch, &stop), &stop);
    assert!(outcome.interrupted);
    let broken = run(hopeless("broken"));
    assert_eq!((whole.steps, broken.steps), (4 * per_epoch, 4 * per_epoch));
    let again = run(hopeless("broken"));
    assert_eq!(again.steps, broken.steps, "a run that stopped early went on");
}

#[test]
fn other_settings_are_refused_by_name_and_a_damaged_checkpoint_is_passed_over() {
    let runs = tempfile::tempdir().unwrap();
    let mut first = config(runs.path(), "a");
    first.keep_checkpoints = 2;
    let whole = run(first.clone());
    for (change, expected) in [
        ((|c| c.ema_decay = Some(0.5)) as fn(&mut TrainConfig), "--ema-decay: null then, 0.5 now"),
        (|c| c.r_drop = 2.0, "--r-drop: 0.0 then, 2.0 now"),
        (|c| c.freeze_layers = 1, "--freeze-layers: 0 then, 1 now"),
        (|c| c.group_by_length = false, "--group-by-length: true then, false now"),
    ] {
        let mut other = first.clone();
        change(&mut other);
        let error = run_on(other, data()).unwrap_err();
        assert!(matches!(error, TrainError::Run(RunError::OtherRun { .. })), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let before = newest(&whole, "model.safetensors");
    let newest_folder = checkpoints(&whole.run_dir).pop().unwrap().1;
    let damages: [fn(&Path); 4] = [
        |folder| cut(&folder.join("model.safetensors")),
        |folder| zero_the_end(&folder.join("model.safetensors")),
        |folder| zero_the_end(&folder.join("trainer_state.safetensors")),
        |folder| std::fs::remove_file(folder.join("trainer_state.safetensors")).unwrap(),
    ];
    for damage in damages {
        damage(&newest_folder);
        let again = run(first.clone());
        assert_eq!(again.steps, whole.steps);
        assert_eq!(newest(&again, "model.safetensors"), before, "the damaged checkpoint was not made anew");
    }
}

fn cut(file: &Path) {
    let bytes = std::fs::read(file).unwrap();
    replace(file, &bytes[..bytes.len() / 2]);
}

/// Numbers a reader would take.
fn zero_the_end(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes.iter_mut().rev().take(100).for_each(|byte| *byte = 0);
    replace(file, &bytes);
}

/// Leaves what is linked to the file, `best/`, as it is.
fn replace(file: &Path, bytes: &[u8]) {
    std::fs::remove_file(file).unwrap();
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn receipts_relabelled_while_a_run_rests_do_not_lose_it_and_others_are_refused() {
    let runs = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let started = watched(config(runs.path(), "a"), &mut StopEvery(2, &stop), &stop);
    assert!(started.interrupted);
    let mut relabelled = data();
    relabelled.train[0].words[0].label = None;
    let mut fewer = relabelled.clone();
    fewer.train.pop();
    let error = run_on(config(runs.path(), "a"), fewer).unwrap_err();
    assert!(matches!(error, TrainError::Run(RunError::OtherRun { .. })), "{error}");
    let ended = run_on(config(runs.path(), "a"), relabelled).unwrap();
    assert!(!ended.interrupted && ended.steps > started.steps);
}

#[test]
fn a_folder_in_which_another_process_trains_is_left_alone() {
    let runs = tempfile::tempdir().unwrap();
    let outcome = run(config(runs.path(), "a"));
    let held = RunLock::take(&outcome.run_dir).unwrap();
    let longer = TrainConfig { epochs: 2, ..config(runs.path(), "a") };
    let error = run_on(longer.clone(), data()).unwrap_err();
    assert!(matches!(error, TrainError::Run(RunError::InUse { .. })), "{error}");
    drop(held);
    run(longer);
}
