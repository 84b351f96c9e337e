//! Bringing data in and freezing it, from the command line.

use std::fs;

use serde_json::{Value, json};

use crate::{arg, ok, refused, run, small_run, stderr, synthesise};

fn lines(path: &std::path::Path) -> usize {
    fs::read_to_string(path).unwrap().lines().count()
}

/// A receipt in CORD's published form.
fn cord(name: &str) -> Value {
    let word = |text: &str, x: i32, y: i32| {
        json!({ "text": text, "is_key": 0, "row_id": y,
                "quad": { "x1": x, "y1": y, "x2": x + 40, "y2": y, "x3": x + 40, "y3": y + 10, "x4": x, "y4": y + 10 } })
    };
    json!({ "meta": { "image_size": { "width": 200, "height": 300 }, "image_id": name },
            "valid_line": [
                { "category": "menu.nm", "words": [word("MILK", 10, 10)], "group_id": 1 },
                { "category": "menu.price", "words": [word("4.50", 100, 10)], "group_id": 1 },
                { "category": "total.total_price", "words": [word("4.50", 100, 100)], "group_id": 2 }] })
}

#[test]
fn published_layouts_and_jsonl_files_are_imported_together_into_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    synthesise(&path("data"), 10);
    for (part, count) in [("train", 3), ("test", 2)] {
        fs::create_dir_all(path("cord").join(part).join("json")).unwrap();
        for i in 0..count {
            let file = path("cord").join(part).join(format!("json/receipt_{i:05}.json"));
            fs::write(file, cord(&i.to_string()).to_string()).unwrap();
        }
    }
    let (cord, file, out) = (path("cord"), path("data/train.jsonl"), path("all"));
    let args = ["data", "import", "--data", arg(&cord), "--data", arg(&file), "--output", arg(&out)];
    assert_eq!(ok(&args).trim(), arg(&out));
    assert_eq!((lines(&out.join("train.jsonl")), lines(&out.join("test.jsonl"))), (13, 2));
    assert!(refused(&args, 2).contains("exists already"));
    let again = path("again");
    let twice = ["data", "import", "--data", arg(&file), "--data", arg(&file), "--output", arg(&again)];
    assert!(refused(&twice, 2).contains("and again in"), "the same receipts were taken twice");
    assert!(!again.exists());
}

#[test]
fn several_data_paths_train_together_and_leakage_is_told_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    synthesise(&path("data"), 12);
    // A near repeat of a validation receipt under another name, in a file of its own.
    let text = fs::read_to_string(path("data/validation.jsonl")).unwrap();
    let mut repeat: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    repeat["image_id"] = "repeat".into();
    fs::write(path("more.jsonl"), format!("{repeat}\n")).unwrap();
    let (data, more, runs) = (path("data"), path("more.jsonl"), path("runs"));
    let mut args = small_run(arg(&data), arg(&runs));
    args.extend(["--data", arg(&more)]);
    let output = run(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    let (leak, table) = (said.find("1 have a near duplicate there").unwrap(), said.find(" epoch ").unwrap());
    assert!(leak < table, "{said}");
    let record: Value =
        serde_json::from_str(&fs::read_to_string(runs.join("small/run.json")).unwrap()).unwrap();
    assert_eq!(record["split_metadata"]["num_train_receipts"], 13);
    assert_eq!(record["leakage"]["near_duplicates"][0]["train"], "repeat#00001");
}

#[test]
fn a_validation_part_that_shares_a_receipt_with_training_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (data, runs) = (folder.path().join("data"), folder.path().join("runs"));
    synthesise(&data, 8);
    let first = fs::read_to_string(data.join("train.jsonl")).unwrap().lines().next().unwrap().to_string();
    let mut held_out = fs::read_to_string(data.join("validation.jsonl")).unwrap();
    held_out.push_str(&first);
    fs::write(data.join("validation.jsonl"), held_out).unwrap();
    let said = refused(&small_run(arg(&data), arg(&runs)), 2);
    assert!(said.contains("1 receipt(s) are both in the training and the validation set"), "{said}");
    assert!(!runs.exists());
}

#[test]
fn key_files_freeze_the_validation_side_and_limit_the_receipts() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    synthesise(&path("data"), 10);
    let receipts: Vec<Value> = fs::read_to_string(path("data/train.jsonl"))
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let key =
        |r: &Value| format!("{}#{:05}", r["image_id"].as_str().unwrap(), r["receipt_id"].as_u64().unwrap());
    let keys: Vec<String> = receipts.iter().map(key).collect();
    fs::write(path("val.json"), json!({ "val_receipt_keys": keys[..2] }).to_string()).unwrap();
    fs::write(path("allow.json"), json!(keys[..7]).to_string()).unwrap();
    let (file, runs) = (path("data/train.jsonl"), path("runs"));
    let uri = format!("file://{}", arg(&path("val.json")));
    let allow = path("allow.json");
    let mut args = small_run(arg(&file), arg(&runs));
    args.extend(["--val-keys-s3", &uri, "--receipt-allowlist-s3", arg(&allow)]);
    let output = run(&args);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("receipts left out: 3 not in the allow list"), "{said}");
    assert!(!said.contains("warning: no frozen"), "{said}");
    let record: Value =
        serde_json::from_str(&fs::read_to_string(runs.join("small/run.json")).unwrap()).unwrap();
    let split = &record["split_metadata"];
    assert_eq!((&split["num_train_receipts"], &split["num_val_receipts"]), (&json!(5), &json!(2)));
    assert_eq!(split["random_seed"], 0);
    assert_eq!(record["comparability"]["comparable"], true);
    assert_eq!(record["comparability"]["val_split_source"], "frozen_val_keys_s3");
    assert_eq!(record["comparability"]["val_keys_s3"].as_str(), Some(uri.as_str()));
}

#[test]
fn a_snapshot_is_named_by_its_content_trains_and_refuses_other_windows() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    synthesise(&path("data"), 10);
    let (data, frozen, runs) = (path("data"), path("frozen"), path("runs"));
    let snapshot = |more: &[&str]| {
        let mut args = vec!["data", "snapshot", "--data", arg(&data), "--output", arg(&frozen)];
        args.extend(["--merge-amounts", "--scratch-hidden", "16", "--scratch-vocab", "400"]);
        args.extend(more);
        ok(&args).trim().to_string()
    };
    let first = snapshot(&[]);
    assert_eq!(snapshot(&[]), first);
    assert_ne!(snapshot(&["--window-stride", "100"]), first);
    let mut args = small_run(arg(&data), arg(&runs));
    let at = args.iter().position(|a| *a == "--data").unwrap();
    args.drain(at..at + 2);
    args.extend(["--dataset-snapshot-load", &first]);
    ok(&args);
    args.extend(["--window-stride", "100", "--job-name", "other"]);
    let at = args.iter().position(|a| *a == "--job-name").unwrap();
    args.drain(at..at + 2);
    let said = refused(&args, 2);
    assert!(said.contains("encoded with fingerprint"), "{said}");
}
