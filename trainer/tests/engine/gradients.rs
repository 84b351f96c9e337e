//! The backward pass against differences of the forward pass, dropout included, for every tensor of the model.

use candle_core::Device;
use layoutlm_core::label::LabelId;
use layoutlm_core::window::Window;
use layoutlm_trainer::loss::{LossConfig, Normalization};
use layoutlm_trainer::model::{DropoutState, LayoutLm, ModelError, PackedBatch, TrainPass};
use layoutlm_trainer::optim::{AdamW, AdamWConfig};
use layoutlm_trainer::weights::Weights;

use crate::shared::{labels, max_difference, small_config, small_model, windows};

const MASKS: DropoutState = DropoutState { seed: 11, pass: 3 };

pub(crate) fn batch() -> PackedBatch {
    let windows = windows(&[7, 1, 19, 12], 40);
    let mut batch = PackedBatch::pack(&windows.iter().collect::<Vec<&Window>>());
    let ids: Vec<Option<LabelId>> = (0..batch.tokens()).map(|i| labels().at(i * 7 % 5)).collect();
    batch.labels = Some(ids);
    batch
}

fn loss() -> LossConfig {
    let class_weights = Some(vec![0.3, 2.0, 1.0]);
    LossConfig { label_smoothing: 0.1, class_weights, normalization: Normalization::WeightSum }
}

fn value(weights: &Weights, dropout: f64) -> f64 {
    let model = LayoutLm::new(small_config(dropout), weights.clone(), &Device::Cpu).unwrap();
    let batch = batch();
    let pass = model.forward_train(&batch, MASKS).unwrap();
    loss().evaluate(pass.logits(), &batch, 7.0).unwrap().value
}

fn backward(model: &LayoutLm) {
    let batch = batch();
    let pass = model.forward_train(&batch, MASKS).unwrap();
    let loss = loss().evaluate(pass.logits(), &batch, 7.0).unwrap();
    pass.backward(&loss.gradient).unwrap();
}

/// Along each tensor's own gradient the loss must rise by its norm.
fn check_every_tensor(dropout: f64) {
    // Weights far from the flat start, so that every part of the network matters.
    let mut weights = Weights::random(&small_config(dropout), 3, 5);
    for (i, (name, array)) in weights.clone().into_iter().enumerate() {
        let mut array = array;
        let shift = |j: usize| 0.3 * ((i * 31 + j * 17) % 13) as f32 / 13.0 - 0.15;
        array.data.iter_mut().enumerate().for_each(|(j, x)| *x += shift(j));
        weights.insert(name, array);
    }
    let model = LayoutLm::new(small_config(dropout), weights.clone(), &Device::Cpu).unwrap();
    backward(&model);
    model.check_gradients().unwrap();
    for (name, array) in weights.iter().filter(|(name, _)| !name.ends_with("key.bias")) {
        let gradient = model.gradient(name).unwrap().unwrap();
        let norm = gradient.data.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 1e-4, "{name} has hardly any gradient: {norm}");
        let at = |step: f64| {
            let mut moved = weights.clone();
            let mut array = array.clone();
            for (x, g) in array.data.iter_mut().zip(&gradient.data) {
                *x = (f64::from(*x) + step * f64::from(*g) / norm) as f32;
            }
            moved.insert(name.clone(), array);
            value(&moved, dropout)
        };
        // Two step widths, extrapolated: the error left is of fourth order.
        let slope = |h: f64| (at(h) - at(-h)) / (2.0 * h);
        let h = (4e-3 / norm).min(0.05);
        let found = (4.0 * slope(h) - slope(2.0 * h)) / 3.0;
        assert!((found - norm).abs() < 4e-3 * norm, "{name}: slope {found}, gradient {norm}");
    }
}

#[test]
fn every_tensor_has_the_slope_of_the_loss() {
    check_every_tensor(0.0);
}

#[test]
fn every_tensor_has_the_slope_of_the_loss_with_dropout() {
    check_every_tensor(0.25);
}

#[test]
fn tokens_without_a_label_are_left_out_and_nothing_else_changes() {
    let (some, all) = (small_model(0.0), small_model(0.0));
    let labelled = batch();
    let pass = some.forward_train(&labelled, MASKS).unwrap();
    // Without labels every token is worked out.
    let unlabelled = PackedBatch { labels: None, ..labelled.clone() };
    let full = all.forward_train(&unlabelled, MASKS).unwrap();
    let rows = |pass: &TrainPass<'_>| pass.logits().to_vec2::<f32>().unwrap();
    let labels = labelled.labels.as_ref().unwrap();
    assert!(labels.iter().any(Option::is_none) && labels.iter().any(Option::is_some));
    for ((some, all), label) in rows(&pass).iter().zip(&rows(&full)).zip(labels) {
        match label {
            Some(_) => assert!(max_difference(some, all) < 1e-5),
            None => assert_eq!(some, &[0.0; 3]),
        }
    }
    let gradient = |pass: &TrainPass<'_>| loss().evaluate(pass.logits(), &labelled, 7.0).unwrap().gradient;
    let (for_some, for_all) = (gradient(&pass), gradient(&full));
    pass.backward(&for_some).unwrap();
    full.backward(&for_all).unwrap();
    for (name, _) in some.weights().unwrap().iter() {
        let [some, all] = [&some, &all].map(|model| model.gradient(name).unwrap().unwrap().data);
        assert!(max_difference(&some, &all) < 1e-5, "{name}");
    }
}

#[test]
fn a_batch_without_a_single_label_has_a_gradient_of_zero() {
    let model = small_model(0.1);
    let mut batch = batch();
    batch.labels = Some(vec![None; batch.tokens()]);
    let pass = model.forward_train(&batch, MASKS).unwrap();
    let loss = loss().evaluate(pass.logits(), &batch, 7.0).unwrap();
    pass.backward(&loss.gradient).unwrap();
    model.check_gradients().unwrap();
    for (name, _) in model.weights().unwrap().iter() {
        assert!(model.gradient(name).unwrap().unwrap().data.iter().all(|g| *g == 0.0), "{name}");
    }
}

#[test]
fn a_tensor_without_gradient_stops_the_run_by_name() {
    let mut model = small_model(0.0);
    let text = model.check_gradients().unwrap_err().to_string();
    assert!(text.contains("layoutlm.encoder.layer.1.attention.self.key.weight"), "{text}");
    // Frozen tensors need none and get none.
    model.scale_learning_rates(|name| if name.starts_with("layoutlm.embeddings.") { 0.0 } else { 1.0 });
    backward(&model);
    model.check_gradients().unwrap();
    assert!(model.gradient("layoutlm.embeddings.word_embeddings.weight").unwrap().is_none());
    assert!(model.gradient("layoutlm.encoder.layer.0.output.dense.weight").unwrap().is_some());
    model.clear_gradients().unwrap();
    assert!(matches!(model.check_gradients(), Err(ModelError::NoGradient { .. })));
}

#[test]
fn frozen_tensors_stay_and_scaled_ones_move_less() {
    let moved = |scale: f64, name: &str| {
        let mut model = small_model(0.0);
        model.scale_learning_rates(|name| if name.contains("layer.0.") { scale } else { 1.0 });
        let before = model.weights().unwrap();
        backward(&model);
        AdamW::new(AdamWConfig::default()).step(&mut model, 1e-3).unwrap();
        let after = model.weights().unwrap();
        let pairs = before.get(name).unwrap().data.iter().zip(&after.get(name).unwrap().data);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    let (first, second) =
        ("layoutlm.encoder.layer.0.output.dense.weight", "layoutlm.encoder.layer.1.output.dense.weight");
    assert_eq!(moved(0.0, first), 0.0);
    assert!(moved(0.1, first) < 0.15 * moved(1.0, first));
    assert!(moved(0.0, second) > 5e-4);
}

#[test]
fn the_padding_row_is_never_trained() {
    let mut model = small_model(0.0);
    let mut batch = batch();
    batch.input_ids[3] = 0;
    let pass = model.forward_train(&batch, MASKS).unwrap();
    let loss = loss().evaluate(pass.logits(), &batch, 7.0).unwrap();
    pass.backward(&loss.gradient).unwrap();
    AdamW::new(AdamWConfig::default()).step(&mut model, 1e-2).unwrap();
    let words = model.weights().unwrap().remove("layoutlm.embeddings.word_embeddings.weight").unwrap();
    assert!(words.data[..16].iter().all(|x| *x == 0.0));
    assert!(words.data[16..].iter().any(|x| *x != 0.0));
}

#[test]
fn a_gradient_that_is_not_finite_leaves_the_weights_alone() {
    let mut model = small_model(0.0);
    let before = model.weights().unwrap();
    let batch = batch();
    let pass = model.forward_train(&batch, MASKS).unwrap();
    let gradient = (pass.logits().ones_like().unwrap() * f64::NAN).unwrap();
    pass.backward(&gradient).unwrap();
    let mut optimizer = AdamW::new(AdamWConfig::default());
    let text = optimizer.step(&mut model, 1e-3).unwrap_err().to_string();
    assert!(text.starts_with("the gradient norm is NaN"), "{text}");
    assert_eq!((model.weights().unwrap(), optimizer.steps()), (before, 0));
    assert!(matches!(model.check_gradients(), Err(ModelError::NoGradient { .. })));
}
