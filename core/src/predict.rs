//! From a receipt to its labels, by whatever runs the network.
//!
//! Evaluation, the exporter's proof, `predict` and the server all come through here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::arithmetic::{self, Arithmetic};
use crate::classifier::{ClassifierError, TokenClassifier};
use crate::decode::{decode, softmax};
use crate::encoder::{EncodedReceipt, Encoder};
use crate::encoding::{Encoding, Granularity};
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

/// Logits of every word's first sub-token, one row per window that holds it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WordLogits {
    /// Classes per row.
    classes: usize,
    /// `[rows, classes]` row-major.
    rows: Vec<f32>,
    /// Place in reading order of each row's word, `[rows]`.
    places: Vec<usize>,
    /// Windows that cover the word at each place, also those that cut it off, `[words]`.
    covered: Vec<u32>,
    /// Places at which a window starts.
    starts: BTreeSet<usize>,
}

impl WordLogits {
    /// Picks the rows out of the windows' logits; `logits[w]` is `[seq, labels]` of `encoded.windows[w]`.
    ///
    /// # Errors
    /// [`PredictError::Shape`] when the answers do not fit the windows.
    pub fn collect(
        classes: usize,
        encoded: &EncodedReceipt,
        logits: &[Vec<f32>],
    ) -> Result<Self, PredictError> {
        let mut place_of = vec![0usize; encoded.num_words];
        for (place, &word) in encoded.order.iter().enumerate() {
            if let Some(slot) = place_of.get_mut(word) {
                *slot = place;
            }
        }
        let place = |word: usize| place_of.get(word).copied();
        let mut out = Self { classes, covered: vec![0; encoded.num_words], ..Self::default() };
        for (index, window) in encoded.windows.iter().enumerate() {
            let rows = logits.get(index).map_or(&[][..], Vec::as_slice);
            check_shape(index, window, classes, rows)?;
            out.starts.extend(window.word_indices.first().and_then(|&w| place(w)));
            for place in window.word_indices.iter().filter_map(|&w| place(w)) {
                out.covered.get_mut(place).into_iter().for_each(|n| *n += 1);
            }
            for (position, word) in window.first_subtokens() {
                let Some(place) = window.word_indices.get(word).and_then(|&w| place(w)) else { continue };
                let row = rows.get(position * classes..(position + 1) * classes).unwrap_or_default();
                out.rows.extend_from_slice(row);
                out.places.push(place);
            }
        }
        Ok(out)
    }

    /// Mean class probabilities at a temperature, `[words, classes]` row-major in reading order.
    ///
    /// The mean is over all windows that cover a word. Where one cuts it off, the probabilities sum to less than 1;
    /// where none has a token of it, they are 0.
    pub fn probabilities(&self, temperature: f32) -> Vec<f32> {
        let mut sums = vec![0.0f64; self.covered.len() * self.classes];
        for (row, &place) in self.rows.chunks(self.classes.max(1)).zip(&self.places) {
            let sum = sums.get_mut(place * self.classes..(place + 1) * self.classes).unwrap_or_default();
            for (sum, p) in sum.iter_mut().zip(softmax(row, temperature)) {
                *sum += f64::from(p);
            }
        }
        let means = sums.chunks(self.classes.max(1)).zip(&self.covered);
        means.flat_map(|(row, &n)| row.iter().map(move |s| (s / f64::from(n.max(1))) as f32)).collect()
    }
}

/// Merges the windows' logits into one score per word and decodes them.
///
/// `logits[w]` is `[seq, labels]` of `encoded.windows[w]`. Probabilities of a word seen by several windows are
/// averaged over the windows that cover it.
///
/// # Errors
/// [`PredictError::Shape`] when the answers do not fit the windows.
pub fn score_words(
    encoder: &Encoder,
    encoded: &EncodedReceipt,
    logits: &[Vec<f32>],
) -> Result<WordScores, PredictError> {
    let rows = WordLogits::collect(encoder.encoding().labels.len(), encoded, logits)?;
    Ok(decode_words(encoder.encoding(), &rows))
}

/// Probabilities and classes of a receipt's words from their logits, by an encoding's temperature and decoding.
pub fn decode_words(encoding: &Encoding, logits: &WordLogits) -> WordScores {
    let classes = encoding.labels.len();
    let probabilities = logits.probabilities(encoding.temperature);
    let labels = match encoding.granularity {
        Granularity::Receipt => decode(&probabilities, &encoding.labels, encoding.decoding),
        Granularity::Line => decode_lines(encoding, logits, &probabilities),
    };
    let rows = probabilities.chunks(classes);
    let confidence = rows.zip(&labels).map(|(row, l)| row.get(l.index()).copied().unwrap_or(0.0)).collect();
    WordScores { probabilities, labels, confidence }
}

/// Decodes each window (a line, or a piece of a long one) by itself; one that starts inside an entity begins it.
fn decode_lines(encoding: &Encoding, logits: &WordLogits, probabilities: &[f32]) -> Vec<LabelId> {
    let (labels, decoding) = (&encoding.labels, encoding.decoding);
    let places: Vec<usize> = (0..logits.covered.len()).collect();
    let mut rows = probabilities.chunks(labels.len());
    let mut out = Vec::with_capacity(places.len());
    // Words of a line without any token have no window; they stay with the line before and are O.
    for line in places.chunk_by(|_, next| !logits.starts.contains(next)) {
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
