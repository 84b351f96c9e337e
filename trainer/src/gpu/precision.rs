//! Number formats of activations and matrix operands.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ElementKind;

/// What the card computes in. Parameters, their moments, sums and losses are f32 in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// f32 throughout.
    #[default]
    Fp32,
    /// f32 in memory, products rounded to TF32 (10 bits) on the matrix units.
    Tf32,
    /// bfloat16; needs compute capability 8.0.
    Bf16,
    /// IEEE half precision with dynamic loss scaling, for cards without bfloat16.
    Fp16,
}

impl Precision {
    /// Format of activations in memory.
    pub(crate) fn element(self) -> ElementKind {
        match self {
            Self::Fp32 | Self::Tf32 => ElementKind::F32,
            Self::Bf16 => ElementKind::Bf16,
            Self::Fp16 => ElementKind::F16,
        }
    }

    /// Name as typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
            Self::Fp16 => "fp16",
        }
    }
}

impl FromStr for Precision {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Fp32, Self::Tf32, Self::Bf16, Self::Fp16]
            .into_iter()
            .find(|p| p.name() == name)
            .ok_or_else(|| "expected fp32, tf32, bf16 or fp16".into())
    }
}
