//! All figures of one evaluation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Entropy, EvaluateError, ScoredReceipt, Slice};
use crate::calibration::{Calibration, Reliability, fit_temperature, reliability};
use crate::encoder::Encoder;
use crate::encoding::Encoding;
use crate::label::{LabelSet, PRODUCT_DETAIL_LABELS, Tag};
use crate::metrics::{self, Confusion, ErrorReport, Interval, Mode, Report, Scores};
use crate::predict::{WordScores, decode_words};

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
    /// 95 % bootstrap interval of `f1` over receipts; `None` for a single receipt.
    pub f1_interval: Option<Interval>,
    /// Equal tags over all words.
    pub token_accuracy: f64,
    /// Equal tags over the words whose gold tag is `O`; `None` when there are none.
    pub o_token_accuracy: Option<f64>,
    /// Equal types over the words of gold entities; `None` when there are none.
    pub entity_token_accuracy: Option<f64>,
    /// Words labelled as some entity over all words.
    pub entity_prediction_rate: f64,
    /// Words whose gold label is some entity over all words.
    pub gold_entity_rate: f64,
    /// Words labelled as some entity over words of gold entities; `None` when there are none.
    pub entity_prediction_gold_ratio: Option<f64>,
    /// Mean F1 of the product labels that occur; 0 when none does.
    pub product_detail_macro_f1: f64,
    /// Mean −ln p of the gold tag; words without tokens and tags unknown to the model left out.
    pub loss: f64,
    /// How undecided the model is; `None` without a word with tokens.
    pub entropy: Option<Entropy>,
    /// Whether its confidences mean what they say.
    pub calibration: Calibration,
    /// Every label that the model knows or that occurs.
    pub labels: BTreeMap<String, Scores>,
    /// Per label that occurs, micro, macro and weighted; seqeval default mode.
    pub report: Report,
    /// The same under strict IOB2.
    pub strict: Report,
    /// Kinds of mistakes.
    pub errors: ErrorReport,
    /// Gold tags × predicted tags.
    pub confusion: Confusion,
    /// The same of labels without their B- and I-.
    pub label_confusion: Confusion,
    /// Parts of the receipts, where the caller asked for some.
    #[serde(default)]
    pub slices: Vec<Slice>,
}

/// Scores labelled receipts.
///
/// # Errors
/// [`EvaluateError::Metric`] when sequences do not fit each other.
pub fn summarize(encoder: &Encoder, scored: &[ScoredReceipt]) -> Result<Evaluation, EvaluateError> {
    let encoding = encoder.encoding();
    let rows = |of: fn(&ScoredReceipt) -> &Vec<String>| -> Vec<Vec<&str>> {
        scored.iter().map(|r| of(r).iter().map(String::as_str).collect()).collect()
    };
    let (gold, predicted) = (rows(|r| &r.gold), rows(|r| &r.predicted));
    let report = metrics::report(&gold, &predicted, Mode::Default)?;
    let counts = WordCounts::of(&gold, &predicted);
    let base = |rows: &[Vec<&'_ str>]| -> Vec<Vec<String>> {
        rows.iter().map(|r| r.iter().map(|t| base_label(t).to_string()).collect()).collect()
    };
    let (base_gold, base_predicted) = (base(&gold), base(&predicted));
    Ok(Evaluation {
        receipts: scored.len(),
        words: counts.words,
        f1: report.micro.f1,
        precision: report.micro.precision,
        recall: report.micro.recall,
        f1_interval: metrics::f1_interval(&metrics::entity_counts(&gold, &predicted)?),
        token_accuracy: metrics::token_accuracy(&gold, &predicted)?.unwrap_or(0.0),
        o_token_accuracy: ratio(counts.outside_right, counts.words - counts.gold),
        entity_token_accuracy: ratio(counts.type_right, counts.gold),
        entity_prediction_rate: ratio(counts.predicted, counts.words).unwrap_or(0.0),
        gold_entity_rate: ratio(counts.gold, counts.words).unwrap_or(0.0),
        entity_prediction_gold_ratio: ratio(counts.predicted, counts.gold),
        product_detail_macro_f1: product_detail_f1(&report).unwrap_or(0.0),
        loss: mean_loss(&encoding.labels, scored, |r| r.scores.probabilities.clone()),
        entropy: Entropy::of(
            scored.iter().flat_map(|r| r.scores.probabilities.chunks(encoding.labels.len())),
        ),
        calibration: calibration(encoding, scored),
        labels: every_label(&encoding.labels, &report),
        strict: metrics::report(&gold, &predicted, Mode::StrictIob2)?,
        errors: metrics::entity_errors(&gold, &predicted)?,
        confusion: metrics::confusion(&gold, &predicted)?,
        label_confusion: metrics::confusion(&borrowed(&base_gold), &borrowed(&base_predicted))?,
        slices: Vec::new(),
        report,
    })
}

fn borrowed(rows: &[Vec<String>]) -> Vec<Vec<&str>> {
    rows.iter().map(|r| r.iter().map(String::as_str).collect()).collect()
}

/// The entity type of a tag, `O` outside; tags of neither form stand for themselves.
fn base_label(tag: &str) -> &str {
    Tag::parse(tag).map_or(tag, |t| t.entity().unwrap_or("O"))
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Mean F1 of the product labels in a report; `None` when none is.
pub(crate) fn product_detail_f1(report: &Report) -> Option<f64> {
    let found: Vec<f64> =
        PRODUCT_DETAIL_LABELS.iter().filter_map(|l| report.per_label.get(*l)).map(|s| s.f1).collect();
    (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
}

struct WordCounts {
    words: usize,
    gold: usize,
    predicted: usize,
    outside_right: usize,
    type_right: usize,
}

impl WordCounts {
    fn of(gold: &[Vec<&str>], predicted: &[Vec<&str>]) -> Self {
        let pairs = || gold.iter().flatten().zip(predicted.iter().flatten());
        let count = |test: fn(&str, &str) -> bool| pairs().filter(|(g, p)| test(g, p)).count();
        Self {
            words: pairs().count(),
            gold: count(|g, _| g != "O"),
            predicted: count(|_, p| p != "O"),
            outside_right: count(|g, p| g == "O" && p == "O"),
            type_right: count(|g, p| g != "O" && base_label(g) == base_label(p)),
        }
    }
}

/// The report's labels and, with zeros, those the model knows but nobody saw.
fn every_label(known: &LabelSet, report: &Report) -> BTreeMap<String, Scores> {
    let unseen = Scores { precision: 0.0, recall: 0.0, f1: 0.0, support: 0 };
    let mut labels: BTreeMap<String, Scores> =
        known.entities().into_iter().map(|l| (l.to_string(), unseen)).collect();
    labels.extend(report.per_label.clone());
    labels
}

fn mean_loss(
    labels: &LabelSet,
    scored: &[ScoredReceipt],
    probabilities: impl Fn(&ScoredReceipt) -> Vec<f32>,
) -> f64 {
    let (mut sum, mut count) = (0.0f64, 0usize);
    for receipt in scored {
        for (tag, row) in receipt.gold.iter().zip(probabilities(receipt).chunks(labels.len())) {
            let known = labels.id(tag).filter(|_| row.iter().any(|&p| p > 0.0));
            if let Some(&p) = known.and_then(|id| row.get(id.index())) {
                sum -= f64::from(p).max(1e-30).ln();
                count += 1;
            }
        }
    }
    sum / count.max(1) as f64
}

fn calibration(encoding: &Encoding, scored: &[ScoredReceipt]) -> Calibration {
    let nll = |t: f64| mean_loss(&encoding.labels, scored, |r| r.logits.probabilities(t as f32));
    let any_word = scored.iter().any(|r| r.scores.probabilities.iter().any(|&p| p > 0.0));
    let fitted = if any_word { fit_temperature(nll) } else { f64::from(encoding.temperature) };
    let at_fitted = Encoding { temperature: fitted as f32, ..encoding.clone() };
    Calibration {
        temperature: f64::from(encoding.temperature),
        reliability: words_right(encoding, scored, |r| r.scores.clone()),
        nll: nll(f64::from(encoding.temperature)),
        fitted_temperature: fitted,
        fitted_ece: words_right(encoding, scored, |r| decode_words(&at_fitted, &r.logits)).ece,
        fitted_nll: nll(fitted),
    }
}

/// Confidence of every word with a token, beside whether its tag is right.
fn words_right(
    encoding: &Encoding,
    scored: &[ScoredReceipt],
    scores: impl Fn(&ScoredReceipt) -> WordScores,
) -> Reliability {
    let words = scored.iter().flat_map(|receipt| {
        let WordScores { labels, confidence, .. } = scores(receipt);
        let right: Vec<bool> =
            labels.iter().zip(&receipt.gold).map(|(&id, gold)| encoding.labels.name(id) == gold).collect();
        confidence.into_iter().map(f64::from).zip(right).filter(|(c, _)| *c > 0.0)
    });
    reliability(words)
}

impl Evaluation {
    /// Every figure under its flat name: `f1`, `precision`, …, `label_<L>_f1`, …. What does not exist is left out.
    pub fn flat(&self) -> BTreeMap<String, f64> {
        let mut out: BTreeMap<String, f64> = [
            ("f1", Some(self.f1)),
            ("precision", Some(self.precision)),
            ("recall", Some(self.recall)),
            ("f1_low", self.f1_interval.map(|i| i.low)),
            ("f1_high", self.f1_interval.map(|i| i.high)),
            ("accuracy", Some(self.token_accuracy)),
            ("loss", Some(self.loss)),
            ("entity_prediction_rate", Some(self.entity_prediction_rate)),
            ("gold_entity_rate", Some(self.gold_entity_rate)),
            ("entity_prediction_gold_ratio", self.entity_prediction_gold_ratio),
            ("entity_token_accuracy", self.entity_token_accuracy),
            ("o_token_accuracy", self.o_token_accuracy),
            ("product_detail_macro_f1", Some(self.product_detail_macro_f1)),
            ("entropy_mean", self.entropy.map(|e| e.mean)),
            ("entropy_std", self.entropy.map(|e| e.std)),
            ("entropy_p10", self.entropy.map(|e| e.p10)),
            ("entropy_p90", self.entropy.map(|e| e.p90)),
            ("ece", Some(self.calibration.reliability.ece)),
            ("temperature", Some(self.calibration.fitted_temperature)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_string(), value?)))
        .collect();
        for (label, scores) in &self.labels {
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
