//! A small model with fixed pseudo-random weights, for unit tests.

use layoutlm_core::config::ModelConfig;
use layoutlm_trainer::weights::{Array, Weights};

pub(crate) const LABELS: usize = 3;

pub(crate) fn config() -> ModelConfig {
    let text = r#"{"model_type":"layoutlm","vocab_size":50,"hidden_size":16,"num_hidden_layers":2,
        "num_attention_heads":2,"intermediate_size":24,"max_2d_position_embeddings":1001}"#;
    ModelConfig::from_json(text).unwrap()
}

/// Every tensor of [`config`]'s model, values in −0.5..0.5.
pub(crate) fn weights() -> Weights {
    let c = config();
    let (h, inner) = (c.hidden_size, c.intermediate_size);
    let mut shapes = vec![("layoutlm.embeddings.LayerNorm.weight".to_string(), vec![h])];
    let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
    add("layoutlm.embeddings.LayerNorm.bias".into(), &[h]);
    for (table, rows) in [("word", c.vocab_size), ("position", c.max_position_embeddings), ("token_type", 2)]
    {
        add(format!("layoutlm.embeddings.{table}_embeddings.weight"), &[rows, h]);
    }
    for table in ["x", "y", "h", "w"] {
        let rows = c.max_2d_position_embeddings;
        add(format!("layoutlm.embeddings.{table}_position_embeddings.weight"), &[rows, h]);
    }
    for layer in 0..c.num_hidden_layers {
        let linear = [
            ("attention.self.query", h, h),
            ("attention.self.key", h, h),
            ("attention.self.value", h, h),
            ("attention.output.dense", h, h),
            ("intermediate.dense", inner, h),
            ("output.dense", h, inner),
        ];
        for (name, rows, columns) in linear {
            add(format!("layoutlm.encoder.layer.{layer}.{name}.weight"), &[rows, columns]);
            add(format!("layoutlm.encoder.layer.{layer}.{name}.bias"), &[rows]);
        }
        for norm in ["attention.output.LayerNorm", "output.LayerNorm"] {
            add(format!("layoutlm.encoder.layer.{layer}.{norm}.weight"), &[h]);
            add(format!("layoutlm.encoder.layer.{layer}.{norm}.bias"), &[h]);
        }
    }
    add("classifier.weight".into(), &[LABELS, h]);
    add("classifier.bias".into(), &[LABELS]);
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    shapes
        .into_iter()
        .map(|(name, shape)| {
            let data = (0..shape.iter().product()).map(|_| next()).collect();
            (name, Array { shape, data })
        })
        .collect()
}
