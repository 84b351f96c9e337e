//! The answer of `POST /v1/classify`: labels, entities, which model answered and where the time went.

use std::time::Duration;

use layoutlm_core::entity::Entity;
use layoutlm_core::predict::{ReceiptPrediction, WordPrediction};
use layoutlm_core::receipt::Receipt;
use serde::Serialize;
use utoipa::ToSchema;

use super::items::{ArithmeticAnswer, LineItemAnswer};
use super::options::Options;
use super::work::Labelled;
use crate::service::Service;

/// One receipt's answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Answer {
    /// As in the call.
    image_id: String,
    /// As in the call.
    receipt_id: u32,
    /// One per word, in the order of the call.
    words: Vec<WordAnswer>,
    /// Runs of words of one type, in reading order.
    entities: Vec<EntityAnswer>,
    /// What was bought, on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    line_items: Option<Vec<LineItemAnswer>>,
    /// Whether the items add up to the total; comes with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    arithmetic: Option<ArithmeticAnswer>,
    model: ModelName,
    timings: Timings,
}

/// The label of one word.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Word)]
struct WordAnswer {
    /// As in the call.
    line_id: u32,
    /// As in the call.
    word_id: u32,
    /// As in the call.
    text: String,
    /// BIO tag.
    label: String,
    /// Entity type of the tag; `null` for `O`.
    entity: Option<String>,
    /// Calibrated probability of the tag; 0 for a word without tokens.
    confidence: f32,
    /// True when the word has no token, so that the network never saw it; its label is `O`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_tokens: bool,
    /// Probability of every class in the order of `labels` of `GET /v1/model`, on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    probabilities: Option<Vec<f32>>,
}

/// One field as found on a receipt.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Entity)]
pub(super) struct EntityAnswer {
    /// Entity type, e.g. `DATE`.
    #[serde(rename = "type")]
    kind: String,
    /// Its words in reading order, joined by single spaces.
    text: String,
    /// ISO 8601 for a date, a decimal for an amount, digits for a phone number; `null` where the text does not parse.
    value: Option<String>,
    /// ISO 4217 code of the currency printed beside an amount, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    /// Mean confidence of its words.
    confidence: f32,
    /// `[line_id, word_id]` of each word, in reading order.
    word_ids: Vec<[u32; 2]>,
    /// Its words as indices into `words`, in reading order.
    word_indices: Vec<usize>,
    /// `[x0, y0, x1, y1]` around its words, in the unit and origin of the call.
    #[serde(rename = "box")]
    bbox: [f64; 4],
}

/// Which model answered.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct ModelName {
    /// Job that trained it.
    job_name: Option<String>,
    /// `fp32`, `fused` or `int8`.
    variant: String,
    /// SHA-256 of the encoding.
    fingerprint: String,
}

/// Where the call's time went, milliseconds; the same for every receipt of a call.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct Timings {
    /// Reading and encoding.
    encode_ms: f64,
    /// Until the first window was started.
    queue_ms: f64,
    /// Computing, summed over workers.
    compute_ms: f64,
    /// From the last byte of the call to the answer.
    total_ms: f64,
}

/// The answers of a call, in the order of its receipts; `options` of each by its place.
pub(crate) fn answers(labelled: Labelled, options: impl Fn(usize) -> Options) -> Vec<Answer> {
    let model = ModelName::of(&labelled.service);
    let timings = Timings {
        encode_ms: milliseconds(labelled.encode),
        queue_ms: milliseconds(labelled.queued),
        compute_ms: milliseconds(labelled.computed),
        total_ms: milliseconds(labelled.arrived.elapsed()),
    };
    let one = |(index, (mut prediction, receipt)): (usize, (ReceiptPrediction, Receipt))| {
        let options = options(index);
        if options.line_items.unwrap_or(false) {
            prediction.itemize(&receipt);
        }
        options.trim(&mut prediction);
        let ReceiptPrediction { image_id, receipt_id, words, entities, line_items, arithmetic } = prediction;
        let item = |item| LineItemAnswer::new(item, &words);
        let line_items = line_items.map(|items| items.into_iter().map(item).collect());
        let arithmetic = arithmetic.map(ArithmeticAnswer::from);
        let entities = entities.into_iter().map(|entity| EntityAnswer::new(entity, &words)).collect();
        let words = words.into_iter().map(WordAnswer::from).collect();
        let model = model.clone();
        Answer { image_id, receipt_id, words, entities, line_items, arithmetic, model, timings }
    };
    labelled.predictions.into_iter().zip(labelled.receipts).enumerate().map(one).collect()
}

impl From<WordPrediction> for WordAnswer {
    fn from(word: WordPrediction) -> Self {
        let WordPrediction { line_id, word_id, text, label, entity, confidence, no_tokens, probabilities } =
            word;
        Self { line_id, word_id, text, label, entity, confidence, no_tokens, probabilities }
    }
}

impl EntityAnswer {
    /// `words` are those of the receipt.
    pub(super) fn new(entity: Entity, words: &[WordPrediction]) -> Self {
        let Entity { kind, text, value, confidence, word_indices, bbox } = entity;
        let members = word_indices.iter().filter_map(|&index| words.get(index));
        let is_amount =
            value.is_some() && !matches!(kind.as_str(), "DATE" | "TIME" | "PHONE_NUMBER" | "QUANTITY");
        Self {
            currency: is_amount.then(|| layoutlm_core::value::currency(&text)).flatten().map(Into::into),
            word_ids: members.map(|w| [w.line_id, w.word_id]).collect(),
            kind,
            text,
            value,
            confidence,
            word_indices,
            bbox,
        }
    }
}

impl ModelName {
    fn of(service: &Service) -> Self {
        let manifest = service.bundle().manifest();
        Self {
            job_name: manifest.source.job_name.clone(),
            variant: service.variant().to_string(),
            fingerprint: manifest.fingerprint.clone(),
        }
    }
}

/// Milliseconds to the microsecond.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
