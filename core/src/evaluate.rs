//! Scores of a model on labelled receipts: whole receipts, windows merged, one tag sequence per receipt.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::classifier::TokenClassifier;
use crate::encoder::{EncodedReceipt, Encoder};
use crate::encoding::Granularity;
use crate::label::LabelId;
use crate::metrics::{self, Confusion, MetricError, Mode, Report};
use crate::predict::{PredictError, WordScores, score_words};
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

/// What a model is worth on a set of receipts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Receipts scored.
    pub receipts: usize,
    /// Words scored.
    pub words: usize,
    /// Micro-averaged entity F1 (seqeval, default mode).
    pub f1: f64,
    /// Micro-averaged precision.
    pub precision: f64,
    /// Micro-averaged recall.
    pub recall: f64,
    /// Equal tags over all words.
    pub token_accuracy: f64,
    /// Equal tags over the words whose gold tag is `O`; `None` when there are none.
    pub o_token_accuracy: Option<f64>,
    /// Words labelled as some entity over all words.
    pub entity_prediction_rate: f64,
    /// Words whose gold label is some entity over all words.
    pub gold_entity_rate: f64,
    /// Mean −ln p of the gold tag; words without tokens and tags unknown to the model left out.
    pub loss: f64,
    /// Per label, micro, macro and weighted; seqeval default mode.
    pub report: Report,
    /// The same under strict IOB2.
    pub strict: Report,
    /// Gold tags × predicted tags.
    pub confusion: Confusion,
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
    let labels = &encoder.encoding().labels;
    let mut scored = Vec::with_capacity(receipts.len());
    let mut rest = receipts;
    while !rest.is_empty() {
        let (group, later) = rest.split_at(group_size(rest));
        rest = later;
        for (receipt, logits) in group.iter().zip(group_logits(classifier, group)?) {
            let scores = score_words(encoder, &receipt.encoded, &logits)?;
            let predicted = scores.labels.iter().map(|&id| labels.name(id).to_string()).collect();
            let (key, gold) = (receipt.key.clone(), receipt.tags.clone());
            scored.push(ScoredReceipt { key, gold, predicted, scores });
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

/// Scores labelled receipts.
///
/// # Errors
/// [`EvaluateError::Metric`] when sequences do not fit each other.
pub fn summarize(encoder: &Encoder, scored: &[ScoredReceipt]) -> Result<Evaluation, EvaluateError> {
    let rows = |of: fn(&ScoredReceipt) -> &Vec<String>| -> Vec<Vec<&str>> {
        scored.iter().map(|r| of(r).iter().map(String::as_str).collect()).collect()
    };
    let (gold, predicted) = (rows(|r| &r.gold), rows(|r| &r.predicted));
    let report = metrics::report(&gold, &predicted, Mode::Default)?;
    let strict = metrics::report(&gold, &predicted, Mode::StrictIob2)?;
    let words: usize = gold.iter().map(Vec::len).sum();
    let pairs = || gold.iter().flatten().zip(predicted.iter().flatten());
    let rate = |n: usize| if words == 0 { 0.0 } else { n as f64 / words as f64 };
    let outside = pairs().filter(|(g, _)| **g == "O").count();
    let outside_right = pairs().filter(|(g, p)| **g == "O" && **p == "O").count();
    Ok(Evaluation {
        receipts: scored.len(),
        words,
        f1: report.micro.f1,
        precision: report.micro.precision,
        recall: report.micro.recall,
        token_accuracy: metrics::token_accuracy(&gold, &predicted)?.unwrap_or(0.0),
        o_token_accuracy: (outside > 0).then(|| outside_right as f64 / outside as f64),
        entity_prediction_rate: rate(pairs().filter(|(_, p)| **p != "O").count()),
        gold_entity_rate: rate(words - outside),
        loss: mean_loss(encoder, scored),
        strict,
        confusion: metrics::confusion(&gold, &predicted)?,
        report,
    })
}

fn mean_loss(encoder: &Encoder, scored: &[ScoredReceipt]) -> f64 {
    let labels = &encoder.encoding().labels;
    let (mut sum, mut count) = (0.0f64, 0usize);
    for receipt in scored {
        for (tag, row) in receipt.gold.iter().zip(receipt.scores.probabilities.chunks(labels.len())) {
            let known = labels.id(tag).filter(|_| row.iter().any(|&p| p > 0.0));
            if let Some(&p) = known.and_then(|id| row.get(id.index())) {
                sum -= f64::from(p).max(1e-30).ln();
                count += 1;
            }
        }
    }
    sum / count.max(1) as f64
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

impl Evaluation {
    /// Every figure under its flat name: `f1`, `precision`, …, `label_<L>_f1`, ….
    pub fn flat(&self) -> BTreeMap<String, f64> {
        let mut out: BTreeMap<String, f64> = [
            ("f1", self.f1),
            ("precision", self.precision),
            ("recall", self.recall),
            ("accuracy", self.token_accuracy),
            ("loss", self.loss),
            ("entity_prediction_rate", self.entity_prediction_rate),
            ("gold_entity_rate", self.gold_entity_rate),
        ]
        .map(|(name, value)| (name.to_string(), value))
        .into();
        for (label, scores) in &self.report.per_label {
            for (name, value) in [
                ("f1", scores.f1),
                ("precision", scores.precision),
                ("recall", scores.recall),
                ("support", scores.support as f64),
            ] {
                out.insert(format!("label_{label}_{name}"), value);
            }
        }
        out
    }
}
