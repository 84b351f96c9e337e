//! Held-out evaluation against what the Python trainer's own evaluation said of the same model and receipts: every
//! probability, scores, rows per label, diagnostics.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests, which may panic

mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;

use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::encoder::Encoder;
use layoutlm_core::encoding::Encoding;
use layoutlm_core::evaluate::{GoldReceipt, score_receipts, summarize};
use layoutlm_core::heldout::{GoldRule, HeldOut, LineTags};
use layoutlm_core::label::Merges;
use layoutlm_core::predict::{ReceiptPrediction, predict};
use layoutlm_core::receipt::{Receipt, ValidationStatus};
use layoutlm_core::window::{Overflow, WindowRule};
use layoutlm_trainer::data::{upstream_pages, upstream_rules, upstream_scheme};
use layoutlm_trainer::model::CandleClassifier;
use layoutlm_trainer::model_folder::read_encoder;
use serde_json::{Value, json};
use table::{Table, jsonl, shared};

const RUN: &str = "fixtures/runs/layoutlm-v1-fixture-merged";
const EVALUATED: &str = "fixtures/runs/epoch-eval/layoutlm-v1-fixture-merged/epochs.json";

/// The fixture's model under the rules it was trained and evaluated with.
struct Model {
    encoder: Encoder,
    classifier: CandleClassifier,
}

fn model(size: usize, stride: usize) -> Option<Model> {
    let folder = shared(RUN)?.join("best");
    let read = read_encoder(&folder).unwrap();
    let merges: Merges = read.encoding().scheme.merges().clone();
    let rules = upstream_rules(upstream_scheme(merges, None).unwrap(), size, stride);
    let encoding = Encoding {
        box_rule: rules.box_rule,
        reading_order: rules.reading_order,
        window: WindowRule { overflow: Overflow::Truncate, ..rules.window },
        ..read.encoding().clone()
    };
    let encoder = Encoder::new(encoding, read.tokenizer().clone()).unwrap();
    Some(Model { encoder, classifier: CandleClassifier::open(&folder).unwrap() })
}

/// The table's receipts as the held-out evaluation takes them: the last of a word's VALID labels, each receipt scaled by
/// its own extents.
fn receipts() -> Option<Vec<Receipt>> {
    let mut receipts = labelled(<[String]>::last)?;
    receipts.iter_mut().for_each(|r| upstream_pages(std::slice::from_mut(r)));
    Some(receipts)
}

/// The table's receipts with one of the VALID labels of each word.
fn labelled(choose: fn(&[String]) -> Option<&String>) -> Option<Vec<Receipt>> {
    let Table { mut receipts, labels } = Table::read(&["receipts", "edge"])?;
    for (receipt, labels) in receipts.iter_mut().zip(labels) {
        for (word, labels) in receipt.words.iter_mut().zip(labels) {
            word.label = choose(&labels).cloned();
        }
    }
    Some(receipts)
}

fn json_of(path: PathBuf) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap().replace("Infinity", "null")).unwrap()
}

/// Receipt key, line and word.
type WordKey = (String, u32, u32);
/// Tag, confidence, probability of every class.
type Answer = (String, f32, Vec<f32>);

impl Model {
    fn predict(&self, receipt: &Receipt) -> ReceiptPrediction {
        predict(&self.encoder, &self.classifier as &dyn TokenClassifier, receipt).unwrap()
    }

    fn lines(&self, receipt: &Receipt) -> LineTags {
        let encoding = self.encoder.encoding();
        let merges = encoding.scheme.merges();
        let rule = GoldRule { labels: &encoding.labels, merges, status: ValidationStatus::Valid };
        let predicted = self.predict(receipt);
        let tags: Vec<&str> = predicted.words.iter().map(|w| w.label.as_str()).collect();
        rule.lines(receipt, &tags)
    }
}

/// Every number of `want` is in `got` within 1e-6, and nothing else is in those places.
fn same(got: &Value, want: &Value, at: &str) {
    match (got, want) {
        (Value::Object(g), Value::Object(w)) => {
            let names = |m: &serde_json::Map<String, Value>| m.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(g), names(w), "{at}");
            w.iter().for_each(|(name, w)| same(&g[name], w, &format!("{at}.{name}")));
        }
        (Value::Array(g), Value::Array(w)) => {
            assert_eq!(g.len(), w.len(), "{at}");
            g.iter().zip(w).enumerate().for_each(|(i, (g, w))| same(g, w, &format!("{at}[{i}]")));
        }
        (Value::Number(g), Value::Number(w)) => {
            let (g, w) = (g.as_f64().unwrap(), w.as_f64().unwrap());
            assert!((g - w).abs() <= 1e-6, "{at}: {g} is not {w}");
        }
        _ => assert_eq!(got, want, "{at}"),
    }
}

#[test]
fn every_probability_of_every_word_is_the_evaluations_own() {
    let Some(receipts) = receipts() else { return };
    for (name, size, stride) in [("window200", 200, 150), ("window40", 40, 30)] {
        let path = shared(&format!("fixtures/runs/predictions/predictions.{name}.jsonl")).unwrap();
        let model = model(size, stride).unwrap();
        let mut got: BTreeMap<WordKey, Answer> = BTreeMap::new();
        for receipt in &receipts {
            for word in model.predict(receipt).words {
                let key = (receipt.key(), word.line_id, word.word_id);
                got.insert(key, (word.label, word.confidence, word.probabilities.unwrap()));
            }
        }
        let mut compared = 0;
        for want in jsonl(&path).iter().skip(1) {
            let number = |field: &str| want[field].as_u64().unwrap() as u32;
            let key =
                (want["receipt_key"].as_str().unwrap().to_string(), number("line_id"), number("word_id"));
            let (label, confidence, probabilities) = &got[&key];
            assert_eq!(label, want["label"].as_str().unwrap(), "{name} {key:?}");
            assert!((f64::from(*confidence) - want["confidence"].as_f64().unwrap()).abs() < 1e-6, "{key:?}");
            let wanted = want["probs"].as_array().unwrap();
            let zeros = vec![json!(0.0); probabilities.len()];
            let wanted = if wanted.is_empty() { &zeros } else { wanted };
            for (g, w) in probabilities.iter().zip(wanted) {
                assert!((f64::from(*g) - w.as_f64().unwrap()).abs() < 1e-6, "{name} {key:?}: {g} {w}");
            }
            compared += 1;
        }
        assert_eq!(compared, 1949, "{name}");
    }
}

#[test]
fn held_out_scores_rows_and_diagnostics_are_the_evaluations_own() {
    let (Some(receipts), Some(model)) = (receipts(), model(200, 150)) else { return };
    let record = json_of(shared(RUN).unwrap().join("run.json"));
    let keys: Vec<String> =
        serde_json::from_value(record["split_metadata"]["val_receipt_keys"].clone()).unwrap();
    let of = |key: &String| receipts.iter().find(|r| r.key() == *key).unwrap();
    let lines: Vec<LineTags> = keys.iter().map(|key| model.lines(of(key))).collect();
    let held_out = HeldOut::score(&lines).unwrap();
    let got = json!(held_out);
    let evaluated = json_of(shared(EVALUATED).unwrap());
    let best = evaluated["epochs"].as_array().unwrap().iter().find(|e| e["checkpoint"] == "best").unwrap();
    for (name, value) in got.as_object().unwrap() {
        same(value, &best[name], name);
    }
    assert!(got.as_object().unwrap().len() >= 14);
    let rows = held_out.rows(&model.encoder.encoding().labels);
    for (label, row) in &rows {
        let want = |map: &str| best[map][label].clone();
        same(&json!(row.f1), &want("per_label_f1"), label);
        same(&json!(row.support), &want("per_label_support"), label);
    }
    assert_eq!(rows.len(), 7);
}

#[test]
fn scores_of_single_receipts_are_those_of_the_diagnosis() {
    let (Some(receipts), Some(model)) = (receipts(), model(200, 150)) else { return };
    let path = shared("fixtures/runs/diagnostics/layoutlm-v1-fixture-merged/per_receipt.head.jsonl").unwrap();
    let mut compared = 0;
    for want in jsonl(&path) {
        let receipt = receipts.iter().find(|r| json!(r.key()) == want["receipt_key"]).unwrap();
        let got = HeldOut::score(&[model.lines(receipt)]).unwrap();
        for name in ["heldout_f1", "token_accuracy", "product_detail_macro_f1"] {
            let want = want.get(name).unwrap_or_else(|| &want["scores"][name]);
            same(&json!(got)[name], want, name);
        }
        compared += 1;
    }
    assert!(compared >= 2, "{compared}");
}

#[test]
fn figures_over_windows_are_those_the_trainer_reported_for_that_epoch() {
    // Training takes the first of a word's labels, and boxes by the extents of the whole image.
    let (Some(receipts), Some(model)) = (labelled(<[String]>::first), model(200, 150)) else { return };
    let record = json_of(shared(RUN).unwrap().join("run.json"));
    let keys: Vec<String> =
        serde_json::from_value(record["split_metadata"]["val_receipt_keys"].clone()).unwrap();
    let mut scored = Vec::new();
    for receipt in receipts.iter().filter(|r| keys.contains(&r.key())) {
        let gold = GoldReceipt::new(&model.encoder, receipt, ValidationStatus::Valid).unwrap();
        let mut of_receipt =
            score_receipts(&model.encoder, &model.classifier, std::slice::from_ref(&gold), &|_| {}).unwrap();
        scored.append(&mut of_receipt);
    }
    // Words that were cut off have no prediction in that evaluation, and tags that only validation has count as O.
    let labels = &model.encoder.encoding().labels;
    for receipt in &mut scored {
        let rows = receipt.scores.probabilities.chunks(labels.len());
        let seen: Vec<bool> = rows.map(|r| r.iter().any(|&p| p > 0.0)).collect();
        let kept = |tags: &[String]| -> Vec<String> {
            tags.iter().zip(&seen).filter(|(_, s)| **s).map(|(t, _)| t.clone()).collect()
        };
        (receipt.gold, receipt.predicted) = (kept(&receipt.gold), kept(&receipt.predicted));
        receipt.gold.iter_mut().filter(|t| labels.id(t).is_none()).for_each(|t| *t = "O".into());
    }
    let got = summarize(&model.encoder, &scored).unwrap().flat();
    let epoch = record["epoch_metrics"][1].as_object().unwrap();
    let mut compared = 0;
    for (name, want) in epoch.iter().filter_map(|(n, v)| Some((n.strip_prefix("eval_")?, v))) {
        if matches!(name, "loss" | "runtime" | "samples_per_second" | "steps_per_second") {
            continue;
        }
        let (got, want) = (got[name], want.as_f64().unwrap());
        assert!((got - want).abs() < 1e-6, "{name}: {got} is not {want}");
        compared += 1;
    }
    assert!(compared > 40, "{compared}");
}
