//! What a training run leaves behind.

use std::fs;

use serde_json::Value;

use crate::{arg, ok, refused, run, small_run, stderr, synthesise};

fn json(path: &std::path::Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_run_records_its_epochs_keeps_its_best_and_can_be_scored_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, runs) = (folder.path().join("data"), folder.path().join("runs"));
    synthesise(&data, 24);
    let output = run(&small_run(arg(&data), arg(&runs)));
    assert!(output.status.success(), "{}", stderr(&output));
    let run_dir = runs.join("small");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), arg(&run_dir));

    let record = json(&run_dir.join("run.json"));
    assert_eq!(record["status"], "succeeded");
    assert_eq!(record["epoch_metrics"].as_array().unwrap().len(), 3);
    assert_eq!(record["label_list"][0], "O");
    assert_eq!(record["comparability"]["comparable"], true);
    let best = &record["best"];
    let highest = record["epoch_metrics"].as_array().unwrap().iter().map(|m| m["eval_f1"].as_f64().unwrap());
    assert_eq!(best["value"].as_f64(), highest.reduce(f64::max));

    let epochs = json(&run_dir.join("epochs.json"));
    assert_eq!(epochs["epochs"].as_array().unwrap().len(), 3);
    let state = json(&run_dir.join("best/trainer_state.json"));
    assert_eq!(state["global_step"], best["step"]);
    for file in ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "encoding.json"] {
        assert!(run_dir.join("best").join(file).is_file(), "best/{file}");
    }

    let scored = ok(&[
        "evaluate",
        "--model",
        arg(&run_dir),
        "--data",
        arg(&data),
        "--split",
        "validation",
        "--output",
        "json",
    ]);
    let scored: Value = serde_json::from_str(&scored).unwrap();
    assert_eq!(scored["f1"], best["value"], "best/ is not the checkpoint that was best");
    assert!(ok(&["runs", "list", "--output-dir", arg(&runs)]).contains("succeeded"));
    assert!(ok(&["runs", "show", "small", "--output-dir", arg(&runs)]).contains("best: checkpoint-"));
}

#[test]
fn a_random_split_warns_and_is_stamped_not_comparable() {
    let folder = tempfile::tempdir().unwrap();
    let (data, runs) = (folder.path().join("data"), folder.path().join("runs"));
    synthesise(&data, 12);
    let file = data.join("train.jsonl");
    let output = run(&small_run(arg(&file), arg(&runs)));
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("warning: no frozen validation split"), "{}", stderr(&output));
    let record = json(&runs.join("small/run.json"));
    assert_eq!(record["comparability"]["comparable"], false);
    assert_eq!(record["comparability"]["val_split_source"], "seeded_random_split");
}

#[test]
fn the_same_job_name_with_other_settings_is_refused_and_the_run_is_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let (data, runs) = (folder.path().join("data"), folder.path().join("runs"));
    synthesise(&data, 8);
    let mut args = small_run(arg(&data), arg(&runs));
    ok(&args);
    let before = fs::read(runs.join("small/best/model.safetensors")).unwrap();
    args.extend(["--weight-decay", "0.5"]);
    let said = refused(&args, 2);
    assert!(said.contains("--weight-decay: 0.01 then, 0.5 now"), "{said}");
    assert_eq!(fs::read(runs.join("small/best/model.safetensors")).unwrap(), before);
}
