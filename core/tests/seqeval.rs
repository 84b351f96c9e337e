//! Every recorded case of seqeval 1.2.2, both modes: scores to 1e-12, counts and spans exactly, errors where it raised.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // A test fails by panicking.

use std::collections::BTreeMap;
use std::path::PathBuf;

use layoutlm_core::metrics::{self, MetricError, Mode, Scores};
use serde::Deserialize;

const TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(rename = "exotic")]
    _exotic: bool,
    y_true: Vec<Vec<String>>,
    y_pred: Vec<Vec<String>>,
    accuracy: Option<f64>,
    default: Outcome,
    strict_iob2: Outcome,
    entities_true: Option<Spans>,
    entities_pred: Option<Spans>,
    entities_true_strict: Option<Spans>,
    entities_pred_strict: Option<Spans>,
}

type Spans = Vec<Vec<(String, usize, usize)>>;

#[derive(Deserialize)]
#[serde(untagged)]
enum Outcome {
    Raised { error: String },
    Scored(Box<Scored>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scored {
    per_type: BTreeMap<String, Row>,
    micro: Row,
    r#macro: Row,
    weighted: Row,
    precision_score: f64,
    recall_score: f64,
    f1_score: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    precision: Option<f64>,
    recall: Option<f64>,
    #[serde(rename = "f1-score")]
    f1: Option<f64>,
    support: usize,
}

/// The recorded cases, or `None` where the shared material is absent.
fn golden() -> Option<Golden> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let shared = std::env::var_os("LAYOUTLM_SHARED").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let path = shared.join("goldens/seqeval/seqeval.json");
    if !path.exists() {
        println!("skipped: no {}; set LAYOUTLM_SHARED to the folder with the goldens", path.display());
        return None;
    }
    let text = std::fs::read_to_string(&path).expect("readable goldens");
    Some(serde_json::from_str(&text).expect("goldens of the documented shape"))
}

fn rows(tags: &[Vec<String>]) -> Vec<Vec<&str>> {
    tags.iter().map(|row| row.iter().map(String::as_str).collect()).collect()
}

fn assert_close(found: f64, expected: Option<f64>, what: &str) {
    match expected {
        None => assert!(found.is_nan(), "{what}: {found}, expected NaN"),
        Some(expected) => {
            assert!((found - expected).abs() <= TOLERANCE, "{what}: {found}, expected {expected}")
        }
    }
}

fn assert_scores(found: &Scores, expected: &Row, what: &str) {
    assert_close(found.precision, expected.precision, &format!("{what} precision"));
    assert_close(found.recall, expected.recall, &format!("{what} recall"));
    assert_close(found.f1, expected.f1, &format!("{what} f1"));
    assert_eq!(found.support, expected.support, "{what} support");
}

fn assert_report(case: &Case, mode: Mode, expected: &Outcome) {
    let what = format!("{} {mode:?}", case.name);
    let found = metrics::report(&rows(&case.y_true), &rows(&case.y_pred), mode);
    let expected = match expected {
        Outcome::Scored(expected) => expected,
        Outcome::Raised { error } => {
            assert_eq!(error, "ValueError", "{what}");
            assert!(
                matches!(found, Err(MetricError::NotIob2 { .. })),
                "{what}: {found:?}, expected an error"
            );
            return;
        }
    };
    let found = found.unwrap_or_else(|e| panic!("{what}: {e}"));
    let types: Vec<_> = found.per_label.keys().collect();
    assert_eq!(types, expected.per_type.keys().collect::<Vec<_>>(), "{what}");
    for (found, (kind, expected)) in found.per_label.values().zip(&expected.per_type) {
        assert_scores(found, expected, &format!("{what} {kind}"));
    }
    assert_scores(&found.micro, &expected.micro, &format!("{what} micro"));
    assert_scores(&found.macro_avg, &expected.r#macro, &format!("{what} macro"));
    assert_scores(&found.weighted, &expected.weighted, &format!("{what} weighted"));
    assert_close(found.micro.precision, Some(expected.precision_score), &format!("{what} precision_score"));
    assert_close(found.micro.recall, Some(expected.recall_score), &format!("{what} recall_score"));
    assert_close(found.micro.f1, Some(expected.f1_score), &format!("{what} f1_score"));
}

fn assert_spans(tags: &[Vec<String>], mode: Mode, expected: Option<&Spans>, what: &str) {
    let of_row = |row: &Vec<&str>| -> Result<Vec<(String, usize, usize)>, MetricError> {
        Ok(metrics::spans(row, mode)?.into_iter().map(|s| (s.kind.to_string(), s.first, s.last)).collect())
    };
    let found: Result<Spans, _> = rows(tags).iter().map(of_row).collect();
    assert_eq!(found.ok().as_ref(), expected, "{what}");
}

#[test]
fn every_report_equals_seqevals_in_both_modes() {
    let Some(golden) = golden() else { return };
    assert_eq!(golden.cases.len(), 40);
    for case in &golden.cases {
        assert_report(case, Mode::Default, &case.default);
        assert_report(case, Mode::StrictIob2, &case.strict_iob2);
    }
}

#[test]
fn every_span_equals_seqevals_in_both_modes() {
    let Some(golden) = golden() else { return };
    for case in &golden.cases {
        let sides = [
            ("gold", &case.y_true, &case.entities_true, &case.entities_true_strict),
            ("predicted", &case.y_pred, &case.entities_pred, &case.entities_pred_strict),
        ];
        for (side, tags, default, strict) in sides {
            assert_spans(tags, Mode::Default, default.as_ref(), &format!("{} {side}", case.name));
            assert_spans(tags, Mode::StrictIob2, strict.as_ref(), &format!("{} {side} strict", case.name));
        }
    }
}

#[test]
fn every_token_accuracy_equals_seqevals_and_the_confusion_adds_up_to_it() {
    let Some(golden) = golden() else { return };
    for case in &golden.cases {
        let (gold, predicted) = (rows(&case.y_true), rows(&case.y_pred));
        let accuracy = metrics::token_accuracy(&gold, &predicted).expect("lists that fit");
        match case.accuracy {
            None => assert_eq!(accuracy, None, "{}", case.name),
            Some(expected) => assert_close(accuracy.unwrap_or(f64::NAN), Some(expected), &case.name),
        }
        let confusion = metrics::confusion(&gold, &predicted).expect("lists that fit");
        let diagonal: usize = confusion.labels.iter().map(|l| confusion.count(l, l)).sum();
        let all: usize = confusion.counts.iter().flatten().sum();
        assert_eq!(all, gold.iter().map(Vec::len).sum::<usize>(), "{}", case.name);
        assert_close(diagonal as f64 / all as f64, case.accuracy, &case.name);
    }
}
