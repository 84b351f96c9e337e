//! Reference files, and small models made up for a test.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use layoutlm_core::bbox::NormalizedBox;
use layoutlm_core::config::ModelConfig;
use layoutlm_core::label::LabelSet;
use layoutlm_core::window::Window;
use layoutlm_trainer::model::LayoutLm;
use layoutlm_trainer::weights::{Checkpoint, LoadOptions, Weights};
use serde_json::Value;

/// The folder of reference files, or a note that the test is skipped.
pub(crate) fn goldens(test: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let shared = std::env::var_os("LAYOUTLM_SHARED").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let goldens = shared.join("goldens");
    if !goldens.is_dir() {
        println!("{test} skipped: {} is not there (set LAYOUTLM_SHARED)", goldens.display());
        return None;
    }
    Some(goldens)
}

pub(crate) fn json(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub(crate) fn tensors(path: PathBuf) -> BTreeMap<String, Tensor> {
    candle_core::safetensors::load(path, &Device::Cpu).unwrap().into_iter().collect()
}

/// The reference model, with dropout off.
pub(crate) fn tiny(goldens: &std::path::Path) -> LayoutLm {
    let mut checkpoint = Checkpoint::load(&goldens.join("tiny"), LoadOptions::default()).unwrap();
    checkpoint.config.hidden_dropout_prob = 0.0;
    checkpoint.config.attention_probs_dropout_prob = 0.0;
    LayoutLm::new(checkpoint.config, checkpoint.weights, &Device::Cpu).unwrap()
}

/// A window without words, as the network sees it.
pub(crate) fn window(ids: &[u32], boxes: &[[u16; 4]]) -> Window {
    let bbox = boxes.iter().map(|&b| NormalizedBox::new(b).unwrap()).collect();
    Window { word_indices: vec![], input_ids: ids.to_vec(), bbox, word_ids: vec![None; ids.len()] }
}

pub(crate) fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, |m, d| if d.is_nan() { f32::NAN } else { m.max(d) })
}

/// Two layers, width 16, labels O, B-DATE, I-DATE.
pub(crate) fn small_config(dropout: f64) -> ModelConfig {
    let text = r#"{"model_type":"layoutlm","vocab_size":40,"hidden_size":16,"num_hidden_layers":2,
        "num_attention_heads":4,"intermediate_size":24,"max_position_embeddings":32,
        "max_2d_position_embeddings":1024,"initializer_range":0.2}"#;
    let mut config = ModelConfig::from_json(text).unwrap();
    config.set_labels(&labels());
    (config.hidden_dropout_prob, config.attention_probs_dropout_prob) = (dropout, dropout);
    config
}

pub(crate) fn labels() -> LabelSet {
    LabelSet::from_entities(["DATE".to_string()]).unwrap()
}

pub(crate) fn small_model(dropout: f64) -> LayoutLm {
    let config = small_config(dropout);
    let weights = Weights::random(&config, 3, 5);
    LayoutLm::new(config, weights, &Device::Cpu).unwrap()
}

/// Windows of the given lengths with ids and boxes that vary.
pub(crate) fn windows(lengths: &[usize], vocabulary: u32) -> Vec<Window> {
    let mut n = 1u32;
    let mut next = |limit: u32| {
        n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (n >> 8) % limit
    };
    let make = |&length: &usize| {
        let ids: Vec<u32> = (0..length).map(|_| 1 + next(vocabulary - 1)).collect();
        let corner = |next: &mut dyn FnMut(u32) -> u32| {
            let (a, b) = (next(1001) as u16, next(1001) as u16);
            (a.min(b), a.max(b))
        };
        let boxes: Vec<[u16; 4]> = (0..length)
            .map(|_| {
                let ((x0, x1), (y0, y1)) = (corner(&mut next), corner(&mut next));
                [x0, y0, x1, y1]
            })
            .collect();
        window(&ids, &boxes)
    };
    lengths.iter().map(make).collect()
}
