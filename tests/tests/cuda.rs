//! A graphics card against the processor. Where there is no card, every test says so and does nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use layoutlm_core::config::ModelConfig;
use layoutlm_tests::card::{batch, batch_of, config, error, loss};
use layoutlm_trainer::config::{Device, PrecisionChoice, Scratch, Start, TrainConfig};
use layoutlm_trainer::data::synthesize;
use layoutlm_trainer::gpu::{Compute, Cuda, GpuOptions, GpuTrainer, Precision};
use layoutlm_trainer::loss::Denominators;
use layoutlm_trainer::model::{DropoutState, LayoutLm, PackedBatch};
use layoutlm_trainer::optim::AdamWConfig;
use layoutlm_trainer::run::RunRecord;
use layoutlm_trainer::train::{Observer, Outcome, Silent, StepReport, TrainData, train};
use layoutlm_trainer::weights::{Array, Weights, read_tensor_file};

const SEED: DropoutState = DropoutState { seed: 7, pass: 3 };

/// The first card; says why there is none.
fn cuda() -> Option<Arc<Cuda>> {
    match Cuda::new(0) {
        Ok(card) => Some(Arc::new(card)),
        Err(e) => {
            eprintln!("skipped, nothing was compared with a card: {e}");
            None
        }
    }
}

fn trainer(card: &Arc<Cuda>, config: &ModelConfig, weights: &Weights, options: GpuOptions) -> GpuTrainer {
    let compute = Arc::clone(card) as Arc<dyn Compute>;
    GpuTrainer::new(compute, config.clone(), weights, options, AdamWConfig::default(), loss()).unwrap()
}

fn plain(precision: Precision) -> GpuOptions {
    GpuOptions { precision, gradient_checkpointing: false }
}

/// Relative error that each format may have.
fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::Fp32 => 1e-3,
        Precision::Tf32 | Precision::Fp16 => 0.03,
        Precision::Bf16 => 0.1,
    }
}

const ALL: [Precision; 4] = [Precision::Fp32, Precision::Tf32, Precision::Bf16, Precision::Fp16];

fn compare_gradients(card: &Arc<Cuda>, config: &ModelConfig, batch: &PackedBatch, options: GpuOptions) {
    let weights = Weights::random(config, 5, 9);
    let model = LayoutLm::new(config.clone(), weights.clone(), &candle_core::Device::Cpu).unwrap();
    let denominator = loss().denominator(batch.labels.as_deref().unwrap());
    let pass = model.forward_train(batch, SEED).unwrap();
    let part = loss().evaluate(pass.logits(), batch, denominator).unwrap();
    pass.backward(&part.gradient).unwrap();
    let mut gpu = trainer(card, config, &weights, options);
    gpu.accumulate(batch, SEED, denominator).unwrap();
    gpu.check_gradients().unwrap();
    let (numbers, most) = (gpu.numbers().unwrap(), tolerance(options.precision));
    assert!((numbers.loss / part.value - 1.0).abs() < most, "{options:?}: {} {}", numbers.loss, part.value);
    for (name, found) in gpu.gradients().unwrap().iter().filter(|(name, _)| !name.ends_with("self.key.bias"))
    {
        let unscaled = found.data.iter().map(|g| g / numbers.loss_scale as f32).collect();
        let found = Array { shape: found.shape.clone(), data: unscaled };
        let error = error(&found, &model.gradient(name).unwrap().unwrap());
        assert!(error < most, "{options:?} {name}: {error}");
    }
}

#[test]
fn gradients_equal_the_cpu_engines_in_every_format_and_head_size() {
    let Some(card) = cuda() else { return };
    for precision in ALL {
        for head in [16, 32, 64] {
            compare_gradients(&card, &config(head, 0.2), &batch(), plain(precision));
        }
        let options = GpuOptions { precision, gradient_checkpointing: true };
        compare_gradients(&card, &config(32, 0.2), &batch(), options);
    }
}

#[test]
fn long_windows_and_the_widths_of_layoutlm_base_are_right_too() {
    let Some(card) = cuda() else { return };
    let mut base = config(64, 0.1);
    (base.hidden_size, base.num_attention_heads, base.intermediate_size) = (768, 12, 3072);
    (base.max_position_embeddings, base.initializer_range) = (512, 0.02);
    for precision in ALL {
        compare_gradients(&card, &base, &batch_of(&[512, 200, 31, 64, 1]), plain(precision));
    }
}

#[test]
fn the_same_step_gives_the_same_bits_each_time() {
    let Some(card) = cuda() else { return };
    let (config, batch) = (config(64, 0.2), batch_of(&[80, 17, 64, 33]));
    let weights = Weights::random(&config, 5, 9);
    let denominators = Denominators { cross_entropy: 194.0, divergence: 194.0 };
    let run = |precision| {
        let mut gpu = trainer(&card, &config, &weights, plain(precision));
        gpu.keep_average(None).unwrap();
        for pass in 0..5 {
            let states = [2 * pass, 2 * pass + 1].map(|pass| DropoutState { seed: 1, pass });
            gpu.accumulate_twice(&batch, states, denominators, 0.5).unwrap();
            gpu.step(1e-3).unwrap();
            gpu.move_average(0.9).unwrap();
        }
        (gpu.weights().unwrap(), gpu.average().unwrap(), gpu.numbers().unwrap())
    };
    for precision in ALL {
        assert_eq!(run(precision), run(precision), "{precision:?}");
    }
}

#[test]
fn the_memory_of_a_pass_is_estimated_beforehand() {
    let Some(card) = cuda() else { return };
    let config = config(64, 0.0);
    let gpu = trainer(&card, &config, &Weights::random(&config, 5, 9), plain(Precision::Bf16));
    let before = gpu.peak_memory();
    let batch = batch_of(&[80; 40]);
    gpu.accumulate(&batch, SEED, 1.0).unwrap();
    let (found, expected) = (gpu.peak_memory() - before, gpu.bytes_per_token(1) * batch.tokens());
    assert!(found as f64 <= 1.15 * expected as f64, "{found} {expected}");
    assert!(gpu.tokens_that_fit(1).unwrap() > batch.tokens());
}

fn run_config(runs: &std::path::Path, name: &str, device: Device) -> TrainConfig {
    TrainConfig {
        job_name: name.into(),
        output_dir: runs.into(),
        start: Start::Scratch(Scratch { hidden_size: 64, layers: 2, heads: 2, vocab_size: 400 }),
        device,
        precision: PrecisionChoice::Given(Precision::Fp32),
        dropout: Some(0.0),
        ema_decay: Some(0.9),
        epochs: 3,
        batch_size: 4,
        learning_rate: 2e-3,
        early_stopping_patience: None,
        o_entity_ratio: None,
        ..TrainConfig::default()
    }
}

fn data() -> TrainData {
    let mut train = synthesize(11, 40, 6);
    let validation = train.split_off(30);
    TrainData::given(train, validation, "made up".into())
}

fn weights(outcome: &Outcome) -> Weights {
    let folder = outcome.run_dir.join(format!("checkpoint-{}", outcome.steps));
    read_tensor_file(&folder.join("model.safetensors")).unwrap()
}

struct StopAt<'a>(u64, &'a AtomicBool);

impl Observer for StopAt<'_> {
    fn step(&mut self, step: &StepReport) {
        if step.global_step == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_run_ends_close_to_the_processors_and_resumes_to_the_bit() {
    if cuda().is_none() {
        return;
    }
    let runs = tempfile::tempdir().unwrap();
    let run = |name: &str, device| {
        train(run_config(runs.path(), name, device), data(), &mut Silent, &AtomicBool::new(false)).unwrap()
    };
    let (card, processor) = (run("card", Device::Cuda(Some(0))), run("processor", Device::Cpu));
    let (found, expected) = (weights(&card), weights(&processor));
    for (name, found) in found.iter().filter(|(name, _)| !name.ends_with("self.key.bias")) {
        let error = error(found, expected.get(name).unwrap());
        assert!(error < 0.02, "{name}: {error}");
    }
    let hardware = RunRecord::read(&card.run_dir).unwrap().hardware;
    assert!(hardware.device != "cpu" && hardware.peak_device_memory_mib.is_some(), "{hardware:?}");
    let stop = AtomicBool::new(false);
    let broken = run_config(runs.path(), "broken", Device::Cuda(Some(0)));
    let outcome = train(broken, data(), &mut StopAt(11, &stop), &stop).unwrap();
    assert!(outcome.interrupted);
    assert_eq!(weights(&run("broken", Device::Cuda(Some(0)))), weights(&card));
}
