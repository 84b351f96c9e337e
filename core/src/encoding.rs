//! `Encoding`: everything that decides which numbers reach the network, as one value with a fingerprint.
//!
//! The trainer writes it, the exporter copies it, the server recomputes its fingerprint and refuses to be ready on a
//! mismatch. It holds no tokenizer, only the hash of one; [`crate::encoder::Encoder`] brings the two together.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bbox::{BoxRule, NormalizedBox};
use crate::label::{LabelScheme, LabelSet};
use crate::reading_order::ReadingOrder;
use crate::window::{InvalidWindowRule, WindowRule};

/// Bytes as lower-case hex of their SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// How class probabilities become tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoding {
    /// The most probable class of each word by itself; the lowest id wins a tie.
    #[default]
    Argmax,
    /// The most probable tag sequence in which no `I-X` follows anything but `B-X` or `I-X`.
    Bio,
}

/// What one window is cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// The whole receipt in reading order.
    #[default]
    Receipt,
    /// One OCR line, read by word id: entities end with it, and neighbours of one merged type are one entity.
    Line,
}

impl Granularity {
    /// True for [`Granularity::Receipt`].
    fn is_receipt(&self) -> bool {
        *self == Self::Receipt
    }
}

/// Which sub-token stands for a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subtoken {
    /// The first one.
    #[default]
    First,
}

/// What happens to a word in several windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Its class probabilities are averaged.
    #[default]
    Mean,
}

/// Everything between a receipt and the network's input, and between its output and the labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoding {
    /// SHA-256 of the canonical `tokenizer.json`, hex.
    pub tokenizer_sha256: String,
    /// Whether the tokenizer lower-cases; stated for people, decided by the tokenizer.
    pub lower_case: bool,
    /// How raw boxes are scaled.
    pub box_rule: BoxRule,
    /// Box of `[CLS]`, `[SEP]` and `[PAD]`.
    pub special_token_box: NormalizedBox,
    /// Order in which words are read.
    pub reading_order: ReadingOrder,
    /// How receipts are cut.
    pub window: WindowRule,
    /// What windows are cut from. Left out of the file where it is the receipt, so that fingerprints made before
    /// there was a choice still hold.
    #[serde(default, skip_serializing_if = "Granularity::is_receipt")]
    pub granularity: Granularity,
    /// Which sub-token carries a word's label.
    pub subtoken: Subtoken,
    /// How overlapping windows are merged.
    pub overlap: Overlap,
    /// Tags in class-id order.
    pub labels: LabelSet,
    /// Merges and allow list from source labels to entity types.
    pub scheme: LabelScheme,
    /// How probabilities become tags.
    pub decoding: Decoding,
    /// Logits are divided by it before the softmax; 1 unless calibrated.
    pub temperature: f32,
}

/// An encoding that can't be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodingError {
    /// The tokenizer is not the one the encoding was made with.
    #[error(
        "the tokenizer's sha256 is {found}, but the encoding was made with {expected}: use its tokenizer.json"
    )]
    Tokenizer {
        /// Hash in the encoding.
        expected: String,
        /// Hash of the tokenizer given.
        found: String,
    },
    /// The window rule would lose words.
    #[error(transparent)]
    Window(#[from] InvalidWindowRule),
    /// Not a positive finite number.
    #[error("temperature {0} must be a finite number above 0")]
    Temperature(f32),
}

impl Encoding {
    /// The default rules for a tokenizer, its labels and their scheme.
    pub fn new(tokenizer_sha256: String, lower_case: bool, labels: LabelSet, scheme: LabelScheme) -> Self {
        Self {
            tokenizer_sha256,
            lower_case,
            box_rule: BoxRule::default(),
            special_token_box: NormalizedBox::ZERO,
            reading_order: ReadingOrder::default(),
            window: WindowRule::default(),
            granularity: Granularity::default(),
            subtoken: Subtoken::default(),
            overlap: Overlap::default(),
            labels,
            scheme,
            decoding: Decoding::default(),
            temperature: 1.0,
        }
    }

    /// # Errors
    /// [`EncodingError`] for a window rule or temperature no encoding can have.
    pub fn check(&self) -> Result<(), EncodingError> {
        self.window.check()?;
        if self.temperature.is_finite() && self.temperature > 0.0 {
            Ok(())
        } else {
            Err(EncodingError::Temperature(self.temperature))
        }
    }

    /// SHA-256 over the JSON form, hex. Two encodings with the same fingerprint feed a network the same numbers.
    pub fn fingerprint(&self) -> String {
        // Maps inside are ordered and floats print shortest, so the text is canonical.
        let text = serde_json::to_vec(self).unwrap_or_default();
        sha256_hex(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding() -> Encoding {
        let labels = LabelSet::from_entities(["DATE".to_string()]).unwrap();
        Encoding::new("00".into(), true, labels, LabelScheme::default())
    }

    #[test]
    fn every_field_is_in_the_fingerprint() {
        let base = encoding().fingerprint();
        let mut changed = Vec::new();
        let mut with = |change: fn(&mut Encoding)| {
            let mut e = encoding();
            change(&mut e);
            changed.push(e.fingerprint());
        };
        with(|e| e.tokenizer_sha256 = "01".into());
        with(|e| e.lower_case = false);
        with(|e| e.box_rule.scale = crate::bbox::BoxScale::Extents);
        with(|e| e.box_rule.origin = crate::bbox::Origin::BottomLeft);
        with(|e| e.reading_order = ReadingOrder::Given);
        with(|e| e.window.stride = 149);
        with(|e| e.granularity = Granularity::Line);
        with(|e| e.labels = LabelSet::from_entities(["TIME".to_string()]).unwrap());
        with(|e| e.decoding = Decoding::Bio);
        with(|e| e.temperature = 1.5);
        changed.push(base);
        let distinct: std::collections::BTreeSet<_> = changed.iter().collect();
        assert_eq!(distinct.len(), changed.len());
    }

    #[test]
    fn an_encoding_survives_json() {
        let e = encoding();
        let back: Encoding = serde_json::from_str(&serde_json::to_string(&e).unwrap()).unwrap();
        assert_eq!(back.fingerprint(), e.fingerprint());
    }
}
