//! `data audit`: a review list, and an experiment that says what it is worth.

use std::fs;

use serde_json::Value;

use crate::{arg, ok, refused, synthesise};

#[test]
fn an_audit_ranks_contradicted_labels_counts_corrupted_ones_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let (data, output) = (folder.path().join("data"), folder.path().join("audit"));
    synthesise(&data, 24);
    let args = [
        "data",
        "audit",
        "--data",
        arg(&data),
        "--output",
        arg(&output),
        "--folds",
        "2",
        "--experiment-corrupt",
        "0.1",
        "--show",
        "5",
        "--",
        "--scratch-hidden",
        "16",
        "--scratch-layers",
        "1",
        "--scratch-heads",
        "2",
        "--scratch-vocab",
        "400",
        "--epochs",
        "2",
        "--lr",
        "1e-3",
        "--batch-size",
        "4",
        "--threads",
        "1",
    ];
    let list = ok(&args);
    assert_eq!(list.trim(), arg(&output.join("doubts.jsonl")));
    let read = |name: &str| fs::read_to_string(output.join(name)).unwrap();
    let column = |name: &str| -> Vec<f64> {
        let value = |l: &str| serde_json::from_str::<Value>(l).unwrap()[name].as_f64().unwrap();
        read("doubts.jsonl").lines().map(value).collect()
    };
    let (scores, evidence) = (column("score"), column("evidence"));
    assert!(!evidence.is_empty() && evidence.is_sorted_by(|a, b| a >= b), "{evidence:?}");
    assert!(scores.iter().all(|s| *s >= 0.0));
    let summary: Value = serde_json::from_str(&read("audit.json")).unwrap();
    let (wrong, experiment) = (summary["corrupted"].as_array().unwrap().len(), &summary["experiment"]);
    assert_eq!(experiment["corrupted"].as_u64(), Some(wrong as u64));
    assert_eq!(experiment["entities"].as_u64().unwrap().div_ceil(10) as usize, wrong);
    assert_eq!(summary["folds"].as_array().unwrap().len(), 2);
    let page = read("review.html");
    assert_eq!(page.matches("class=\"receipt\"").count(), 5.min(scores.len()));

    let trained = |fold: &str| fs::metadata(output.join("models").join(fold).join("best/model.safetensors"));
    let before = trained("fold-1").unwrap().modified().unwrap();
    let first = read("doubts.jsonl");
    ok(&args);
    assert_eq!(
        trained("fold-1").unwrap().modified().unwrap(),
        before,
        "the folds' models were trained again"
    );
    assert_eq!(read("doubts.jsonl"), first);
}

#[test]
fn wrong_flags_of_an_audit_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (data, output) = (folder.path().join("data"), folder.path().join("audit"));
    synthesise(&data, 6);
    let with = |more: &[&str]| {
        let mut args = vec!["data", "audit", "--data", arg(&data), "--output", arg(&output)];
        args.extend(more);
        refused(&args, 2)
    };
    let scratch = ["--", "--scratch-hidden", "16", "--scratch-heads", "2"];
    assert!(with(&[&["--folds", "1"][..], &scratch].concat()).contains("at least 2 folds"));
    assert!(with(&[&["--experiment-corrupt", "1.5"][..], &scratch].concat()).contains("below 1"));
    assert!(with(&["--", "--no-such-flag"]).contains("--no-such-flag"));
}
