//! The training loop on the emulated card: the same loop as on the processor, with checkpoints that both take.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use layoutlm_tests::emulated::Emulated;
use layoutlm_trainer::config::{ClassWeights, Device, PrecisionChoice, Scratch, Start, TrainConfig};
use layoutlm_trainer::data::synthesize;
use layoutlm_trainer::gpu::{GpuError, Precision};
use layoutlm_trainer::run::{RunRecord, load_state};
use layoutlm_trainer::train::{
    Observer, Outcome, Setup, Silent, StepReport, TrainData, TrainError, train, train_on,
};
use layoutlm_trainer::weights::{Weights, read_tensor_file};

/// A model that both can compute, everything that has a state switched on, no dropout: in its last layer the processor
/// numbers only labelled rows.
fn config(runs: &Path, name: &str) -> TrainConfig {
    TrainConfig {
        job_name: name.into(),
        output_dir: runs.into(),
        start: Start::Scratch(Scratch { hidden_size: 32, layers: 2, heads: 2, vocab_size: 300 }),
        device: Device::Cuda(None),
        precision: PrecisionChoice::Given(Precision::Fp32),
        dropout: Some(0.0),
        ema_decay: Some(0.9),
        layer_lr_decay: 0.8,
        freeze_layers: 1,
        class_weights: ClassWeights::Balanced,
        label_smoothing: 0.1,
        gradient_accumulation_steps: 2,
        epochs: 2,
        batch_size: 1,
        learning_rate: 2e-3,
        early_stopping_patience: None,
        o_entity_ratio: None,
        threads: 1,
        ..TrainConfig::default()
    }
}

/// A few short receipts: the emulation is slow.
fn data() -> TrainData {
    let mut train = synthesize(11, 5, 2);
    train.iter_mut().for_each(|receipt| receipt.words.truncate(18));
    let validation = train.split_off(4);
    TrainData::given(train, validation, "made up".into())
}

fn card() -> Setup {
    Setup::new(Some(Arc::new(Emulated::new(1 << 30))), None)
}

fn on_card(config: TrainConfig) -> Outcome {
    train_on(&card(), config, data(), &mut Silent, &AtomicBool::new(false)).unwrap()
}

fn on_processor(config: TrainConfig) -> Outcome {
    let config = TrainConfig { device: Device::Cpu, ..config };
    train(config, data(), &mut Silent, &AtomicBool::new(false)).unwrap()
}

fn tensors(outcome: &Outcome, file: &str) -> Weights {
    read_tensor_file(&outcome.run_dir.join(format!("checkpoint-{}", outcome.steps)).join(file)).unwrap()
}

fn record(outcome: &Outcome) -> RunRecord {
    RunRecord::read(&outcome.run_dir).unwrap()
}

/// Norm of the difference as a share of the norm, over all tensors that learn something.
fn distance(a: &Weights, b: &Weights) -> f64 {
    let (mut apart, mut whole) = (0.0, 0.0);
    for (name, x) in a.iter().filter(|(name, _)| !name.ends_with("self.key.bias")) {
        for (x, y) in x.data.iter().zip(&b.get(name).unwrap().data) {
            apart += f64::from(x - y).powi(2);
            whole += f64::from(*x).powi(2);
        }
    }
    (apart / whole).sqrt()
}

struct StopAt<'a>(&'a [u64], &'a AtomicBool);

impl Observer for StopAt<'_> {
    fn step(&mut self, step: &StepReport) {
        assert!(step.loss.is_finite() && step.tokens_per_second > 0.0);
        if self.0.contains(&step.global_step) {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_run_on_a_card_ends_close_to_the_processors_and_says_what_it_ran_on() {
    let runs = tempfile::tempdir().unwrap();
    let (card, processor) =
        (on_card(config(runs.path(), "card")), on_processor(config(runs.path(), "processor")));
    assert_eq!(card.steps, processor.steps);
    for file in ["model.safetensors", "trainer_state.safetensors"] {
        let (found, expected) = (tensors(&card, file), tensors(&processor, file));
        let apart = distance(&expected, &found);
        assert!(apart < 1e-4, "{file}: {apart}");
    }
    let (found, expected) = (record(&card), record(&processor));
    for (a, b) in found.epoch_metrics.iter().zip(&expected.epoch_metrics) {
        assert!((a.train_loss / b.train_loss - 1.0).abs() < 1e-3, "{} {}", a.train_loss, b.train_loss);
        assert!((a.get("loss").unwrap() / b.get("loss").unwrap() - 1.0).abs() < 1e-3);
    }
    assert_eq!((found.hardware.device.as_str(), found.hardware.precision.as_str()), ("emulation", "fp32"));
    assert!(found.hardware.peak_device_memory_mib.is_some_and(|mib| mib > 0));
    assert_eq!((expected.hardware.device.as_str(), expected.hardware.peak_device_memory_mib), ("cpu", None));
}

#[test]
fn stopped_and_taken_up_again_a_run_on_a_card_ends_with_the_same_bits() {
    let runs = tempfile::tempdir().unwrap();
    let everything = |name: &str| TrainConfig {
        dropout: Some(0.2),
        precision: PrecisionChoice::Given(Precision::Fp16),
        r_drop: 0.5,
        gradient_checkpointing: true,
        ..config(runs.path(), name)
    };
    let whole = on_card(everything("whole"));
    let stop = AtomicBool::new(false);
    let mut watcher = StopAt(&[1, 3], &stop);
    for sitting in 0..2 {
        stop.store(false, Ordering::Relaxed);
        let outcome = train_on(&card(), everything("broken"), data(), &mut watcher, &stop).unwrap();
        assert!(outcome.interrupted, "sitting {sitting} was not stopped");
    }
    let broken = on_card(everything("broken"));
    for file in ["model.safetensors", "trainer_state.safetensors"] {
        assert_eq!(tensors(&whole, file), tensors(&broken, file), "{file}");
    }
    let counters = |outcome: &Outcome| {
        let folder = outcome.run_dir.join(format!("checkpoint-{}", outcome.steps));
        load_state(&folder).unwrap().card.unwrap()
    };
    assert_eq!(counters(&whole), counters(&broken));
    assert_eq!(record(&whole).best, record(&broken).best);
}

#[test]
fn a_checkpoint_of_the_processor_goes_on_on_a_card_of_the_same_format_only() {
    let runs = tempfile::tempdir().unwrap();
    let whole = on_processor(config(runs.path(), "whole"));
    let stop = AtomicBool::new(false);
    let on_cpu = TrainConfig { device: Device::Cpu, ..config(runs.path(), "moved") };
    train(on_cpu, data(), &mut StopAt(&[2], &stop), &stop).unwrap();
    let half = TrainConfig { precision: PrecisionChoice::Auto, ..config(runs.path(), "moved") };
    let error = train_on(&card(), half, data(), &mut Silent, &AtomicBool::new(false)).unwrap_err();
    assert!(error.to_string().contains("--precision: nothing then, bf16 now"), "{error}");
    let moved = on_card(config(runs.path(), "moved"));
    let apart = distance(&tensors(&whole, "model.safetensors"), &tensors(&moved, "model.safetensors"));
    assert!(apart < 1e-4, "{apart}");
}

#[test]
fn a_card_that_is_too_small_says_what_would_have_fitted_and_auto_batch_makes_it_fit() {
    let runs = tempfile::tempdir().unwrap();
    let large = |name: &str, auto_batch| TrainConfig {
        batch_size: 8,
        auto_batch,
        ema_decay: None,
        epochs: 1,
        ..config(runs.path(), name)
    };
    let run = |config, kib: u64| {
        let setup = Setup::new(Some(Arc::new(Emulated::new(kib << 10))), None);
        train_on(&setup, config, data(), &mut Silent, &AtomicBool::new(false))
    };
    // The smallest card that holds the model and a window, but not the batch.
    let refused = (2_000..6_000).step_by(100).find_map(|kib| match run(large("a", false), kib) {
        Err(error @ TrainError::CardMemory { windows: 1.., .. }) => Some((kib, error)),
        Err(TrainError::CardMemory { .. } | TrainError::Gpu(GpuError::OutOfMemory { .. })) => None,
        other => panic!("{kib} KiB: {other:?}"),
    });
    let (kib, error) = refused.unwrap();
    let text = error.to_string();
    assert!(text.contains("--batch-size") && text.contains("--auto-batch"), "{text}");
    assert_eq!(run(large("b", true), kib).unwrap().steps, on_processor(large("c", false)).steps);
}

#[test]
fn a_model_no_kernel_was_made_for_is_refused_or_goes_to_the_processor() {
    let runs = tempfile::tempdir().unwrap();
    let odd = |name: &str, device| TrainConfig {
        start: Start::Scratch(Scratch { hidden_size: 24, layers: 1, heads: 2, vocab_size: 300 }),
        freeze_layers: 0,
        epochs: 1,
        device,
        ..config(runs.path(), name)
    };
    let run = |config| train_on(&card(), config, data(), &mut Silent, &AtomicBool::new(false));
    let error = run(odd("a", Device::Cuda(None))).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("hidden_size is 24"), "{error}");
    assert_eq!(record(&run(odd("b", Device::Auto)).unwrap()).hardware.device, "cpu");
}
