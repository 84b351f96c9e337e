//! The forms a graph can take: which operators it is made of and in what precision it computes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use layoutlm_core::config::ModelConfig;
use serde::{Deserialize, Serialize};

/// A graph a bundle can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VariantKind {
    /// Operators of the ONNX standard only (opset 17): loads in ONNX Runtime 1.20 and newer and in other runtimes.
    Fp32,
    /// f32 with ONNX Runtime's own attention operator.
    Fused,
    /// int8 products with float attention, for ONNX Runtime.
    Int8,
}

impl VariantKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fp32, Self::Fused, Self::Int8];

    /// Its name in manifests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fused => "fused",
            Self::Int8 => "int8",
        }
    }
}

impl fmt::Display for VariantKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A variant name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown variant {0:?}: expected fp32, fused or int8")]
pub struct UnknownVariant(pub String);

impl FromStr for VariantKind {
    type Err = UnknownVariant;
    fn from_str(name: &str) -> Result<Self, UnknownVariant> {
        Self::ALL.into_iter().find(|v| v.name() == name).ok_or_else(|| UnknownVariant(name.into()))
    }
}

/// One of the products of a layer that int8 can take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Product {
    /// Query, key and value: they share one quantised input.
    Qkv,
    /// Attention output.
    AttentionOutput,
    /// First feed-forward product.
    Intermediate,
    /// Second feed-forward product.
    Output,
}

impl Product {
    /// All of them, in the order they are computed.
    pub const ALL: [Self; 4] = [Self::Qkv, Self::AttentionOutput, Self::Intermediate, Self::Output];

    /// Its name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qkv => "qkv",
            Self::AttentionOutput => "attention_output",
            Self::Intermediate => "intermediate",
            Self::Output => "output",
        }
    }

    /// Multiply-adds per token.
    pub(crate) fn multiply_adds(self, config: &ModelConfig) -> f64 {
        let (hidden, inner) = (config.hidden_size as f64, config.intermediate_size as f64);
        match self {
            Self::Qkv => 3.0 * hidden * hidden,
            Self::AttentionOutput => hidden * hidden,
            Self::Intermediate | Self::Output => hidden * inner,
        }
    }
}

/// How embedding tables are stored; sums are always in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableStorage {
    /// f32.
    Float,
    /// f16: half the size, logits move by about 1e-2 at most.
    Half,
    /// int8 with one scale a row: a quarter of the size.
    Int8,
}

/// What a graph is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signature {
    /// `input_ids`, `bbox`, `attention_mask`, `token_type_ids`: batches whose windows differ in length.
    Padded,
    /// `input_ids` and `bbox` alone: one window, or several of one length; every token counts and is of type 0. The
    /// attention operator is faster when it gets no mask.
    Unpadded,
}

/// Everything that decides what a graph looks like, given the model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Form {
    /// Version of the standard operators.
    pub(crate) opset: i64,
    /// Version of the file format.
    pub(crate) ir_version: i64,
    /// Whether ONNX Runtime's own operators may be used.
    pub(crate) microsoft: bool,
    /// What it is fed.
    pub(crate) signature: Signature,
    /// Products computed in int8: (layer, product). Empty in float graphs.
    pub(crate) int8: BTreeSet<(usize, Product)>,
    /// What int8 products divide their input by, channel by channel, to tame outliers; their weights are multiplied
    /// by the same. Products without an entry take their input as it is.
    pub(crate) smoothing: Smoothing,
    /// How embedding tables are stored.
    pub(crate) tables: TableStorage,
}

/// Factors by (layer, product), one per input channel.
pub(crate) type Smoothing = BTreeMap<(usize, Product), Vec<f32>>;

impl Form {
    /// The usual form of a variant of a model with so many layers. `signature` is for graphs of ONNX Runtime's own
    /// operators; fp32 always takes padded batches.
    pub(crate) fn of(kind: VariantKind, layers: usize, signature: Signature) -> Self {
        let fp32 = Self {
            opset: 17,
            ir_version: 8,
            microsoft: false,
            signature: Signature::Padded,
            int8: BTreeSet::new(),
            smoothing: Smoothing::new(),
            tables: TableStorage::Float,
        };
        // Opset 20 brings Gelu as one operator.
        let fused = Self { opset: 20, ir_version: 9, microsoft: true, signature, ..fp32.clone() };
        match kind {
            VariantKind::Fp32 => fp32,
            VariantKind::Fused => fused,
            VariantKind::Int8 => {
                let all = (0..layers).flat_map(|layer| Product::ALL.map(|product| (layer, product)));
                Self { int8: all.collect(), tables: TableStorage::Half, ..fused }
            }
        }
    }
}
