//! Scores of a model on labelled receipts: whole receipts, windows merged, one tag sequence per receipt.

mod entropy;
mod slice;
mod summary;

pub use entropy::Entropy;
pub use slice::{Group, Slice, slices};
pub(crate) use summary::product_detail_f1;
pub use summary::{Evaluation, summarize};

use crate::classifier::TokenClassifier;
use crate::encoder::{EncodedReceipt, Encoder};
use crate::encoding::Granularity;
use crate::label::LabelId;
use crate::metrics::MetricError;
use crate::predict::{PredictError, WordLogits, WordScores, decode_words};
use crate::receipt::{Receipt, ValidationStatus};
use crate::window::Window;

/// Why receipts could not be scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// Labelling failed.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// Scoring failed.
    #[error(transparent)]
    Metric(#[from] MetricError),
}

/// An encoded receipt and its gold classes in reading order.
#[derive(Debug, Clone)]
pub struct GoldReceipt {
    /// The receipt's key.
    pub key: String,
    /// Its windows.
    pub encoded: EncodedReceipt,
    /// Gold tag of each word in reading order, as text. May hold types the model does not know.
    pub tags: Vec<String>,
}

impl GoldReceipt {
    /// Encodes a labelled receipt; labels go through the encoding's merges and allow list.
    ///
    /// # Errors
    /// [`PredictError::Tokenize`].
    pub fn new(encoder: &Encoder, receipt: &Receipt, status: ValidationStatus) -> Result<Self, PredictError> {
        Ok(Self::from_encoded(encoder, receipt, status, encoder.encode(receipt)?))
    }

    /// As [`Self::new`], for a receipt that was encoded before.
    pub fn from_encoded(
        encoder: &Encoder,
        receipt: &Receipt,
        status: ValidationStatus,
        encoded: EncodedReceipt,
    ) -> Self {
        let scheme = &encoder.encoding().scheme;
        let source = |&i: &usize| receipt.words.get(i).map_or("O", |w| w.label_with(status));
        let tags = match encoder.encoding().granularity {
            Granularity::Receipt => scheme.bio(encoded.order.iter().map(source)),
            Granularity::Line => {
                let lines = receipt.lines(&encoded.order);
                lines.flat_map(|line| scheme.bio_merged(line.iter().map(source))).collect()
            }
        };
        let tags = tags.iter().map(ToString::to_string).collect();
        Self { key: receipt.key(), encoded, tags }
    }

    /// Gold class of each first sub-token of a window; a leading `I-X` becomes `B-X`.
    ///
    /// `[words of the window]`, in the window's word order.
    pub fn window_labels(&self, encoder: &Encoder, window: &Window) -> Vec<LabelId> {
        let labels = &encoder.encoding().labels;
        let place = |word: &usize| self.encoded.order.iter().position(|w| w == word);
        let start = window.word_indices.first().and_then(place).unwrap_or(0);
        let tags = self.tags.iter().skip(start).take(window.word_indices.len());
        tags.enumerate()
            .map(|(i, tag)| match tag.strip_prefix("I-").filter(|_| i == 0) {
                Some(kind) => labels.id(&format!("B-{kind}")).unwrap_or(LabelId::OUTSIDE),
                None => crate::label::Tag::parse(tag).map_or(LabelId::OUTSIDE, |t| labels.id_of(t)),
            })
            .collect()
    }
}

/// Predicted tags of one receipt beside its gold tags, in reading order.
#[derive(Debug, Clone)]
pub struct ScoredReceipt {
    /// The receipt's key.
    pub key: String,
    /// Gold tags.
    pub gold: Vec<String>,
    /// Predicted tags.
    pub predicted: Vec<String>,
    /// Probabilities and classes behind them.
    pub scores: WordScores,
    /// What the network said, for other temperatures.
    pub logits: WordLogits,
}

impl ScoredReceipt {
    /// Decodes a receipt's windows; `logits[w]` is `[seq, labels]` of its window `w`.
    ///
    /// # Errors
    /// [`PredictError::Shape`] when the answers do not fit the windows.
    pub fn new(encoder: &Encoder, receipt: &GoldReceipt, logits: &[Vec<f32>]) -> Result<Self, PredictError> {
        let labels = &encoder.encoding().labels;
        let logits = WordLogits::collect(labels.len(), &receipt.encoded, logits)?;
        let scores = decode_words(encoder.encoding(), &logits);
        let predicted = scores.labels.iter().map(|&id| labels.name(id).to_string()).collect();
        Ok(Self { key: receipt.key.clone(), gold: receipt.tags.clone(), predicted, scores, logits })
    }

    /// Predicted tags in reading order.
    pub fn predicted_tags(&self) -> Vec<&str> {
        self.predicted.iter().map(String::as_str).collect()
    }
}

/// Tokens given to the classifier together: enough that an engine prepares its weights once for several receipts and
/// can share windows out between sessions.
const TOKENS_TOGETHER: usize = 2048;

/// Labels receipts, several at a time; `progress` is told after each.
///
/// # Errors
/// [`PredictError`] at the first receipt that fails.
pub fn score_receipts(
    encoder: &Encoder,
    classifier: &dyn TokenClassifier,
    receipts: &[GoldReceipt],
    progress: &dyn Fn(usize),
) -> Result<Vec<ScoredReceipt>, PredictError> {
    let mut scored = Vec::with_capacity(receipts.len());
    let mut rest = receipts;
    while !rest.is_empty() {
        let (group, later) = rest.split_at(group_size(rest));
        rest = later;
        for (receipt, logits) in group.iter().zip(group_logits(classifier, group)?) {
            scored.push(ScoredReceipt::new(encoder, receipt, &logits)?);
            progress(scored.len());
        }
    }
    Ok(scored)
}

/// How many receipts from the start go together, at least one.
fn group_size(receipts: &[GoldReceipt]) -> usize {
    let mut tokens = 0;
    let fitting = receipts.iter().take_while(|receipt| {
        tokens += receipt.encoded.windows.iter().map(Window::len).sum::<usize>();
        tokens <= TOKENS_TOGETHER
    });
    fitting.count().max(1)
}

/// Logits of each window of each receipt.
fn group_logits(
    classifier: &dyn TokenClassifier,
    group: &[GoldReceipt],
) -> Result<Vec<Vec<Vec<f32>>>, PredictError> {
    let windows: Vec<&Window> = group.iter().flat_map(|receipt| &receipt.encoded.windows).collect();
    match (classifier.logits(&windows), group) {
        (Ok(logits), _) => {
            let mut logits = logits.into_iter();
            Ok(group.iter().map(|r| logits.by_ref().take(r.encoded.windows.len()).collect()).collect())
        }
        (Err(source), [only]) => Err(PredictError::Classifier { receipt: only.key.clone(), source }),
        // One after the other, to name the one that fails.
        (Err(_), _) => {
            let alone = group.iter().map(|receipt| group_logits(classifier, std::slice::from_ref(receipt)));
            Ok(alone.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        }
    }
}

/// Encodes, labels and scores receipts.
///
/// # Errors
/// [`EvaluateError`].
pub fn evaluate(
    encoder: &Encoder,
    classifier: &dyn TokenClassifier,
    receipts: &[GoldReceipt],
    progress: &dyn Fn(usize),
) -> Result<Evaluation, EvaluateError> {
    let scored = score_receipts(encoder, classifier, receipts, progress)?;
    summarize(encoder, &scored)
}
