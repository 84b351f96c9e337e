//! What a training run leaves behind.

use std::fs;

use layoutlm_tests::model::write_checkpoint;
use serde_json::Value;

use crate::{arg, cli, ok, refused, run, small_run, stderr, synthesise};

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

/// The command of November 2025 with `--data` in place of the table; the model comes from the Hugging Face cache.
#[test]
fn the_seed_command_runs_word_for_word_and_is_stamped_not_comparable() {
    let folder = tempfile::tempdir().unwrap();
    let hub = folder.path().join("hf/hub/models--microsoft--layoutlm-base-uncased");
    write_checkpoint(&hub.join("snapshots/1"));
    fs::create_dir_all(hub.join("refs")).unwrap();
    fs::write(hub.join("refs/main"), "1").unwrap();
    synthesise(&folder.path().join("data"), 24);
    let command = "train --job-name receipts-2025-11-13-0200-validate --data data/train.jsonl --epochs 3 \
        --batch-size 64 --lr 6e-5 --warmup-ratio 0.2 --label-smoothing 0.1 --o-entity-ratio 2.0 --merge-amounts \
        --allowed-label MERCHANT_NAME --allowed-label PHONE_NUMBER --allowed-label ADDRESS_LINE --allowed-label DATE \
        --allowed-label TIME --allowed-label PRODUCT_NAME --allowed-label AMOUNT";
    let output = cli()
        .args(command.split_whitespace())
        .env("HF_HOME", folder.path().join("hf"))
        .env_remove("HF_HUB_CACHE")
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("warning: no frozen validation split"), "{said}");
    let record = json(&folder.path().join("runs/receipts-2025-11-13-0200-validate/run.json"));
    assert_eq!(record["comparability"]["comparable"], false);
    assert_eq!(record["epoch_metrics"].as_array().unwrap().len(), 3);
    assert_eq!(record["training_config"]["label_smoothing"], 0.1);
    assert_eq!(record["config"]["asked"]["lr"], 6e-5);
    assert_eq!(record["num_labels"], 15);
    assert!(record["loader"].as_str().unwrap().starts_with("top-left geometry"));
}

#[test]
fn a_config_file_is_taken_flags_win_and_what_ran_is_printed_recorded_and_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let (data, runs) = (folder.path().join("data"), folder.path().join("runs"));
    synthesise(&data, 12);
    let file = folder.path().join("run.toml");
    let text = format!(
        "job_name = \"first\"\ndata = [{:?}]\noutput_dir = {:?}\nepochs = 5\nbatch-size = 4\nlr = 1e-3\n\
         merge_amounts = true\nthreads = 1\nscratch_hidden = 16\nscratch_layers = 1\nscratch_heads = 2\n\
         scratch_vocab = 400\nema_decay = 0.9\n",
        arg(&data),
        arg(&runs)
    );
    fs::write(&file, text).unwrap();
    let output = run(&["train", "--config", arg(&file), "--epochs", "2"]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("epochs = 2  # flag") && said.contains("batch-size = 4  # file"), "{said}");
    assert!(said.contains("warmup-ratio = 0.1\n"), "{said}");
    let first = json(&runs.join("first/run.json"));
    assert_eq!(first["config"]["asked"]["epochs"], 2);
    assert_eq!(first["epoch_metrics"].as_array().unwrap().len(), 2);

    let record = runs.join("first/run.json");
    ok(&["train", "--config", arg(&record), "--job-name", "second"]);
    let mut second = json(&runs.join("second/run.json"));
    second["config"]["asked"]["job-name"] = "first".into();
    assert_eq!(second["config"]["asked"], first["config"]["asked"]);
    let weights = |name: &str| fs::read(runs.join(name).join("best/model.safetensors")).unwrap();
    assert_eq!(weights("first"), weights("second"));

    fs::write(&file, "epoch = 3\n").unwrap();
    let said = refused(&["train", "--job-name", "x", "--config", arg(&file)], 2);
    assert!(said.contains("there is no option --epoch;"), "{said}");
    fs::write(&file, "epochs = \"many\"\n").unwrap();
    let said = refused(&["train", "--job-name", "x", "--config", arg(&file)], 2);
    assert!(said.contains("'many' for '--epochs"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_wrong_value_of_a_file_is_told_with_the_file_unless_a_flag_replaces_it() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("wrong.toml"));
    synthesise(&data, 8);
    let base = ["train", "--job-name", "x", "--scratch-hidden", "8", "--data", arg(&data), "--config"];
    let said_of = |text: &str, more: &[&str]| {
        fs::write(&file, text).unwrap();
        let said = refused(&[base.as_slice(), &[arg(&file)], more].concat(), 2);
        said.lines().last().unwrap().to_string()
    };
    let named = format!("error: --config {}: ", arg(&file));
    for (text, expected) in [
        ("epochs = [1, 2]", "epochs: 2 values, but --epochs takes one"),
        ("lr = []", "lr: 0 values, but --lr takes one"),
        ("data = [[\"a\", \"b\"]]", "data: [[\"a\",\"b\"]] is no option value"),
        ("val_keys = \"a\"\nval_keys_s3 = \"b\"", "--val-keys-s3 is given twice"),
        ("epochs = \"many\"", "invalid value 'many' for '--epochs <EPOCHS>'"),
        ("merge_amounts = \"maybe\"", "invalid value 'maybe' for '--merge-amounts"),
        ("epochs = 0", "--epochs 0: must be at least 1"),
        ("window_size = 10", "--window-size/--window-stride 10/150"),
        ("freeze_layers = 9", "--freeze-layers 9: the model has 3 encoder layers"),
    ] {
        let said = said_of(text, &[]);
        assert!(said.starts_with(&named) && said.contains(expected), "{text}: {said}");
    }
    let said = said_of("epochs = 3", &["--epochs", "0"]);
    assert_eq!(said, "error: --epochs 0: must be at least 1");
}

#[test]
fn a_record_is_its_own_config_whatever_source_the_environment_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    synthesise(&path("data"), 8);
    let (data, runs) = (path("data"), path("runs"));
    let sources = [("DYNAMO_TABLE_NAME", "receipts"), ("LAYOUTLM_DATASET_SNAPSHOT_LOAD", "/no/such")];
    let mut args = small_run(arg(&data), arg(&runs));
    args.extend(["--early-stopping-patience", "1"]);
    let output = cli().args(&args).envs(sources).env("LAYOUTLM_CONFIG", "").output().unwrap();
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("dynamo-table = ") && !said.contains("dataset-snapshot-load = "), "{said}");
    let first = json(&runs.join("small/run.json"));
    let asked = &first["config"]["asked"];
    assert_eq!(asked["data"], serde_json::json!([arg(&data)]));
    assert_eq!((&asked["dynamo-table"], &asked["dataset-snapshot-load"]), (&Value::Null, &Value::Null));
    assert_eq!(first["data_config"]["dynamo_table_name"], Value::Null);

    // Again, with the table still named by the environment: it weighs less than the file's data.
    let record = runs.join("small/run.json");
    let again = ["train", "--config", arg(&record), "--job-name", "again"];
    let output = cli().args(again).env("DYNAMO_TABLE_NAME", "receipts").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let mut second = json(&runs.join("again/run.json"));
    second["config"]["asked"]["job-name"] = "small".into();
    assert_eq!(&second["config"]["asked"], asked);

    // Two that say something of this run still exclude each other.
    let output = cli().args(again).env("LAYOUTLM_DATASET_SNAPSHOT_LOAD", "/no/such").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("--data and --dataset-snapshot-load exclude each other"), "{said}");
}

#[test]
fn what_is_logged_and_warned_of_has_no_colour_codes_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    synthesise(&path("data"), 8);
    let (data, runs, frozen) = (path("data"), path("runs"), path("frozen"));
    let mut args = small_run(arg(&data), arg(&runs));
    args.extend(["--dataset-snapshot-save", arg(&frozen), "--precision", "bf16"]);
    let output = cli().args(&args).env("RUST_LOG", "layoutlm_trainer=info").output().unwrap();
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the encoded data set is frozen") && !said.contains('\u{1b}'), "{said}");
    // The device is auto, and this program knows no card.
    #[cfg(not(feature = "cuda"))]
    assert!(said.contains("warning: --precision bf16 is for a card, and none was found"), "{said}");
}

#[test]
fn a_loss_that_is_not_finite_exits_1_with_the_batch_saved() {
    let folder = tempfile::tempdir().unwrap();
    let (data, runs) = (folder.path().join("data"), folder.path().join("runs"));
    synthesise(&data, 12);
    let mut args = small_run(arg(&data), arg(&runs));
    let at = args.iter().position(|a| *a == "--lr").unwrap();
    args.drain(at..at + 2);
    args.extend(["--lr", "1e38", "--warmup-ratio", "0"]);
    let said = refused(&args, 1);
    assert!(said.lines().last().unwrap().contains("the loss is"), "{said}");
    let saved =
        fs::read_dir(runs.join("small")).unwrap().flatten().map(|e| e.file_name().into_string().unwrap());
    assert_eq!(saved.filter(|n| n.starts_with("not-finite-step-")).count(), 1);
    assert_eq!(json(&runs.join("small/run.json"))["status"], "failed");
}

#[test]
fn export_onnx_leaves_a_bundle_of_the_best_checkpoint_that_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let (data, runs) = (folder.path().join("data"), folder.path().join("runs"));
    synthesise(&data, 12);
    let mut args = small_run(arg(&data), arg(&runs));
    args.push("--export-onnx");
    ok(&args);
    let bundle = runs.join("small/bundle");
    ok(&["verify", arg(&bundle)]);
    let manifest = fs::read_to_string(bundle.join("manifest.json")).unwrap();
    let fingerprint = json(&runs.join("small/run.json"))["encoding_fingerprint"].clone();
    assert!(manifest.contains(fingerprint.as_str().unwrap()));
}

#[test]
fn a_run_elsewhere_is_resumed_from_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (data, runs, other) =
        (folder.path().join("data"), folder.path().join("runs"), folder.path().join("other"));
    synthesise(&data, 12);
    ok(&small_run(arg(&data), arg(&runs)));
    let source = format!("file://{}", arg(&runs.join("small")));
    let mut args = small_run(arg(&data), arg(&other));
    args.extend(["--resume-from-s3", &source]);
    let output = run(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("going on from step"), "{}", stderr(&output));
    let weights = |runs: &std::path::Path| fs::read(runs.join("small/best/model.safetensors")).unwrap();
    assert_eq!(weights(&runs), weights(&other));
}
