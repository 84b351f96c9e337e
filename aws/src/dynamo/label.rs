//! RECEIPT_WORD_LABEL: one label of one word, with where its validation stands.

use aws_sdk_dynamodb::types::AttributeValue;
use layoutlm_core::receipt::ValidationStatus;

use super::fields::{Fields, Item, ItemError};
use super::keys::{ReceiptKey, SortKey, WordKey, image_id};

/// Width of a label in its index key, padded with `_`.
const GSI1_WIDTH: usize = 40;

/// Where a label's validation stands.
pub type LabelStatus = ValidationStatus;

/// A label of a word. A word has one such row per label name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The word.
    pub word: WordKey,
    /// Its name in upper case, without prefix.
    pub label: String,
    /// Where validation stands.
    pub status: LabelStatus,
    /// Why the label was given.
    pub reasoning: Option<String>,
    /// When it was added.
    pub timestamp_added: String,
    /// Label it was consolidated from.
    pub consolidated_from: Option<String>,
    /// Who proposed it.
    pub proposed_by: Option<String>,
}

impl Label {
    /// Its `TYPE`.
    pub const TYPE: &'static str = "RECEIPT_WORD_LABEL";

    /// # Errors
    /// [`ItemError`] with the field that can't be read.
    pub fn read(item: &Item) -> Result<Self, ItemError> {
        let fields = Fields::of(item);
        let sk = SortKey::of(fields, &["RECEIPT", "LINE", "WORD", "LABEL"])?;
        let receipt = ReceiptKey { image_id: image_id(fields)?.into(), receipt_id: sk.number(0)? };
        let label = sk.text(3).to_uppercase();
        if label.is_empty() || label.starts_with("B-") || label.starts_with("I-") {
            return Err(fields.error("SK", "expected a label name without prefix after LABEL#"));
        }
        let status = match fields.optional_text("validation_status")? {
            None => LabelStatus::None,
            Some(text) => status_from_name(text)
                .ok_or_else(|| fields.error("validation_status", format!("{text:?} is no status")))?,
        };
        Ok(Self {
            word: WordKey { receipt, line_id: sk.number(1)?, word_id: sk.number(2)? },
            label,
            status,
            reasoning: fields.optional_string("reasoning")?,
            timestamp_added: fields.optional_text("timestamp_added")?.unwrap_or_default().into(),
            consolidated_from: fields.optional_string("label_consolidated_from")?,
            proposed_by: fields.optional_string("label_proposed_by")?,
        })
    }

    /// Sort key.
    pub fn sk(&self) -> String {
        format!("{}#LABEL#{}", self.word.sk(), self.label)
    }

    /// The whole item, with the keys of all its indexes.
    pub fn item(&self) -> Item {
        let text = |t: String| AttributeValue::S(t);
        let optional = |t: &Option<String>| t.clone().map_or(AttributeValue::Null(true), AttributeValue::S);
        let (word, label) = (&self.word, &self.label);
        let path = word.path();
        let status = status_name(self.status);
        let gsi1 = format!("LABEL#{label}");
        let gsi4 = format!("4_LABEL#{:05}#{:05}#{label}", word.line_id, word.word_id);
        [
            ("PK", text(word.receipt.pk())),
            ("SK", text(self.sk())),
            ("GSI1PK", text(format!("{gsi1:_<GSI1_WIDTH$}"))),
            ("GSI1SK", text(path.clone())),
            ("GSI2PK", text("RECEIPT".into())),
            ("GSI2SK", text(path.clone())),
            ("GSI3PK", text(format!("VALIDATION_STATUS#{status}"))),
            ("GSI3SK", text(format!("{path}#LABEL#{label}"))),
            ("GSI4PK", text(word.receipt.index())),
            ("GSI4SK", text(gsi4)),
            ("TYPE", text(Self::TYPE.into())),
            ("reasoning", optional(&self.reasoning)),
            ("timestamp_added", text(self.timestamp_added.clone())),
            ("validation_status", text(status.into())),
            ("label_consolidated_from", optional(&self.consolidated_from)),
            ("label_proposed_by", optional(&self.proposed_by)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_string(), value))
        .collect()
    }
}

/// The status as the table spells it.
pub(crate) fn status_name(status: LabelStatus) -> &'static str {
    match status {
        LabelStatus::Valid => "VALID",
        LabelStatus::Invalid => "INVALID",
        LabelStatus::NeedsReview => "NEEDS_REVIEW",
        LabelStatus::Pending => "PENDING",
        LabelStatus::None => "NONE",
    }
}

fn status_from_name(name: &str) -> Option<LabelStatus> {
    use ValidationStatus::{Invalid, NeedsReview, None, Pending, Valid};
    [Valid, Invalid, NeedsReview, Pending, None].into_iter().find(|s| status_name(*s) == name)
}
