//! The card's kernels, run by the emulation, against the CPU engine and the reference's five optimiser steps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use layoutlm_core::bbox::NormalizedBox;
use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::config::ModelConfig;
use layoutlm_core::label::{LabelId, LabelSet};
use layoutlm_core::window::Window;
use layoutlm_tests::card::{batch, config, error, loss, window};
use layoutlm_tests::emulated::Emulated;
use layoutlm_tests::shared;
use layoutlm_trainer::gpu::{GpuClassifier, GpuError, GpuOptions, GpuTrainer, Precision};
use layoutlm_trainer::loss::{Denominators, LossConfig, divergence};
use layoutlm_trainer::model::{CandleClassifier, DropoutState, LayoutLm, PackedBatch};
use layoutlm_trainer::optim::{AdamW, AdamWConfig, LinearSchedule};
use layoutlm_trainer::weights::{Array, Checkpoint, LoadOptions, Weights};
use safetensors::SafeTensors;

const GIB: u64 = 1 << 30;
const SEED: DropoutState = DropoutState { seed: 7, pass: 3 };

fn options(precision: Precision) -> GpuOptions {
    GpuOptions { precision, gradient_checkpointing: false }
}

fn card(config: &ModelConfig, weights: &Weights, options: GpuOptions, loss: &LossConfig) -> GpuTrainer {
    let compute = Arc::new(Emulated::new(GIB));
    GpuTrainer::new(compute, config.clone(), weights, options, AdamWConfig::default(), loss.clone()).unwrap()
}

fn cpu(config: &ModelConfig, weights: &Weights) -> LayoutLm {
    LayoutLm::new(config.clone(), weights.clone(), &candle_core::Device::Cpu).unwrap()
}

/// Gradients of the CPU engine and its loss.
fn reference(config: &ModelConfig, weights: &Weights, batch: &PackedBatch) -> (f64, LayoutLm) {
    let (model, loss) = (cpu(config, weights), loss());
    let denominator = loss.denominator(batch.labels.as_deref().unwrap());
    let pass = model.forward_train(batch, SEED).unwrap();
    let part = loss.evaluate(pass.logits(), batch, denominator).unwrap();
    pass.backward(&part.gradient).unwrap();
    (part.value, model)
}

fn check_gradients(head: usize, options: GpuOptions, tolerance: f64) {
    let config = config(head, 0.2);
    let (weights, batch) = (Weights::random(&config, 5, 9), batch());
    let (expected_loss, model) = reference(&config, &weights, &batch);
    let mut gpu = card(&config, &weights, options, &loss());
    let denominator = loss().denominator(batch.labels.as_deref().unwrap());
    gpu.accumulate(&batch, SEED, denominator).unwrap();
    gpu.check_gradients().unwrap();
    let numbers = gpu.numbers().unwrap();
    assert!(
        (numbers.loss - expected_loss).abs() < tolerance * expected_loss,
        "{} {expected_loss}",
        numbers.loss
    );
    for (name, found) in gpu.gradients().unwrap().iter().filter(|(name, _)| !name.ends_with("self.key.bias"))
    {
        let found = Array {
            shape: found.shape.clone(),
            data: found.data.iter().map(|g| g / numbers.loss_scale as f32).collect(),
        };
        let expected = model.gradient(name).unwrap().unwrap();
        let error = error(&found, &expected);
        assert!(error < tolerance, "{name}: {error}");
    }
}

#[test]
fn gradients_with_dropout_equal_the_cpu_engines_for_every_head_size() {
    for head in [16, 32, 64] {
        check_gradients(head, options(Precision::Fp32), 1e-4);
    }
}

#[test]
fn two_passes_that_are_held_to_agree_have_the_cpu_engines_gradients() {
    let config = config(16, 0.3);
    let (weights, batch) = (Weights::random(&config, 5, 9), batch());
    let (model, states) = (cpu(&config, &weights), [1, 2].map(|pass| DropoutState { seed: 7, pass }));
    let passes = states.map(|state| model.forward_train(&batch, state).unwrap());
    let labels = batch.labels.as_deref().unwrap();
    let denominators =
        Denominators { cross_entropy: loss().denominator(labels), divergence: labels.len() as f64 };
    let [a, b] = &passes;
    let scale = 3.0 / (4.0 * denominators.divergence);
    let apart = divergence([a.logits(), b.logits()], labels, scale).unwrap();
    let mut expected_loss = apart.value;
    for (pass, gradient) in passes.into_iter().zip(&apart.gradients) {
        let part = loss().evaluate(pass.logits(), &batch, 2.0 * denominators.cross_entropy).unwrap();
        expected_loss += part.value;
        pass.backward(&(part.gradient + gradient).unwrap()).unwrap();
    }
    let mut gpu = card(&config, &weights, options(Precision::Fp32), &loss());
    gpu.accumulate_twice(&batch, states, denominators, 3.0).unwrap();
    assert!((gpu.numbers().unwrap().loss / expected_loss - 1.0).abs() < 1e-4);
    for (name, found) in gpu.gradients().unwrap().iter().filter(|(name, _)| !name.ends_with("self.key.bias"))
    {
        let error = error(found, &model.gradient(name).unwrap().unwrap());
        assert!(error < 1e-4, "{name}: {error}");
    }
}

#[test]
fn the_average_follows_the_weights_is_lent_out_and_leaves_them_as_they_were() {
    let config = config(16, 0.0);
    let (first, batch) = (Weights::random(&config, 5, 9), batch());
    let mut gpu = card(&config, &first, options(Precision::Bf16), &loss());
    gpu.keep_average(None).unwrap();
    gpu.accumulate(&batch, SEED, 29.0).unwrap();
    gpu.step(1e-2).unwrap();
    gpu.move_average(0.75).unwrap();
    let (now, average) = (gpu.weights().unwrap(), gpu.average().unwrap().unwrap());
    for (name, mean) in average.iter() {
        let (first, now) = (first.get(name).unwrap(), now.get(name).unwrap());
        for ((m, f), n) in mean.data.iter().zip(&first.data).zip(&now.data) {
            assert!((m - (f + 0.25 * (n - f))).abs() < 1e-6, "{name}");
        }
    }
    assert_ne!(now, average);
    let before = gpu.logits(&batch).unwrap();
    let lent = gpu.with_average(|gpu| (gpu.weights().unwrap(), gpu.logits(&batch).unwrap())).unwrap();
    let expected = card(&config, &average, options(Precision::Bf16), &loss()).logits(&batch).unwrap();
    assert_eq!(lent, (average, expected));
    assert_eq!((gpu.weights().unwrap(), gpu.logits(&batch).unwrap()), (now, before));
}

#[test]
fn the_memory_of_a_pass_is_known_beforehand() {
    let config = config(32, 0.0);
    let weights = Weights::random(&config, 5, 9);
    for (precision, gradient_checkpointing) in
        [(Precision::Fp32, false), (Precision::Bf16, false), (Precision::Fp32, true)]
    {
        let gpu = card(&config, &weights, GpuOptions { precision, gradient_checkpointing }, &loss());
        let (batch, before) = (batch(), gpu.peak_memory());
        gpu.accumulate(&batch, SEED, 29.0).unwrap();
        let (found, expected) = (gpu.peak_memory() - before, gpu.bytes_per_token(1) * batch.tokens());
        let share = found as f64 / expected as f64;
        assert!((0.6..1.15).contains(&share), "{precision:?} {gradient_checkpointing}: {found} {expected}");
    }
}

#[test]
fn gradients_in_half_precision_stay_close() {
    check_gradients(16, options(Precision::Bf16), 0.1);
    check_gradients(16, options(Precision::Fp16), 0.02);
}

#[test]
fn logits_in_half_precision_stay_close() {
    for head in [16, 32] {
        let config = config(head, 0.0);
        let weights = Weights::random(&config, 5, 9);
        let exact = card(&config, &weights, options(Precision::Fp32), &loss()).logits(&batch()).unwrap();
        for (precision, tolerance) in [(Precision::Fp16, 0.01), (Precision::Bf16, 0.05)] {
            let found = card(&config, &weights, options(precision), &loss()).logits(&batch()).unwrap();
            let error = error(&found, &exact);
            assert!(error < tolerance, "{precision:?}, heads of {head}: {error}");
        }
    }
}

#[test]
fn computing_activations_again_changes_no_gradient() {
    let config = config(16, 0.2);
    let (weights, batch) = (Weights::random(&config, 5, 9), batch());
    let gradients = |gradient_checkpointing| {
        let options = GpuOptions { precision: Precision::Fp32, gradient_checkpointing };
        let gpu = card(&config, &weights, options, &loss());
        gpu.accumulate(&batch, SEED, 29.0).unwrap();
        (gpu.gradients().unwrap(), gpu.peak_memory())
    };
    let ((kept, most), (again, less)) = (gradients(false), gradients(true));
    assert_eq!(kept, again);
    assert!(less < most, "{less} {most}");
}

#[test]
fn logits_equal_the_cpu_engines_and_windows_do_not_see_each_other() {
    let config = config(32, 0.1);
    let weights = Weights::random(&config, 5, 2);
    let gpu = card(&config, &weights, options(Precision::Fp32), &LossConfig::default());
    let windows: Vec<Window> =
        [40, 3, 33].iter().zip(5..).map(|(&length, seed)| window(length, seed)).collect();
    let windows: Vec<&Window> = windows.iter().collect();
    let expected = CandleClassifier::new(cpu(&config, &weights)).logits(&windows).unwrap();
    for budget in [1, 1000] {
        let found = GpuClassifier::new(&gpu, budget).logits(&windows).unwrap();
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }
}

#[test]
fn steps_equal_the_cpu_engines_and_go_on_from_saved_state_to_the_bit() {
    let config = config(16, 0.1);
    let (weights, batch) = (Weights::random(&config, 5, 4), batch());
    let (mut model, mut adamw) = (cpu(&config, &weights), AdamW::new(AdamWConfig::default()));
    let mut gpu = card(&config, &weights, options(Precision::Fp32), &loss());
    let scale = |name: &str| {
        if name.contains("word_embeddings") {
            0.0
        } else if name.contains("layer.0") {
            0.5
        } else {
            1.0
        }
    };
    model.scale_learning_rates(scale);
    gpu.scale_learning_rates(scale).unwrap();
    let mut saved = None;
    for step in 0..4 {
        let state = DropoutState { seed: 1, pass: step };
        let pass = model.forward_train(&batch, state).unwrap();
        let part = loss().evaluate(pass.logits(), &batch, 29.0).unwrap();
        pass.backward(&part.gradient).unwrap();
        let stats = adamw.step(&mut model, 1e-3).unwrap();
        gpu.accumulate(&batch, state, 29.0).unwrap();
        gpu.step(1e-3).unwrap();
        let numbers = gpu.numbers().unwrap();
        assert!((numbers.gradient_norm / stats.gradient_norm - 1.0).abs() < 1e-4, "step {step}");
        assert!((numbers.loss / part.value - 1.0).abs() < 1e-4, "step {step}");
        if step == 1 {
            saved = Some((gpu.weights().unwrap(), gpu.optimizer_state().unwrap(), gpu.counters().unwrap()));
        }
    }
    let after = gpu.weights().unwrap();
    for (name, found) in after.iter().filter(|(name, _)| !name.ends_with("self.key.bias")) {
        let error = error(found, model.weights().unwrap().get(name).unwrap());
        assert!(error < 1e-4, "{name}: {error}");
    }
    let (weights, moments, counters) = saved.unwrap();
    let mut resumed = card(&config, &weights, options(Precision::Fp32), &loss());
    resumed.scale_learning_rates(scale).unwrap();
    resumed.load_optimizer_state(&moments, counters).unwrap();
    for step in 2..4 {
        resumed.accumulate(&batch, DropoutState { seed: 1, pass: step }, 29.0).unwrap();
        resumed.step(1e-3).unwrap();
    }
    assert_eq!(resumed.weights().unwrap(), after);
}

#[test]
fn a_gradient_that_is_not_finite_changes_nothing_and_halves_the_loss_scale() {
    let config = config(16, 0.0);
    let mut weights = Weights::random(&config, 5, 4);
    let mut gpu = card(&config, &weights, options(Precision::Fp16), &loss());
    let scale = gpu.numbers().unwrap().loss_scale;
    // Activations beyond the range of fp16.
    let mut classifier = weights.remove("classifier.weight").unwrap();
    classifier.data.iter_mut().for_each(|w| *w *= 1e6);
    weights.insert("classifier.weight", classifier);
    let mut broken = card(&config, &weights, options(Precision::Fp16), &loss());
    broken.accumulate(&batch(), SEED, 29.0).unwrap();
    broken.step(1e-3).unwrap();
    let numbers = broken.numbers().unwrap();
    assert_eq!((numbers.skipped, numbers.loss_scale), (1, scale / 2.0));
    assert_eq!(broken.weights().unwrap(), weights);
    gpu.accumulate(&batch(), SEED, 29.0).unwrap();
    gpu.step(1e-3).unwrap();
    assert_eq!(gpu.numbers().unwrap().skipped, 0);
}

#[test]
fn a_card_that_is_too_small_and_sizes_without_a_kernel_are_refused_with_a_sentence() {
    let config = config(16, 0.0);
    let weights = Weights::random(&config, 5, 4);
    let make = |capacity, config: &ModelConfig, weights: &Weights| {
        let compute = Arc::new(Emulated::new(capacity));
        let optimizer = AdamWConfig::default();
        GpuTrainer::new(
            compute,
            config.clone(),
            weights,
            GpuOptions::default(),
            optimizer,
            LossConfig::default(),
        )
    };
    let text = make(100_000, &config, &weights).unwrap_err().to_string();
    assert!(text.starts_with("out of memory on the card"), "{text}");
    let mut odd = config.clone();
    odd.num_attention_heads = 4;
    let error = make(GIB, &odd, &weights).unwrap_err();
    assert!(matches!(error, GpuError::Dimension { value: 8, .. }), "{error}");
}

/// The reference batch without its padding.
fn golden_batch(bytes: &[u8], labels: &LabelSet) -> PackedBatch {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let numbers = |name: &str| -> Vec<i64> {
        let view = file.tensor(name).unwrap();
        view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let width = file.tensor("input_ids").unwrap().shape()[1];
    let (ids, mask, boxes, targets) =
        (numbers("input_ids"), numbers("attention_mask"), numbers("bbox"), numbers("labels"));
    let mut windows = Vec::new();
    let mut packed: Vec<Option<LabelId>> = Vec::new();
    for row in 0..ids.len() / width {
        let length = mask[row * width..(row + 1) * width].iter().sum::<i64>() as usize;
        let range = row * width..row * width + length;
        let bbox = range.clone().map(|i| {
            let corners: Vec<u16> = boxes[4 * i..4 * i + 4].iter().map(|&b| b as u16).collect();
            NormalizedBox::new(corners.try_into().unwrap()).unwrap()
        });
        packed.extend(
            targets[range.clone()].iter().map(|&t| usize::try_from(t).ok().and_then(|t| labels.at(t))),
        );
        windows.push(Window {
            word_indices: vec![],
            bbox: bbox.collect(),
            input_ids: ids[range.clone()].iter().map(|&i| i as u32).collect(),
            word_ids: vec![None; length],
        });
    }
    let mut batch = PackedBatch::pack(&windows.iter().collect::<Vec<_>>());
    batch.labels = Some(packed);
    batch
}

#[test]
fn five_optimiser_steps_equal_the_reference() {
    let Some(goldens) = shared("goldens") else { return };
    let mut checkpoint = Checkpoint::load(&goldens.join("tiny"), LoadOptions::default()).unwrap();
    (checkpoint.config.hidden_dropout_prob, checkpoint.config.attention_probs_dropout_prob) = (0.0, 0.0);
    let set = LabelSet::new(checkpoint.config.labels().unwrap().unwrap()).unwrap();
    let batch = golden_batch(&std::fs::read(goldens.join("train/batch.safetensors")).unwrap(), &set);
    let training: serde_json::Value =
        serde_json::from_slice(&std::fs::read(goldens.join("train/training.json")).unwrap()).unwrap();
    let loss = LossConfig { label_smoothing: 0.1, ..LossConfig::default() };
    let mut gpu = card(&checkpoint.config, &checkpoint.weights, options(Precision::Fp32), &loss);
    let denominator = loss.denominator(batch.labels.as_deref().unwrap());
    let schedule = LinearSchedule::with_ratio(1e-3, 0.2, 5);
    for (i, expected) in training["runs"]["label_smoothing"]["steps"].as_array().unwrap().iter().enumerate() {
        gpu.accumulate(&batch, DropoutState { seed: 0, pass: 0 }, denominator).unwrap();
        gpu.step(schedule.at(i as u64)).unwrap();
        let numbers = gpu.numbers().unwrap();
        for (found, name) in [(numbers.loss, "loss"), (numbers.gradient_norm, "grad_norm_before_clip")] {
            let expected = expected[name].as_f64().unwrap();
            assert!(
                (found - expected).abs() <= 1e-4 * expected,
                "step {i} {name}: {found}, expected {expected}"
            );
        }
    }
}
