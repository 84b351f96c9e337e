//! The model's dimensions as a Hugging Face `config.json` states them.
//!
//! Reads the files that the transformers library writes and writes files that it reads. Says nothing about weights.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::label::LabelSet;

/// Why a `config.json` was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not JSON, or a field of the wrong type.
    #[error("config.json: {0}")]
    Json(#[from] serde_json::Error),
    /// A value no LayoutLM can have.
    #[error("config.json: {field} = {value}: {reason}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// The value found.
        value: String,
        /// What a valid value looks like.
        reason: &'static str,
    },
}

/// The dimensions and dropout rates of a LayoutLM (or BERT) model.
///
/// Source: LayoutLM (Xu et al. 2020), §3.1; field names as in `transformers.LayoutLMConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// `layoutlm`, or `bert` for a starting point without 2-D position tables.
    #[serde(default = "layoutlm")]
    pub model_type: String,
    /// `["LayoutLMForTokenClassification"]` in what this project writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// Rows of the word-embedding table.
    pub vocab_size: usize,
    /// Width of every hidden state.
    pub hidden_size: usize,
    /// Number of encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads per layer; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width between the two feed-forward products.
    pub intermediate_size: usize,
    /// Activation of the feed-forward layers; only `gelu` (erf form) is supported.
    #[serde(default = "gelu")]
    pub hidden_act: String,
    /// Rows of the 1-D position table: the longest window in tokens.
    #[serde(default = "n512")]
    pub max_position_embeddings: usize,
    /// Rows of each 2-D table (x, y, h, w); at least 1001.
    #[serde(default = "n1024")]
    pub max_2d_position_embeddings: usize,
    /// Rows of the token-type table.
    #[serde(default = "n2")]
    pub type_vocab_size: usize,
    /// ε of every layer normalisation.
    #[serde(default = "eps")]
    pub layer_norm_eps: f64,
    /// Dropout of embeddings, attention output, feed-forward output and classifier input.
    #[serde(default = "tenth")]
    pub hidden_dropout_prob: f64,
    /// Dropout of attention probabilities.
    #[serde(default = "tenth")]
    pub attention_probs_dropout_prob: f64,
    /// Standard deviation of fresh weights.
    #[serde(default = "init")]
    pub initializer_range: f64,
    /// Id of `[PAD]`.
    #[serde(default)]
    pub pad_token_id: u32,
    /// Tag of each class id, keyed by the id in decimal. Empty in a plain encoder checkpoint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub id2label: BTreeMap<String, String>,
    /// Class id of each tag.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub label2id: BTreeMap<String, u32>,
}

fn layoutlm() -> String {
    "layoutlm".into()
}
fn gelu() -> String {
    "gelu".into()
}
fn n512() -> usize {
    512
}
fn n1024() -> usize {
    1024
}
fn n2() -> usize {
    2
}
fn eps() -> f64 {
    1e-12
}
fn tenth() -> f64 {
    0.1
}
fn init() -> f64 {
    0.02
}

impl ModelConfig {
    /// Parses and checks a `config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] names the field and what it should hold.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        let config: Self = serde_json::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    /// Sets `id2label` and `label2id` from `labels`, in id order.
    pub fn set_labels(&mut self, labels: &LabelSet) {
        let tags = || labels.tags().iter().enumerate();
        self.id2label = tags().map(|(i, t)| (i.to_string(), t.clone())).collect();
        self.label2id = tags().map(|(i, t)| (t.clone(), i as u32)).collect();
    }

    /// The tags in id order, or none for a checkpoint without a classification head.
    ///
    /// # Errors
    /// [`ConfigError::Field`] when ids are not 0..n.
    pub fn labels(&self) -> Result<Option<Vec<String>>, ConfigError> {
        if self.id2label.is_empty() {
            return Ok(None);
        }
        (0..self.id2label.len())
            .map(|i| {
                self.id2label.get(&i.to_string()).cloned().ok_or_else(|| ConfigError::Field {
                    field: "id2label",
                    value: format!("{:?}", self.id2label),
                    reason: "ids must run from 0 without a gap",
                })
            })
            .collect::<Result<Vec<_>, _>>()
            .map(Some)
    }

    /// Width of one attention head.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    fn check(&self) -> Result<(), ConfigError> {
        let fail = |field, value: String, reason| Err(ConfigError::Field { field, value, reason });
        let positive = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("type_vocab_size", self.type_vocab_size),
        ];
        for (field, value) in positive {
            if value == 0 || value > 1 << 24 {
                return fail(field, value.to_string(), "must be between 1 and 2^24");
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return fail(
                "hidden_size",
                self.hidden_size.to_string(),
                "must be a multiple of num_attention_heads",
            );
        }
        if !(3..=1 << 20).contains(&self.max_position_embeddings) {
            return fail(
                "max_position_embeddings",
                self.max_position_embeddings.to_string(),
                "must be at least 3",
            );
        }
        if !(1001..=1 << 20).contains(&self.max_2d_position_embeddings) {
            let value = self.max_2d_position_embeddings.to_string();
            return fail("max_2d_position_embeddings", value, "boxes run to 1000, so at least 1001 rows");
        }
        if self.hidden_act != "gelu" {
            return fail("hidden_act", self.hidden_act.clone(), "only `gelu` is supported");
        }
        for (field, p) in [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
        ] {
            if !(0.0..1.0).contains(&p) {
                return fail(field, p.to_string(), "must be at least 0 and below 1");
            }
        }
        if !matches!(self.model_type.as_str(), "layoutlm" | "bert") {
            return fail(
                "model_type",
                self.model_type.clone(),
                "only `layoutlm` (v1) and `bert` are supported",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BERT: &str = r#"{"model_type":"bert","vocab_size":30,"hidden_size":8,"num_hidden_layers":1,
        "num_attention_heads":2,"intermediate_size":16}"#;

    #[test]
    fn a_bert_config_gets_layoutlm_defaults() {
        let c = ModelConfig::from_json(BERT).unwrap();
        assert_eq!((c.max_2d_position_embeddings, c.max_position_embeddings), (1024, 512));
        assert_eq!(c.labels().unwrap(), None);
    }

    #[test]
    fn heads_that_do_not_divide_the_width_are_refused() {
        let bad = BERT.replace("\"num_attention_heads\":2", "\"num_attention_heads\":3");
        let text = ModelConfig::from_json(&bad).unwrap_err().to_string();
        assert!(text.contains("hidden_size = 8"), "{text}");
    }

    #[test]
    fn labels_come_in_id_order() {
        let mut c = ModelConfig::from_json(BERT).unwrap();
        c.set_labels(&LabelSet::from_entities(["DATE", "AMOUNT"].map(String::from)).unwrap());
        let tags = c.labels().unwrap().unwrap();
        assert_eq!(tags.first().map(String::as_str), Some("O"));
        assert_eq!(tags.len(), 5);
    }
}
