//! Which tensors the model has, with their shapes, roles and start values.

use layoutlm_core::config::ModelConfig;

/// How a tensor starts when no checkpoint gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fresh {
    /// Normal with the configuration's `initializer_range`.
    Normal,
    /// Normal, with a row of zeros for `[PAD]`.
    WordTable,
    /// 1: scales of layer normalisation.
    Ones,
    /// 0: biases.
    Zeros,
}

/// One tensor of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorSpec {
    /// Hugging Face name.
    pub(crate) name: String,
    /// Row-major shape; weights of linear layers are `[out, in]`.
    pub(crate) shape: Vec<usize>,
    /// Start value.
    pub(crate) fresh: Fresh,
}

/// Tables a BERT checkpoint does not have.
pub(crate) const TABLES_2D: [&str; 4] = [
    "layoutlm.embeddings.h_position_embeddings.weight",
    "layoutlm.embeddings.w_position_embeddings.weight",
    "layoutlm.embeddings.x_position_embeddings.weight",
    "layoutlm.embeddings.y_position_embeddings.weight",
];

/// Every trainable tensor of a model with `labels` classes. The pooler is not among them.
pub(crate) fn specs(config: &ModelConfig, labels: usize) -> Vec<TensorSpec> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let mut list = Vec::new();
    let mut add = |name: String, shape: Vec<usize>, fresh| list.push(TensorSpec { name, shape, fresh });
    let table = |name: &str| format!("layoutlm.embeddings.{name}_embeddings.weight");
    add(table("word"), vec![config.vocab_size, hidden], Fresh::WordTable);
    add(table("position"), vec![config.max_position_embeddings, hidden], Fresh::Normal);
    add(table("token_type"), vec![config.type_vocab_size, hidden], Fresh::Normal);
    for name in TABLES_2D {
        add(name.to_string(), vec![config.max_2d_position_embeddings, hidden], Fresh::Normal);
    }
    let mut module = |name: String, shape: Vec<usize>, norm: bool| {
        let (rows, fresh) =
            (shape.first().copied().unwrap_or(0), if norm { Fresh::Ones } else { Fresh::Normal });
        add(format!("{name}.weight"), shape, fresh);
        add(format!("{name}.bias"), vec![rows], Fresh::Zeros);
    };
    module("layoutlm.embeddings.LayerNorm".into(), vec![hidden], true);
    for i in 0..config.num_hidden_layers {
        let layer = |part: &str| format!("layoutlm.encoder.layer.{i}.{part}");
        for part in ["query", "key", "value"] {
            module(layer(&format!("attention.self.{part}")), vec![hidden, hidden], false);
        }
        module(layer("attention.output.dense"), vec![hidden, hidden], false);
        module(layer("attention.output.LayerNorm"), vec![hidden], true);
        module(layer("intermediate.dense"), vec![inner, hidden], false);
        module(layer("output.dense"), vec![hidden, inner], false);
        module(layer("output.LayerNorm"), vec![hidden], true);
    }
    module("classifier".into(), vec![labels, hidden], false);
    list
}

/// The Hugging Face name of a tensor in a file of any age: other prefixes, `gamma` and `beta`, wrapped models.
pub(crate) fn canonical_name(name: &str) -> String {
    let name = name.strip_prefix("module.").unwrap_or(name);
    let name = match name.strip_suffix("LayerNorm.gamma") {
        Some(stem) => format!("{stem}LayerNorm.weight"),
        None => match name.strip_suffix("LayerNorm.beta") {
            Some(stem) => format!("{stem}LayerNorm.bias"),
            None => name.to_string(),
        },
    };
    if let Some(rest) = name.strip_prefix("bert.") {
        return format!("layoutlm.{rest}");
    }
    match name.split('.').next() {
        Some("embeddings" | "encoder" | "pooler") => format!("layoutlm.{name}"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_age_become_one() {
        let expected = "layoutlm.embeddings.LayerNorm.weight";
        for name in [
            "layoutlm.embeddings.LayerNorm.weight",
            "layoutlm.embeddings.LayerNorm.gamma",
            "bert.embeddings.LayerNorm.gamma",
            "embeddings.LayerNorm.weight",
            "module.bert.embeddings.LayerNorm.weight",
        ] {
            assert_eq!(canonical_name(name), expected, "{name}");
        }
        assert_eq!(canonical_name("classifier.bias"), "classifier.bias");
        assert_eq!(
            canonical_name("encoder.layer.0.output.LayerNorm.beta"),
            "layoutlm.encoder.layer.0.output.LayerNorm.bias"
        );
    }
}
