//! `evaluate` and `data stats`: every figure asked for is there, and right for a case that can be counted by hand.

use std::fs;
use std::path::Path;

use layoutlm_tests::model::write_checkpoint;
use serde_json::{Value, json};

use crate::{arg, ok, refused, run, small_run, stderr, synthesise};

#[test]
fn evaluate_gives_every_label_the_model_knows_mistakes_calibration_intervals_and_parts() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (folder.path().join("data"), folder.path().join("model"));
    synthesise(&data, 6);
    fs::create_dir(&model).unwrap();
    write_checkpoint(&model);
    let args = ["evaluate", "--model", arg(&model), "--data", arg(&data), "--output", "json"];
    let scores: Value = serde_json::from_str(&ok(&args)).unwrap();
    for label in ["AMOUNT", "DATE", "MERCHANT_NAME"] {
        assert!(scores["labels"][label]["support"].is_u64(), "{label}: {}", scores["labels"]);
    }
    let interval = &scores["f1_interval"];
    let f1 = scores["f1"].as_f64().unwrap();
    assert!(interval["low"].as_f64().unwrap() <= f1 && f1 <= interval["high"].as_f64().unwrap());
    let errors = &scores["errors"]["total"];
    let gold: u64 = ["right", "boundary", "type", "boundary_and_type", "missed"]
        .iter()
        .map(|kind| errors[*kind].as_u64().unwrap())
        .sum();
    assert_eq!(gold, scores["report"]["micro"]["support"].as_u64().unwrap());
    let calibration = &scores["calibration"];
    assert!(calibration["fitted_nll"].as_f64().unwrap() < calibration["nll"].as_f64().unwrap());
    assert!(scores["held_out"]["diagnostics"]["top_token_confusions"].is_array());
    assert!(scores["slices"].as_array().unwrap().iter().all(|s| s["receipts"].as_u64().unwrap() < 6));

    let first = calibration["fitted_temperature"].as_f64().unwrap();
    let mut store = args.to_vec();
    store.push("--store-temperature");
    ok(&store);
    let again: Value = serde_json::from_str(&ok(&args)).unwrap();
    assert!((again["calibration"]["temperature"].as_f64().unwrap() - first).abs() < 1e-6);
    assert_eq!(again["f1"], scores["f1"], "a temperature changes no label");
}

/// One receipt whose words carry these labels and statuses.
fn receipt(labels: &[(&str, &str)]) -> String {
    let words: Vec<Value> = labels
        .iter()
        .enumerate()
        .map(|(i, (label, status))| {
            json!({"line_id": i, "word_id": 0, "text": "12", "box": [0, i, 5, i + 1], "label": label,
                "validation_status": status})
        })
        .collect();
    json!({"image_id": "r", "width": 100, "height": 100, "merchant": "Uno", "words": words}).to_string()
}

#[test]
fn data_stats_counts_merged_labels_with_their_parts_and_labels_by_status() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.jsonl");
    let labels = [
        ("LINE_TOTAL", "VALID"),
        ("LINE_TOTAL", "VALID"),
        ("TAX", "VALID"),
        ("DATE", "VALID"),
        ("ADDRESS_LINE", "NEEDS_REVIEW"),
        ("ADDRESS_LINE", "NEEDS_REVIEW"),
        ("ADDRESS_LINE", "INVALID"),
        ("ADDRESS_LINE", "VALID"),
        ("O", "VALID"),
    ];
    fs::write(&path, receipt(&labels) + "\n").unwrap();
    let args = ["data", "stats", "--data", arg(&path), "--output", "json"];
    let stats: Value = serde_json::from_str(&ok(&args)).unwrap();
    assert_eq!(
        stats["merged"][0],
        json!({"label": "AMOUNT", "valid": 3, "parts": [["LINE_TOTAL", 2], ["TAX", 1]]})
    );
    let address = stats["quality"].as_array().unwrap().iter().find(|q| q["label"] == "ADDRESS_LINE").unwrap();
    assert_eq!(address["by_status"], json!({"VALID": 1, "INVALID": 1, "NEEDS_REVIEW": 2}));
    assert_eq!(address["valid_share"], 0.25);
    assert_eq!(
        (&stats["words"], &stats["labelled_words"], &stats["merchants"]),
        (&9.into(), &8.into(), &1.into())
    );

    let text = ok(&args[..4]);
    assert!(text.contains("LINE_TOTAL 2 + TAX 1"), "{text}");
    assert!(text.contains("NEEDS_REVIEW") && text.contains("25.0 %"), "{text}");
    let missing = folder.path().join("none");
    assert!(refused(&["data", "stats", "--data", arg(&missing)], 2).contains("none"));
}

/// A file of receipts with every word rewritten.
fn rewrite(from: &Path, to: &Path, change: impl Fn(&mut Value)) {
    let text = fs::read_to_string(from).unwrap();
    let line = |line: &str| -> String {
        let mut receipt: Value = serde_json::from_str(line).unwrap();
        receipt["words"].as_array_mut().unwrap().iter_mut().for_each(&change);
        receipt.to_string() + "\n"
    };
    fs::write(to, text.lines().map(line).collect::<String>()).unwrap();
}

fn evaluate(model: &Path, data: &Path) -> (Value, String) {
    let output = run(&["evaluate", "--model", arg(model), "--data", arg(data), "--output", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    (serde_json::from_slice(&output.stdout).unwrap(), stderr(&output))
}

#[test]
fn evaluate_takes_labels_in_any_case_and_leaves_out_receipts_that_nobody_labelled() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    synthesise(&at("data"), 6);
    fs::create_dir(at("model")).unwrap();
    write_checkpoint(&at("model"));
    let test = at("data").join("test.jsonl");
    let (expected, said) = evaluate(&at("model"), &test);
    assert!(expected["report"]["micro"]["support"].as_u64().unwrap() > 0);
    assert!(!said.contains("left out"), "{said}");

    let lower = |word: &mut Value| word["label"] = word["label"].as_str().unwrap().to_lowercase().into();
    rewrite(&test, &at("lower.jsonl"), lower);
    assert_eq!(evaluate(&at("model"), &at("lower.jsonl")).0, expected);

    rewrite(&at("data/train.jsonl"), &at("bare.jsonl"), |word| word["label"] = Value::Null);
    let both = fs::read_to_string(&test).unwrap() + &fs::read_to_string(at("bare.jsonl")).unwrap();
    fs::write(at("both.jsonl"), both).unwrap();
    let (scores, said) = evaluate(&at("model"), &at("both.jsonl"));
    assert_eq!(scores, expected);
    assert!(said.contains("receipts left out: 6 without a label of status VALID"), "{said}");
    let (model, bare) = (at("model"), at("bare.jsonl"));
    let said = refused(&["evaluate", "--model", arg(&model), "--data", arg(&bare)], 2);
    assert!(said.contains("none of 6 receipts has a label of status VALID"), "{said}");
}

/// What `evaluate` says of a run's best checkpoint on `data` is what the run said of it.
fn as_in_training(run_dir: &Path, data: &Path) -> String {
    let text = fs::read_to_string(run_dir.join("evaluation.json")).unwrap();
    let trained: Value = serde_json::from_str(&text).unwrap();
    let (scores, said) = evaluate(run_dir, data);
    assert!(trained["report"]["micro"]["support"].as_u64().unwrap() > 0);
    for figure in ["report", "confusion", "slices"] {
        assert_eq!(scores[figure], trained[figure], "{figure} on {}", data.display());
    }
    let fitted = |of: &Value| of["calibration"]["fitted_nll"].as_f64().unwrap();
    assert!((fitted(&scores) - fitted(&trained)).abs() < 1e-5, "{} {}", fitted(&scores), fitted(&trained));
    said
}

#[test]
fn evaluate_counts_labels_of_the_status_that_the_models_run_learned_from() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    synthesise(&at("data"), 12);
    for name in ["data/train.jsonl", "data/validation.jsonl"] {
        rewrite(&at(name), &at(name), |word| word["validation_status"] = "PENDING".into());
    }
    let (data, runs) = (at("data"), at("runs"));
    let mut args = small_run(arg(&data), arg(&runs));
    args.extend(["--validation-status", "PENDING"]);
    ok(&args);
    let said = as_in_training(&at("runs/small"), &at("runs/small/validation.jsonl"));
    assert!(said.contains("labels of status PENDING count"), "{said}");
    as_in_training(&at("runs/small"), &at("data/validation.jsonl"));
}

#[test]
fn evaluate_places_receipts_as_the_run_did_that_reproduced_the_python_loader() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    synthesise(&at("data"), 12);
    let (data, runs) = (at("data"), at("runs"));
    let mut args = small_run(arg(&data), arg(&runs));
    args.extend(["--loader", "upstream"]);
    ok(&args);
    as_in_training(&at("runs/small"), &at("data/validation.jsonl"));
    as_in_training(&at("runs/small"), &at("runs/small/validation.jsonl"));
}
