//! What was proved of a graph: its answers beside the trained model's, under which limits, and how it was quantised.

use serde::{Deserialize, Serialize};

/// The parity proof of one variant: its logits and labels beside candle's in fp32 on the same windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Where the windows came from: a data file, `validation` or `probe`.
    pub data: String,
    /// Receipts compared.
    pub receipts: usize,
    /// Windows compared.
    pub windows: usize,
    /// Words compared.
    pub words: usize,
    /// Largest |Δlogit| over first sub-tokens.
    pub max_abs_logit_diff: f64,
    /// Mean |Δlogit| over first sub-tokens.
    pub mean_abs_logit_diff: f64,
    /// Words whose label differs.
    pub label_flips: usize,
    /// The same per 10,000 words.
    #[serde(default)]
    pub flips_per_10k_words: f64,
    /// Micro F1 of the candle model, where the receipts are labelled.
    pub f1_reference: Option<f64>,
    /// Micro F1 of the variant, where the receipts are labelled.
    pub f1: Option<f64>,
    /// The limits it was held to.
    pub limits: Limits,
    /// Milliseconds per window of the candle model and of the variant on the machine that exported, if measured.
    pub latency_ms: Option<Latency>,
}

/// What a certificate may not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest allowed |Δlogit|; `None` is no limit (int8).
    pub max_abs_logit_diff: Option<f64>,
    /// Largest allowed share of flipped labels, 0..1.
    pub max_flip_rate: f64,
    /// Largest allowed loss of F1.
    pub max_f1_drop: f64,
}

impl Limits {
    /// fp32 and fused graphs: no flip, |Δlogit| at most 1e-3.
    pub const EXACT: Self = Self { max_abs_logit_diff: Some(1e-3), max_flip_rate: 0.0, max_f1_drop: 0.0 };
    /// int8 graphs: F1 drop at most 0.005, flips at most 1 %.
    pub const INT8: Self = Self { max_abs_logit_diff: None, max_flip_rate: 0.01, max_f1_drop: 0.005 };
}

/// Time per window of both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Candle, milliseconds per window.
    pub reference: f64,
    /// The variant, milliseconds per window.
    pub variant: f64,
    /// Threads used by both.
    pub threads: usize,
    /// The processor's name.
    pub cpu: String,
}

impl Certificate {
    /// Flipped labels per 10,000 words.
    pub fn per_10k(flips: usize, words: usize) -> f64 {
        flips as f64 * 1e4 / words.max(1) as f64
    }

    /// Which limit was broken, as a sentence; `None` when all hold.
    pub fn broken_limit(&self) -> Option<String> {
        // Written so that a NaN breaks the limit.
        let within = |value: f64, limit: f64| value <= limit;
        if let Some(limit) = self.limits.max_abs_logit_diff.filter(|l| !within(self.max_abs_logit_diff, *l)) {
            return Some(format!("max |Δlogit| {:.3e} is above {limit:.3e}", self.max_abs_logit_diff));
        }
        let rate = self.label_flips as f64 / self.words.max(1) as f64;
        if !within(rate, self.limits.max_flip_rate) {
            let (flips, words) = (self.label_flips, self.words);
            return Some(format!(
                "{flips} of {words} labels flip, above {:.2} %",
                self.limits.max_flip_rate * 100.0
            ));
        }
        if let (Some(reference), Some(f1)) = (self.f1_reference, self.f1)
            && !within(reference - f1, self.limits.max_f1_drop)
        {
            return Some(format!(
                "F1 falls from {reference:.4} to {f1:.4}, more than {}",
                self.limits.max_f1_drop
            ));
        }
        None
    }
}

/// One of the products of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerProduct {
    /// Layer, from 0.
    pub layer: usize,
    /// `qkv`, `attention_output`, `intermediate` or `output`.
    pub product: String,
}

/// How an int8 graph was quantised, and why so.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Quantization {
    /// Products whose outlier channels were moved into the weights.
    pub smoothed: Vec<LayerProduct>,
    /// Products left in float, as with them in int8 labels changed too often.
    pub float: Vec<LayerProduct>,
    /// What each product costs in exactness, worst first; empty when all of them could be int8.
    pub sensitivity: Vec<Sensitivity>,
    /// The graph with all products in int8, when it was not good enough.
    pub all_int8: Option<AllInt8>,
}

/// What one product costs in exactness.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// Which one.
    #[serde(flatten)]
    pub product: LayerProduct,
    /// Mean |Δlogit| with this one in int8 and all others in float.
    pub mean_abs_logit_diff: f64,
    /// Multiply-adds of this product per token, in millions: what it costs.
    pub million_multiply_adds: f64,
}

/// The first attempt at an int8 graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AllInt8 {
    /// Which limit it broke.
    pub reason: String,
    /// Its flipped labels per 10,000 words.
    pub flips_per_10k_words: f64,
    /// Its mean |Δlogit|.
    pub mean_abs_logit_diff: f64,
    /// Its median milliseconds a window.
    pub latency_ms: f64,
}
