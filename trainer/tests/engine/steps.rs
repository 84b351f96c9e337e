//! Five optimiser steps equal those of the reference, for every form of the loss.

use std::path::Path;

use candle_core::DType;
use layoutlm_core::label::{LabelId, LabelSet};
use layoutlm_core::window::Window;
use layoutlm_trainer::loss::{LossConfig, Normalization};
use layoutlm_trainer::model::{DropoutState, LayoutLm, PackedBatch};
use layoutlm_trainer::optim::{AdamW, AdamWConfig, LinearSchedule};
use serde_json::Value;

use crate::shared::{goldens, json, max_difference, tensors, tiny, window};

const NO_DROPOUT: DropoutState = DropoutState { seed: 0, pass: 0 };

/// The reference batch without its padding.
fn batch(goldens: &Path, labels: &LabelSet) -> PackedBatch {
    let file = tensors(goldens.join("train/batch.safetensors"));
    let matrix = |name: &str| file[name].to_dtype(DType::I64).unwrap().to_vec2::<i64>().unwrap();
    let (ids, mask, targets) = (matrix("input_ids"), matrix("attention_mask"), matrix("labels"));
    let boxes = file["bbox"].to_dtype(DType::I64).unwrap().to_vec3::<i64>().unwrap();
    let mut windows: Vec<Window> = Vec::new();
    let mut packed_labels: Vec<Option<LabelId>> = Vec::new();
    for (((ids, mask), targets), boxes) in ids.iter().zip(&mask).zip(&targets).zip(&boxes) {
        let n = mask.iter().sum::<i64>() as usize;
        let ids: Vec<u32> = ids[..n].iter().map(|&i| i as u32).collect();
        let boxes: Vec<[u16; 4]> =
            boxes[..n].iter().map(|b| [b[0] as u16, b[1] as u16, b[2] as u16, b[3] as u16]).collect();
        windows.push(window(&ids, &boxes));
        packed_labels
            .extend(targets[..n].iter().map(|&t| usize::try_from(t).ok().and_then(|t| labels.at(t))));
    }
    let mut batch = PackedBatch::pack(&windows.iter().collect::<Vec<_>>());
    batch.labels = Some(packed_labels);
    batch
}

fn label_set(model: &LayoutLm) -> LabelSet {
    LabelSet::new(model.config().labels().unwrap().unwrap()).unwrap()
}

fn close(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() <= 1e-4 * expected.abs(), "{what}: {found}, expected {expected}");
}

/// Runs the five steps of one reference run and returns the model after them.
fn five_steps(goldens: &Path, name: &str, loss: &LossConfig, split: bool) -> LayoutLm {
    let training = json(goldens.join("train/training.json"));
    let mut model = tiny(goldens);
    let full = batch(goldens, &label_set(&model));
    let micro = if split { halves(&full) } else { vec![full] };
    let schedule = LinearSchedule::with_ratio(1e-3, 0.2, 5);
    let mut optimizer = AdamW::new(AdamWConfig::default());
    for (i, expected) in training["runs"][name]["steps"].as_array().unwrap().iter().enumerate() {
        let denominator = micro.iter().map(|b| loss.denominator(b.labels.as_deref().unwrap())).sum();
        let mut value = 0.0;
        for batch in &micro {
            let pass = model.forward_train(batch, NO_DROPOUT).unwrap();
            let loss = loss.evaluate(pass.logits(), batch, denominator).unwrap();
            value += loss.value;
            pass.backward(&loss.gradient).unwrap();
        }
        model.check_gradients().unwrap();
        if i == 0 {
            check_first_gradients(&model, &training["runs"][name]);
        }
        let stats = optimizer.step(&mut model, schedule.at(i as u64)).unwrap();
        close(value, &expected["loss"], &format!("{name} step {i} loss"));
        close(stats.gradient_norm, &expected["grad_norm_before_clip"], &format!("{name} step {i} norm"));
        assert!((schedule.at(i as u64) - expected["lr"].as_f64().unwrap()).abs() < 1e-12);
    }
    model
}

/// A tensor to compare: not the pooler, which this model does not have, and not the bias of the key, whose gradient
/// is nothing but rounding noise (softmax does not see it).
fn counts(tensor: &str) -> bool {
    !tensor.ends_with("attention.self.key.bias") && !tensor.starts_with("layoutlm.pooler.")
}

fn check_first_gradients(model: &LayoutLm, run: &Value) {
    let Some(norms) = run["grad_l2_step0"].as_object() else { return };
    assert_eq!(norms.len(), model.weights().unwrap().len() + 2);
    for (tensor, expected) in norms.iter().filter(|(tensor, _)| counts(tensor)) {
        let gradient = model.gradient(tensor).unwrap().unwrap();
        let norm = gradient.data.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        close(norm, expected, tensor);
        if let Some(first) = run["grad_first8_step0"].get(tensor) {
            let first: Vec<f32> = serde_json::from_value(first.clone()).unwrap();
            let worst = max_difference(&gradient.data[..first.len()], &first);
            assert!(worst < 1e-4 * norm as f32, "{tensor}: {worst} of {norm}");
        }
    }
}

/// The same windows as two batches.
fn halves(batch: &PackedBatch) -> Vec<PackedBatch> {
    let cut = batch.cu_seqlens[2];
    let labels = batch.labels.as_ref().unwrap();
    let part = |range: std::ops::Range<usize>, bounds: &[usize]| PackedBatch {
        input_ids: batch.input_ids[range.clone()].to_vec(),
        bbox: batch.bbox[range.clone()].to_vec(),
        position_ids: batch.position_ids[range.clone()].to_vec(),
        cu_seqlens: bounds.iter().map(|b| b - range.start).collect(),
        labels: Some(labels[range].to_vec()),
    };
    vec![part(0..cut, &batch.cu_seqlens[..3]), part(cut..batch.tokens(), &batch.cu_seqlens[2..])]
}

fn class_weights(goldens: &Path) -> Vec<f32> {
    serde_json::from_value(json(goldens.join("train/training.json"))["class_weights"].clone()).unwrap()
}

fn smoothed() -> LossConfig {
    LossConfig { label_smoothing: 0.1, ..LossConfig::default() }
}

#[test]
fn label_smoothing_ends_at_the_reference_weights() {
    let Some(goldens) = goldens("label_smoothing_ends_at_the_reference_weights") else { return };
    let model = five_steps(&goldens, "label_smoothing", &smoothed(), false);
    let training = json(goldens.join("train/training.json"));
    let weights = model.weights().unwrap();
    let expected = training["runs"]["label_smoothing"]["final_weights"].as_object().unwrap();
    assert_eq!(expected.len(), weights.len() + 2);
    for (tensor, expected) in expected.iter().filter(|(tensor, _)| counts(tensor)) {
        let array = weights.get(tensor).unwrap();
        let first: Vec<f32> = serde_json::from_value(expected["first8"].clone()).unwrap();
        let worst = max_difference(&array.data[..first.len()], &first);
        assert!(worst < 1e-5, "{tensor}: {worst}");
        let norm = array.data.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        close(norm, &expected["l2"], tensor);
        let mean = array.data.iter().map(|&g| f64::from(g)).sum::<f64>() / array.data.len() as f64;
        assert!((mean - expected["mean"].as_f64().unwrap()).abs() < 1e-5, "{tensor}: mean {mean}");
    }
    let file = tensors(goldens.join("train/batch.safetensors"));
    let batch = batch(&goldens, &label_set(&model));
    let logits = model.forward(&batch).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let padded = file["logits_final"].to_vec3::<f32>().unwrap();
    let lengths = batch.cu_seqlens.windows(2).map(|w| w[1] - w[0]);
    let expected: Vec<f32> = padded.iter().zip(lengths).flat_map(|(rows, n)| rows[..n].concat()).collect();
    let worst = max_difference(&logits, &expected);
    assert!(worst < 1e-3, "{worst}");
}

#[test]
fn plain_cross_entropy_equals_the_reference() {
    let Some(goldens) = goldens("plain_cross_entropy_equals_the_reference") else { return };
    five_steps(&goldens, "plain_ce", &LossConfig::default(), false);
}

#[test]
fn class_weights_with_either_denominator_equal_the_reference() {
    let Some(goldens) = goldens("class_weights_with_either_denominator_equal_the_reference") else { return };
    for (name, normalization) in
        [("weighted_ce_mean", Normalization::WeightSum), ("weighted_ce_items", Normalization::Items)]
    {
        let class_weights = Some(class_weights(&goldens));
        let loss = LossConfig { label_smoothing: 0.0, class_weights, normalization };
        five_steps(&goldens, name, &loss, false);
    }
}

#[test]
fn accumulating_over_two_batches_is_the_step_of_one() {
    let Some(goldens) = goldens("accumulating_over_two_batches_is_the_step_of_one") else { return };
    five_steps(&goldens, "label_smoothing", &smoothed(), true);
    let class_weights = Some(class_weights(&goldens));
    let loss = LossConfig { label_smoothing: 0.0, class_weights, normalization: Normalization::WeightSum };
    five_steps(&goldens, "weighted_ce_mean", &loss, true);
}
