//! What a run computes on, and in which number format.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::gpu::Precision;

/// What a run computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Device {
    /// A card where there is a usable one, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The card of this number; without one, the process's own among those of its machine.
    Cuda(Option<usize>),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(None) => f.write_str("cuda"),
            Self::Cuda(Some(index)) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.strip_prefix("cuda:")?.parse().ok();
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(None)),
            _ => number(text)
                .map(|index| Self::Cuda(Some(index)))
                .ok_or_else(|| "expected auto, cpu, cuda, or cuda:n with the number of a card".into()),
        }
    }
}

/// In which number format activations and products are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum PrecisionChoice {
    /// bf16 on a card, fp32 on the processor.
    #[default]
    Auto,
    /// This one.
    Given(Precision),
}

impl PrecisionChoice {
    /// The format on a card.
    pub fn on_card(self) -> Precision {
        match self {
            Self::Auto => Precision::Bf16,
            Self::Given(precision) => precision,
        }
    }
}

impl fmt::Display for PrecisionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Given(precision) => precision.name(),
        })
    }
}

impl FromStr for PrecisionChoice {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => text.parse().map(Self::Given).map_err(|_| "expected auto, fp32, tf32, bf16 or fp16".into()),
        }
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
    };
}
as_text!(Device);
as_text!(PrecisionChoice);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_precisions_read_as_they_are_written() {
        for text in ["auto", "cpu", "cuda", "cuda:3"] {
            assert_eq!(text.parse::<Device>().unwrap().to_string(), text);
        }
        for text in ["auto", "fp32", "tf32", "bf16", "fp16"] {
            assert_eq!(text.parse::<PrecisionChoice>().unwrap().to_string(), text);
        }
        for text in ["gpu", "cuda:", "cuda:-1", "cuda:x", ""] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }
}
