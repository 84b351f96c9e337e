//! What is left of a run for people, and runs side by side.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{arg, ok, refused, run, small_run, stderr, synthesise};

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Trains a small run called `name` and gives its folder.
fn train(folder: &Path, data: &str, name: &str, more: &[&str]) -> PathBuf {
    let (data, runs) = (folder.join(data), folder.join("runs"));
    let mut args = small_run(arg(&data), arg(&runs));
    let place = args.iter().position(|a| *a == "small").unwrap();
    args[place] = name;
    args.extend(more);
    let output = run(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    runs.join(name)
}

#[test]
fn a_run_leaves_its_results_a_page_events_predictions_and_a_fitted_temperature() {
    let folder = tempfile::tempdir().unwrap();
    synthesise(&folder.path().join("data"), 24);
    let dir = train(folder.path(), "data", "first", &[]);

    let results = fs::read_to_string(dir.join("RESULTS.md")).unwrap();
    for title in [
        "What came out",
        "Results by epoch",
        "Results by label",
        "Mistakes",
        "Confidence",
        "Comparison to previous runs",
        "Data set analysis",
        "Label quality",
        "Configuration",
        "Time and machine",
        "Artefacts",
    ] {
        assert!(results.contains(&format!("\n## {title}\n")), "{title}: {results}");
    }
    let page = fs::read_to_string(dir.join("report.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("<script") && !page.contains("https://"));

    let events = fs::read_dir(dir.join("tensorboard")).unwrap().count();
    let shown = fs::read_dir(dir.join("receipts/epoch-3")).unwrap().count();
    assert_eq!((events, shown), (1, 5));
    let one = fs::read_dir(dir.join("receipts/epoch-3")).unwrap().next().unwrap().unwrap().path();
    let word = &json(&one)["original"]["predictions"][0];
    assert!(word["all_class_probabilities"].as_object().unwrap().len() > 3, "{word}");

    let evaluation = json(&dir.join("evaluation.json"));
    let fitted = evaluation["calibration"]["fitted_temperature"].as_f64().unwrap();
    let stored = json(&dir.join("best/encoding.json"))["temperature"].as_f64().unwrap();
    assert!((fitted - stored).abs() < 1e-6 && stored != 1.0, "{fitted} {stored}");
    assert_eq!(json(&dir.join("run.json"))["encoding"]["temperature"].as_f64(), Some(stored));

    let entry = &json(&dir.join("epochs.json"))["epochs"][2];
    assert_eq!(entry["epoch"], 3);
    assert!(entry["diagnostics"]["token_counts"]["total"].as_u64().unwrap() > 100);
    assert!(entry["avg_inference_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_next_run_is_compared_with_the_first_but_never_with_one_on_other_receipts() {
    let folder = tempfile::tempdir().unwrap();
    synthesise(&folder.path().join("data"), 24);
    ok(&[
        "data",
        "synth",
        "--seed",
        "7",
        "--output",
        arg(&folder.path().join("other")),
        "--train",
        "24",
        "--validation",
        "6",
        "--test",
        "0",
        "--merchants",
        "9",
    ]);
    train(folder.path(), "data", "first", &[]);
    train(folder.path(), "other", "elsewhere", &[]);
    let dir = train(folder.path(), "data", "second", &["--seed", "3"]);
    let runs = folder.path().join("runs");
    let compare = |names: &[&str], form: &str| {
        let mut args = vec!["runs", "compare"];
        args.extend(names);
        args.extend(["--output-dir", arg(&runs), "--output", form]);
        ok(&args)
    };

    let text = compare(&["first", "second"], "text");
    assert!(!text.contains("not comparable"), "{text}");
    let text = compare(&["first", "second", "elsewhere"], "text");
    assert!(text.contains("not comparable") && text.contains("validated on other receipts"), "{text}");
    let both: Value = serde_json::from_str(&compare(&["first", "elsewhere"], "json")).unwrap();
    assert_ne!(both["runs"][0]["comparable_set"], both["runs"][1]["comparable_set"]);
    assert!(compare(&["first", "second"], "markdown").starts_with("# Comparison of runs\n"));

    let results = fs::read_to_string(dir.join("RESULTS.md")).unwrap();
    let row = |name: &str| results.lines().find(|l| l.starts_with(&format!("| {name} |"))).unwrap();
    assert!(row("elsewhere").contains("not comparable") && !row("first").contains("not comparable"));

    let listed = ok(&["runs", "list", "--output-dir", arg(&runs)]);
    let names: Vec<&str> = listed.lines().skip(1).map(|l| l.split_whitespace().next().unwrap()).collect();
    assert_eq!(names, ["first", "elsewhere", "second"]);
    assert!(refused(&["runs", "compare", "first", "--output-dir", arg(&runs)], 2).contains("2 values"));
    assert!(refused(&["runs", "show", "nobody", "--output-dir", arg(&runs)], 2).contains("nobody"));

    fs::remove_file(dir.join("report.html")).unwrap();
    let written = ok(&["runs", "report", "second", "--output-dir", arg(&runs)]);
    assert!(written.contains("report.html") && dir.join("report.html").is_file());
}

#[test]
fn runs_of_the_python_trainer_are_listed_shown_and_compared() {
    let Some(runs) = layoutlm_tests::shared("fixtures/runs") else { return };
    let listed = ok(&["runs", "list", "--output-dir", arg(&runs), "--output", "json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let merged =
        listed.as_array().unwrap().iter().find(|r| r["job_name"] == "layoutlm-v1-fixture-merged").unwrap();
    assert!((merged["f1"].as_f64().unwrap() - 0.118_226_600_985_221_68).abs() < 1e-12);
    assert_eq!((&merged["best_epoch"], &merged["num_val_receipts"]), (&2.0.into(), &6.into()));
    let shown = ok(&["runs", "show", "layoutlm-v1-fixture-merged", "--output-dir", arg(&runs)]);
    assert!(shown.contains("0.1182"), "{shown}");
    let names = ["layoutlm-v1-fixture-merged", "layoutlm-v2-fixture-core"];
    let text = ok(&["runs", "compare", names[0], names[1], "--output-dir", arg(&runs)]);
    assert!(text.contains("not comparable"), "{text}");
}
