//! What a data set holds: labels by status, merged labels with their parts, lengths, and what a 512-token cut loses.

mod groups;
mod labels;
mod lengths;

pub use groups::slice_groups;
pub use labels::{LabelQuality, MergedLabel, label_quality, merged_labels};
pub use lengths::{CutLoss, Lengths, Spread};

use std::collections::BTreeSet;

use layoutlm_core::encoder::Encoder;
use layoutlm_core::encoding::Encoding;
use layoutlm_core::label::LabelScheme;
use layoutlm_core::receipt::Receipt;
use layoutlm_core::tokenize::{TokenizeError, Tokenizer};
use serde::{Deserialize, Serialize};

use crate::data::merchant_of;

/// A data set's figures in a run's folder.
pub const DATA_FILE: &str = "data.json";

/// Everything that is counted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DataStats {
    /// Receipts.
    pub receipts: usize,
    /// Receipts to train on; all where nothing is divided.
    pub train_receipts: usize,
    /// Receipts held out.
    pub validation_receipts: usize,
    /// Words.
    pub words: usize,
    /// Words with a label other than `O`, whatever its status.
    pub labelled_words: usize,
    /// Merchants that are known by name or label.
    pub merchants: usize,
    /// Merchants of the training receipts, as keys.
    pub train_merchants: BTreeSet<String>,
    /// By label and status, most VALID first.
    pub quality: Vec<LabelQuality>,
    /// VALID words per entity type after merging, with the labels they come from.
    pub merged: Vec<MergedLabel>,
    /// Lengths of words, receipts and windows.
    pub lengths: Lengths,
}

impl DataStats {
    /// Counts receipts; lengths in tokens are those of `tokenizer`.
    ///
    /// # Errors
    /// [`TokenizeError`] when the tokenizer fails on a text.
    pub fn of(
        receipts: &[&Receipt],
        scheme: &LabelScheme,
        tokenizer: &Tokenizer,
        encoding: &Encoding,
    ) -> Result<Self, TokenizeError> {
        let merchants: BTreeSet<String> = receipts.iter().filter_map(|r| merchant_of(r)).collect();
        let words = || receipts.iter().flat_map(|r| &r.words);
        Ok(Self {
            receipts: receipts.len(),
            train_receipts: receipts.len(),
            validation_receipts: 0,
            words: words().count(),
            labelled_words: words().filter(|w| w.label.as_deref().is_some_and(|l| l != "O")).count(),
            merchants: merchants.len(),
            train_merchants: merchants,
            quality: label_quality(words()),
            merged: merged_labels(words(), scheme),
            lengths: Lengths::of(receipts, tokenizer, encoding)?,
        })
    }

    /// Counts the receipts of a run.
    ///
    /// # Errors
    /// As [`DataStats::of`].
    pub fn of_run(
        encoder: &Encoder,
        train: &[Receipt],
        validation: &[Receipt],
    ) -> Result<Self, TokenizeError> {
        let all: Vec<&Receipt> = train.iter().chain(validation).collect();
        let encoding = encoder.encoding();
        let stats = Self::of(&all, &encoding.scheme, encoder.tokenizer(), encoding)?;
        Ok(Self {
            train_receipts: train.len(),
            validation_receipts: validation.len(),
            train_merchants: train.iter().filter_map(merchant_of).collect(),
            ..stats
        })
    }
}
