//! A small model, a batch and a loss that exercise every kernel: for the emulated card and for a real one.

use layoutlm_core::bbox::NormalizedBox;
use layoutlm_core::config::ModelConfig;
use layoutlm_core::label::LabelSet;
use layoutlm_core::window::Window;
use layoutlm_trainer::loss::{LossConfig, Normalization};
use layoutlm_trainer::model::PackedBatch;
use layoutlm_trainer::weights::Array;

/// `O`, DATE and TOTAL.
pub fn labels() -> LabelSet {
    LabelSet::from_entities(["DATE".to_string(), "TOTAL".to_string()]).unwrap()
}

/// Two layers with two heads of `head` each.
pub fn config(head: usize, dropout: f64) -> ModelConfig {
    let text = format!(
        r#"{{"model_type":"layoutlm","vocab_size":40,"hidden_size":{},"num_hidden_layers":2,"num_attention_heads":2,
        "intermediate_size":48,"max_position_embeddings":80,"max_2d_position_embeddings":1024,
        "initializer_range":0.3}}"#,
        2 * head
    );
    let mut config = ModelConfig::from_json(&text).unwrap();
    config.set_labels(&labels());
    (config.hidden_dropout_prob, config.attention_probs_dropout_prob) = (dropout, dropout);
    config
}

/// Made-up tokens and boxes.
pub fn window(length: usize, seed: u32) -> Window {
    let mut n = seed;
    let mut next = |limit: u32| {
        n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (n >> 8) % limit
    };
    let ids = (0..length).map(|_| next(40)).collect();
    let mut corner = || {
        let (a, b) = (next(1001) as u16, next(1001) as u16);
        (a.min(b), a.max(b))
    };
    let bbox = (0..length).map(|_| {
        let ((x0, x1), (y0, y1)) = (corner(), corner());
        NormalizedBox::new([x0, y0, x1, y1]).unwrap()
    });
    Window { word_indices: vec![], bbox: bbox.collect(), input_ids: ids, word_ids: vec![None; length] }
}

/// Windows of lengths below, at and above a tile, every token labelled: where some are not, the CPU engine numbers the rows
/// of its last layer, and so its dropout, otherwise.
pub fn batch() -> PackedBatch {
    batch_of(&[5, 32, 47, 1])
}

/// Windows of these lengths, every token labelled.
pub fn batch_of(lengths: &[usize]) -> PackedBatch {
    let windows: Vec<Window> = lengths.iter().zip(1..).map(|(&length, seed)| window(length, seed)).collect();
    let mut batch = PackedBatch::pack(&windows.iter().collect::<Vec<_>>());
    let set = labels();
    batch.labels = Some((0..batch.tokens()).map(|i| set.at(i % set.len())).collect());
    batch
}

fn norm(data: &[f32]) -> f64 {
    data.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

/// Norm of the difference as a share of the norm.
pub fn error(found: &Array, expected: &Array) -> f64 {
    assert_eq!(found.shape, expected.shape);
    let difference: Vec<f32> = found.data.iter().zip(&expected.data).map(|(a, b)| a - b).collect();
    norm(&difference) / norm(&expected.data).max(1e-12)
}

/// Smoothing and class weights.
pub fn loss() -> LossConfig {
    LossConfig {
        label_smoothing: 0.1,
        class_weights: Some(vec![0.5, 1.0, 2.0, 1.5, 0.7]),
        normalization: Normalization::Items,
    }
}
