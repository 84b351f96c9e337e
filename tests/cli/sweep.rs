//! `sweep`: varied runs, hopeless ones stopped early, one table at the end.

use std::fs;

use serde_json::Value;

use crate::{arg, ok, refused, synthesise};

#[test]
fn a_sweep_stops_the_hopeless_run_names_the_best_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (data, runs) = (folder.path().join("data"), folder.path().join("runs"));
    synthesise(&data, 24);
    let args = [
        "sweep",
        "--name",
        "rates",
        "--output-dir",
        arg(&runs),
        "--vary",
        "lr=1e-9 3e-3",
        "--halving",
        "2",
        "--first-rung",
        "1",
        "--",
        "--data",
        arg(&data),
        "--scratch-hidden",
        "16",
        "--scratch-layers",
        "1",
        "--scratch-heads",
        "2",
        "--scratch-vocab",
        "400",
        "--epochs",
        "3",
        "--batch-size",
        "4",
        "--merge-amounts",
        "--checkpoint-metric",
        "accuracy",
        "--early-stopping-patience",
        "0",
        "--threads",
        "1",
    ];
    let table = ok(&args);
    let record = || -> Value {
        serde_json::from_str(&fs::read_to_string(runs.join("rates/sweep.json")).unwrap()).unwrap()
    };
    let first = record();
    assert_eq!(first["winner"], "rates-02", "{table}");
    assert_eq!(first["trials"][0]["status"], "stopped after epoch 1");
    assert_eq!((&first["trials"][0]["epochs"], &first["trials"][1]["epochs"]), (&1.into(), &3.into()));
    assert!(table.contains("rates-02 (best)") && table.contains("report.html"), "{table}");
    let results = fs::read_to_string(runs.join("rates/RESULTS.md")).unwrap();
    assert!(results.contains("## Trials") && results.contains("## The runs side by side"), "{results}");

    let weights = runs.join("rates/rates-02/best/model.safetensors");
    let before = fs::metadata(&weights).unwrap().modified().unwrap();
    ok(&args);
    assert_eq!(
        fs::metadata(&weights).unwrap().modified().unwrap(),
        before,
        "a finished run was trained again"
    );
    assert_eq!(record(), first);
}

#[test]
fn a_wrong_value_is_found_before_anything_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let (data, runs) = (folder.path().join("data"), folder.path().join("runs"));
    synthesise(&data, 6);
    let with = |vary: &str| {
        let args = [
            "sweep",
            "--name",
            "s",
            "--output-dir",
            arg(&runs),
            "--vary",
            vary,
            "--",
            "--data",
            arg(&data),
            "--scratch-hidden",
            "16",
            "--scratch-heads",
            "2",
        ];
        refused(&args, 2)
    };
    assert!(with("lr=1e-3 fast").contains("fast"));
    assert!(with("colour=red").contains("--colour"));
    assert!(with("lr").contains("expected FLAG="));
    assert!(!runs.join("s").exists());
}
