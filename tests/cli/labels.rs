//! The same labels on every word, whoever runs the network.

use std::fs;

use layoutlm_tests::model::write_checkpoint;
use layoutlm_tests::shared;
use serde_json::Value;

use crate::{arg, ok, refused};

fn labels(model: &str, input: &str) -> Vec<String> {
    let out = ok(&["predict", "--model", model, "--input", input]);
    let rows = out.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    rows.flat_map(|r| r["words"].as_array().unwrap().clone()).map(|w| w["label"].to_string()).collect()
}

#[test]
fn checkpoint_and_bundle_label_real_receipts_alike_and_verify_repeats_it() {
    let Some(data) = shared("data/wildreceipt/validation.jsonl") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| arg(&folder.path().join(name)).to_string();
    fs::create_dir(path("model")).unwrap();
    write_checkpoint(&folder.path().join("model"));
    ok(&["export", "--checkpoint", &path("model"), "--output", &path("bundle"), "--data", arg(&data)]);
    let trained = labels(&path("model"), arg(&data));
    assert!(trained.len() > 1000, "{} words", trained.len());
    assert_eq!(trained, labels(&path("bundle"), arg(&data)));
    ok(&["verify", &path("bundle"), "--data", arg(&data)]);

    let evaluate = |model: &str| -> Value {
        let args = ["evaluate", "--model", model, "--data", arg(&data), "--output", "json"];
        serde_json::from_str(&ok(&args)).unwrap()
    };
    let (checkpoint, bundle) = (evaluate(&path("model")), evaluate(&path("bundle")));
    assert_eq!(checkpoint["confusion"], bundle["confusion"]);
    assert_eq!(checkpoint["f1"], bundle["f1"]);
}

#[test]
fn an_export_beyond_its_limit_exits_3_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| arg(&folder.path().join(name)).to_string();
    fs::create_dir(path("model")).unwrap();
    write_checkpoint(&folder.path().join("model"));
    let bundle = path("bundle");
    let said =
        refused(&["export", "--checkpoint", &path("model"), "--output", &bundle, "--max-logit-diff", "0"], 3);
    assert!(said.contains("|Δlogit|"), "{said}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["model"], "something was left behind");
}

#[test]
fn a_bundle_with_one_byte_changed_is_refused_by_the_files_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| arg(&folder.path().join(name)).to_string();
    fs::create_dir(path("model")).unwrap();
    write_checkpoint(&folder.path().join("model"));
    ok(&["export", "--checkpoint", &path("model"), "--output", &path("bundle")]);
    for file in ["model.onnx", "tokenizer.json", "config.json", "probe.safetensors"] {
        let file_path = path(&format!("bundle/{file}"));
        let good = fs::read(&file_path).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        fs::write(&file_path, bad).unwrap();
        let said = refused(&["verify", &path("bundle")], 2);
        assert!(said.contains(file), "{file}: {said}");
        fs::write(&file_path, good).unwrap();
    }
    ok(&["verify", &path("bundle")]);
}
