//! From a receipt to its labels, by whatever runs the network.
//!
//! Evaluation, the exporter's proof, `predict` and the server all come through here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::arithmetic::{self, Arithmetic};
use crate::classifier::{ClassifierError, TokenClassifier};
use crate::decode::{decode, softmax};
use crate::encoder::{EncodedReceipt, Encoder};
use crate::encoding::Granularity;
use crate::entity::{self, Entity};
use crate::label::{LabelId, Tag};
use crate::line_items::{self, LineItem};
use crate::receipt::Receipt;
use crate::tokenize::TokenizeError;
use crate::window::Window;

/// Why a receipt could not be labelled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    /// The engine failed.
    #[error("the model failed on receipt {receipt}: {source}")]
    Classifier {
        /// Its key.
        receipt: String,
        /// What the engine said.
        source: ClassifierError,
    },
    /// The engine's answer has the wrong size.
    #[error("the model gave {found} numbers for window {window}, expected {expected} (tokens × labels)")]
    Shape {
        /// Position of the window in the call.
        window: usize,
        /// tokens × labels.
        expected: usize,
        /// Length of the answer.
        found: usize,
    },
}

/// The label of one word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WordPrediction {
    /// As in the receipt.
    pub line_id: u32,
    /// As in the receipt.
    pub word_id: u32,
    /// As in the receipt.
    pub text: String,
    /// BIO tag.
    pub label: String,
    /// Entity type of the tag; `null` for `O`.
    pub entity: Option<String>,
    /// Probability of the tag, mean over windows; 0 for a word without tokens.
    pub confidence: f32,
    /// True when the word has no token, so that the network never saw it; its label is O.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_tokens: bool,
    /// Probability of every class in id order, on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probabilities: Option<Vec<f32>>,
}

/// The labels of one receipt; `words` in the order given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceiptPrediction {
    /// As in the receipt.
    pub image_id: String,
    /// As in the receipt.
    pub receipt_id: u32,
    /// One per word, in input order.
    pub words: Vec<WordPrediction>,
    /// Runs of words of one type, in reading order.
    pub entities: Vec<Entity>,
    /// What was bought, on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_items: Option<Vec<LineItem>>,
    /// Whether the items add up to the total; comes with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arithmetic: Option<Arithmetic>,
}

impl ReceiptPrediction {
    /// Fills in line items and their arithmetic from all entities; `receipt` is the one this labels.
    pub fn itemize(&mut self, receipt: &Receipt) {
        let sale = line_items::group(receipt, self);
        self.arithmetic = Some(arithmetic::check(&sale));
        self.line_items = Some(sale.items);
    }
}

/// Class scores of a receipt's words in reading order.
#[derive(Debug, Clone, PartialEq)]
pub struct WordScores {
    /// Mean probabilities, `[words, labels]` row-major; zeros for a word without tokens.
    pub probabilities: Vec<f32>,
    /// Decoded class of each word, `[words]`.
    pub labels: Vec<LabelId>,
    /// Probability of that class, `[words]`.
    pub confidence: Vec<f32>,
}

/// Merges the windows' logits into one score per word and decodes them.
///
/// `logits[w]` is `[seq, labels]` of `encoded.windows[w]`. Probabilities of a word seen by several windows are
/// averaged over the windows that hold its first sub-token.
///
/// # Errors
/// [`PredictError::Shape`] when the answers do not fit the windows.
pub fn score_words(
    encoder: &Encoder,
    encoded: &EncodedReceipt,
    logits: &[Vec<f32>],
) -> Result<WordScores, PredictError> {
    let encoding = encoder.encoding();
    let (classes, words) = (encoding.labels.len(), encoded.num_words);
    let mut sums = vec![0.0f64; words * classes];
    let mut seen = vec![0u32; words];
    for (index, window) in encoded.windows.iter().enumerate() {
        let rows = logits.get(index).map_or(&[][..], Vec::as_slice);
        check_shape(index, window, classes, rows)?;
        for (position, word) in window.first_subtokens() {
            let Some(&receipt_word) = window.word_indices.get(word) else { continue };
            let row = rows.get(position * classes..(position + 1) * classes).unwrap_or_default();
            let sum = sums.get_mut(receipt_word * classes..(receipt_word + 1) * classes).unwrap_or_default();
            for (sum, p) in sum.iter_mut().zip(softmax(row, encoding.temperature)) {
                *sum += f64::from(p);
            }
            if let Some(count) = seen.get_mut(receipt_word) {
                *count += 1;
            }
        }
    }
    let mut probabilities = Vec::with_capacity(words * classes);
    for &word in &encoded.order {
        let count = f64::from(seen.get(word).copied().unwrap_or(0).max(1));
        let sum = sums.get(word * classes..(word + 1) * classes).unwrap_or_default();
        probabilities.extend(sum.iter().map(|s| (s / count) as f32));
    }
    let labels = match encoding.granularity {
        Granularity::Receipt => decode(&probabilities, &encoding.labels, encoding.decoding),
        Granularity::Line => decode_lines(encoder, encoded, &probabilities),
    };
    let rows = probabilities.chunks(classes);
    let confidence = rows.zip(&labels).map(|(row, l)| row.get(l.index()).copied().unwrap_or(0.0)).collect();
    Ok(WordScores { probabilities, labels, confidence })
}

/// Decodes each window (a line, or a piece of a long one) by itself; one that starts inside an entity begins it.
fn decode_lines(encoder: &Encoder, encoded: &EncodedReceipt, probabilities: &[f32]) -> Vec<LabelId> {
    let (labels, decoding) = (&encoder.encoding().labels, encoder.encoding().decoding);
    let starts: BTreeSet<usize> =
        encoded.windows.iter().filter_map(|w| w.word_indices.first().copied()).collect();
    let mut rows = probabilities.chunks(labels.len());
    let mut out = Vec::with_capacity(encoded.num_words);
    // Words of a line without any token have no window; they stay with the line before and are O.
    for line in encoded.order.chunk_by(|_, next| !starts.contains(next)) {
        let line: Vec<f32> = rows.by_ref().take(line.len()).flatten().copied().collect();
        let mut ids = decode(&line, labels, decoding);
        if let Some(first) = ids.first_mut()
            && let Tag::Inside(kind) = labels.tag(*first)
        {
            *first = labels.id(&format!("B-{kind}")).unwrap_or(*first);
        }
        out.extend(ids);
    }
    out
}

fn check_shape(index: usize, window: &Window, classes: usize, rows: &[f32]) -> Result<(), PredictError> {
    let expected = window.len() * classes;
    if rows.len() == expected {
        Ok(())
    } else {
        Err(PredictError::Shape { window: index, expected, found: rows.len() })
    }
}

/// Labels an encoded receipt from its windows' logits; see [`score_words`].
///
/// # Errors
/// [`PredictError::Shape`].
pub fn label(
    encoder: &Encoder,
    encoded: &EncodedReceipt,
    receipt: &Receipt,
    logits: &[Vec<f32>],
) -> Result<ReceiptPrediction, PredictError> {
    let scores = score_words(encoder, encoded, logits)?;
    let labels = &encoder.encoding().labels;
    let tags: Vec<Tag<'_>> = scores.labels.iter().map(|&id| labels.tag(id)).collect();
    let entities = entity::group(receipt, &encoded.order, &tags, &scores.confidence);
    let mut rows: Vec<(usize, WordPrediction)> = Vec::with_capacity(receipt.words.len());
    let probabilities = scores.probabilities.chunks(labels.len());
    for ((&index, probabilities), (&id, &confidence)) in
        encoded.order.iter().zip(probabilities).zip(scores.labels.iter().zip(&scores.confidence))
    {
        let Some(word) = receipt.words.get(index) else { continue };
        let prediction = WordPrediction {
            line_id: word.line_id,
            word_id: word.word_id,
            text: word.text.clone(),
            label: labels.name(id).to_string(),
            entity: labels.tag(id).entity().map(String::from),
            confidence,
            no_tokens: probabilities.iter().all(|&p| p == 0.0),
            probabilities: Some(probabilities.to_vec()),
        };
        rows.push((index, prediction));
    }
    rows.sort_by_key(|(index, _)| *index);
    let words = rows.into_iter().map(|(_, word)| word).collect();
    Ok(ReceiptPrediction {
        image_id: receipt.image_id.clone(),
        receipt_id: receipt.receipt_id,
        words,
        entities,
        line_items: None,
        arithmetic: None,
    })
}

/// Encodes, classifies and labels one receipt. Probabilities are filled in; drop them where nobody asked.
///
/// # Errors
/// [`PredictError`]; an empty receipt is no error and has no words.
pub fn predict(
    encoder: &Encoder,
    classifier: &dyn TokenClassifier,
    receipt: &Receipt,
) -> Result<ReceiptPrediction, PredictError> {
    let encoded = encoder.encode(receipt)?;
    let windows: Vec<&Window> = encoded.windows.iter().collect();
    let logits = classifier
        .logits(&windows)
        .map_err(|source| PredictError::Classifier { receipt: receipt.key(), source })?;
    label(encoder, &encoded, receipt, &logits)
}
