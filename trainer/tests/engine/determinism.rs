//! The same inputs give the same bits: again, on more threads, and after a stop in the middle.

use candle_core::Device;
use layoutlm_core::window::Window;
use layoutlm_trainer::loss::LossConfig;
use layoutlm_trainer::model::{DropoutState, LayoutLm, PackedBatch};
use layoutlm_trainer::optim::{AdamW, AdamWConfig};
use layoutlm_trainer::weights::{Weights, read_tensor_file, write_tensor_file};

use crate::shared::{labels, small_config, small_model, windows};

/// Wide enough that products are split over threads, with rows that do not divide evenly.
fn wide_model() -> LayoutLm {
    let mut config = small_config(0.1);
    (config.hidden_size, config.intermediate_size, config.vocab_size) = (400, 840, 300);
    (config.num_attention_heads, config.max_position_embeddings) = (4, 200);
    let weights = Weights::random(&config, 3, 5);
    LayoutLm::new(config, weights, &Device::Cpu).unwrap()
}

fn batch(vocabulary: u32, lengths: &[usize]) -> PackedBatch {
    let windows = windows(lengths, vocabulary);
    let mut batch = PackedBatch::pack(&windows.iter().collect::<Vec<&Window>>());
    batch.labels = Some((0..batch.tokens()).map(|i| labels().at(i * 7 % 5)).collect());
    batch
}

fn step(model: &mut LayoutLm, optimizer: &mut AdamW, batch: &PackedBatch, pass: u64) {
    let loss = LossConfig { label_smoothing: 0.1, ..LossConfig::default() };
    let forward = model.forward_train(batch, DropoutState { seed: 42, pass }).unwrap();
    let value = loss.evaluate(forward.logits(), batch, batch.labelled_tokens() as f64).unwrap();
    forward.backward(&value.gradient).unwrap();
    optimizer.step(model, 1e-3).unwrap();
}

/// Weights after three steps on `threads` threads.
fn trained(threads: usize) -> Weights {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let (mut model, mut optimizer) = (wide_model(), AdamW::new(AdamWConfig::default()));
        let batch = batch(300, &[131, 64, 7, 190, 99]);
        (0..3).for_each(|i| step(&mut model, &mut optimizer, &batch, i));
        model.weights().unwrap()
    })
}

fn same_bits(a: &Weights, b: &Weights) {
    assert_eq!(a.len(), b.len());
    for ((name, a), (_, b)) in a.iter().zip(b.iter()) {
        let bits = |data: &[f32]| data.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert!(bits(&a.data) == bits(&b.data), "{name} differs");
    }
}

#[test]
fn training_twice_gives_the_same_bits() {
    same_bits(&trained(2), &trained(2));
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let one = trained(1);
    for threads in [2, 3] {
        same_bits(&one, &trained(threads));
    }
}

#[test]
fn a_pass_draws_its_own_masks() {
    let (model, batch) = (small_model(0.3), batch(40, &[9, 20]));
    let logits = |seed, pass| {
        let forward = model.forward_train(&batch, DropoutState { seed, pass }).unwrap();
        forward.logits().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_eq!(logits(1, 1), logits(1, 1));
    assert_ne!(logits(1, 1), logits(1, 2));
    assert_ne!(logits(1, 1), logits(2, 1));
}

#[test]
fn a_run_stopped_and_resumed_ends_at_the_same_bits() {
    let batches = [batch(40, &[9, 20]), batch(40, &[30]), batch(40, &[4, 5, 6])];
    let (mut model, mut optimizer) = (small_model(0.1), AdamW::new(AdamWConfig::default()));
    for i in 0..6u64 {
        step(&mut model, &mut optimizer, &batches[i as usize % 3], i);
    }
    let (mut resumed, mut first) = (small_model(0.1), AdamW::new(AdamWConfig::default()));
    for i in 0..3u64 {
        step(&mut resumed, &mut first, &batches[i as usize % 3], i);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trainer_state.safetensors");
    let state = first.state(&resumed).unwrap();
    assert!(state.get("exp_avg_sq.layoutlm.encoder.layer.0.attention.self.value.bias").is_some());
    let tensors = state.iter().map(|(name, a)| (name.as_str(), a.shape.as_slice(), a.data.as_slice()));
    write_tensor_file(&file, tensors, &[]).unwrap();
    let weights = resumed.weights().unwrap();
    drop((resumed, first));

    let mut resumed = LayoutLm::new(small_config(0.1), weights, &Device::Cpu).unwrap();
    let mut second = AdamW::new(AdamWConfig::default());
    second.load_state(&resumed, read_tensor_file(&file).unwrap(), 3).unwrap();
    for i in 3..6u64 {
        step(&mut resumed, &mut second, &batches[i as usize % 3], i);
    }
    same_bits(&model.weights().unwrap(), &resumed.weights().unwrap());
    same_bits(&optimizer.state(&model).unwrap(), &second.state(&resumed).unwrap());
}

#[test]
fn optimizer_state_of_another_model_is_refused() {
    let (mut model, mut optimizer) = (small_model(0.1), AdamW::new(AdamWConfig::default()));
    step(&mut model, &mut optimizer, &batch(40, &[9, 20]), 0);
    let state = || optimizer.state(&model).unwrap();
    let refused = |state: Weights| {
        AdamW::new(AdamWConfig::default()).load_state(&model, state, 1).unwrap_err().to_string()
    };
    let mut lacking = state();
    lacking.remove("exp_avg_sq.classifier.bias");
    assert_eq!(refused(lacking), "optimizer state: exp_avg_sq.classifier.bias is missing");
    let mut foreign = state();
    foreign.insert("exp_avg.pooler.weight", Default::default());
    assert!(refused(foreign).contains("exp_avg.pooler.weight belongs to no tensor"));
    let mut misshapen = state();
    misshapen.insert("exp_avg.classifier.bias", Default::default());
    assert!(refused(misshapen).contains("exp_avg.classifier.bias has shape [], not [3]"));
}
