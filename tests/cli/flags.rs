//! Every flag of `train` once with a wrong value: one sentence, exit 2, nothing written.

use std::collections::BTreeSet;
use std::fs;

use layoutlm_tests::model::write_checkpoint;

use crate::{arg, cli, ok, refused, synthesise};

/// More than any count can be.
const HUGE: &str = "18446744073709551615";

/// Wrong values by flag, and what is said of them.
const WRONG: &[(&[&str], &str)] = &[
    (&["--config", "/no/such.toml"], "--config /no/such.toml"),
    (&["--data", "/no/such/data"], "/no/such/data: no such file or folder"),
    (&["--dynamo-table", "t"], "exclude each other"),
    (&["--region", "not a region"], "--region"),
    (&["--dataset-snapshot-load", "/no/such/snapshot"], "exclude each other"),
    (&["--skip-bad-lines=maybe"], "--skip-bad-lines"),
    (&["--validation-status", "MAYBE"], "--validation-status"),
    (&["--validation-status", "PENDING"], "wanted label status: PENDING"),
    (&["--receipt-allowlist-s3", "/no/such/file"], "--receipt-allowlist-s3 /no/such/file"),
    (&["--val-keys-s3", "file:///no/such/file"], "--val-keys-s3 file:///no/such/file"),
    (&["--no-frozen-val=maybe"], "--no-frozen-val"),
    (&["--split-by", "word"], "--split-by"),
    (&["--seed", "-1"], "--seed"),
    (&["--allowed-label", "NOPE"], "unknown label \"NOPE\""),
    (&["--allowed-label", "REFUND"], "no entity is left to learn"),
    (&["--merge-amounts=2"], "--merge-amounts"),
    (&["--merge-date-time=2"], "--merge-date-time"),
    (&["--merge-address-phone=2"], "--merge-address-phone"),
    (&["--label-merges", "[]"], "--label-merges"),
    (&["--label-merges", r#"{"A":["TAX"],"B":["TAX"]}"#], "contradictory merges: TAX"),
    (&["--label-merges", r#"{"A":["TAX"],"TAX":["TIP"]}"#], "contradictory merges: TAX would become A"),
    (&["--label-merges", r#"{"A":["TAXX"]}"#], "unknown label \"TAXX\""),
    (&["--merge-preset", "most"], "unknown merge preset \"most\""),
    (&["--o-entity-ratio", "0"], "--o-entity-ratio 0"),
    (&["--loader", "other"], "--loader"),
    (&["--granularity", "word"], "--granularity"),
    (&["--scope", "half"], "--scope"),
    (&["--window-size", "0"], "--window-size"),
    (&["--window-size", "10", "--window-stride", "11"], "stride 11"),
    (&["--item-window-augment=x"], "--item-window-augment"),
    (&["--item-window-augment", "--scope", "line_items"], "--item-window-augment with --scope line_items"),
    (&["--item-window-augment", "--item-window-size", "0"], "--item-window-size"),
    (&["--item-window-augment", "--item-window-stride", "0"], "--item-window-stride"),
    (&["--item-window-size", "0"], "--item-window-size/--item-window-stride 0/150"),
    (&["--item-window-stride", "999"], "--item-window-size/--item-window-stride 200/999"),
    (&["--window-size", HUGE], "must be at most 1000000"),
    (&["--reading-order", "zigzag"], "--reading-order"),
    (&["--decoding", "beam"], "--decoding"),
    (&["--pretrained", "/no/such/model"], "--pretrained /no/such/model"),
    (&["--pretrained", "microsoft/layoutlmv3-base"], "is a LayoutLMv3"),
    (&["--model-version", "v3"], "--model-version v3"),
    (&["--scratch-hidden", "10", "--scratch-heads", "3"], "--scratch-hidden 10"),
    (&["--scratch-hidden", "8", "--scratch-heads", "0"], "--scratch-heads"),
    (&["--scratch-hidden", "8", "--scratch-layers", "0"], "--scratch-layers"),
    (&["--scratch-hidden", "8", "--scratch-vocab", "9"], "--scratch-vocab 9"),
    (&["--scratch-hidden", HUGE], "must be at most 65536"),
    (&["--scratch-heads", "0"], "--scratch-heads 0: must be at least 1"),
    (&["--scratch-layers", "0"], "--scratch-layers 0: must be at least 1"),
    (&["--scratch-vocab", "1"], "--scratch-vocab 1: must be at least 300"),
    (&["--dropout", "1"], "--dropout 1"),
    (&["--freeze-embeddings=x"], "--freeze-embeddings"),
    (&["--freeze-layers", "99"], "--freeze-layers 99"),
    (&["--device", "gpu"], "expected auto, cpu, cuda, or cuda:n"),
    #[cfg(not(feature = "cuda"))]
    (&["--device", "cuda:1"], "built without CUDA"),
    (&["--precision", "int8"], "expected auto, fp32, tf32, bf16 or fp16"),
    (&["--precision", "bf16", "--device", "cpu"], "--precision bf16: the processor computes in fp32"),
    (&["--gradient-checkpointing=x"], "--gradient-checkpointing"),
    (&["--auto-batch=x"], "--auto-batch"),
    (&["--epochs", "0"], "--epochs 0"),
    (&["--epochs", "x"], "--epochs"),
    (&["--epochs", "4000000000"], "--epochs 4000000000: must be at most 100000"),
    (&["--epochs", HUGE], "must be at most 100000"),
    (&["--batch-size", "0"], "--batch-size 0"),
    (&["--batch-size", HUGE], "must be at most 1000000"),
    (&["--max-batch-tokens", "0"], "--max-batch-tokens 0"),
    (&["--max-batch-tokens", HUGE], "must be at most 1000000000"),
    (&["--group-by-length=x"], "--group-by-length"),
    (&["--pad-to-max-length=x"], "--pad-to-max-length"),
    (&["--gradient-accumulation-steps", "0"], "--gradient-accumulation-steps 0"),
    (&["--gradient-accumulation-steps", HUGE], "must be at most 1000000"),
    (&["--lr", "0"], "--lr 0"),
    (&["--lr", "NaN"], "--lr NaN"),
    (&["--warmup-ratio", "1.5"], "--warmup-ratio 1.5"),
    (&["--weight-decay", "-1"], "--weight-decay"),
    (&["--max-grad-norm", "0"], "--max-grad-norm 0"),
    (&["--max-grad-norm", "inf"], "--max-grad-norm inf"),
    (&["--layer-lr-decay", "1.5"], "--layer-lr-decay 1.5"),
    (&["--ema-decay", "1"], "--ema-decay 1"),
    (&["--label-smoothing", "1"], "--label-smoothing 1"),
    (&["--class-weights", "some"], "--class-weights"),
    (&["--class-weight-min", "0"], "--class-weight-min 0"),
    (&["--class-weight-max", "0.1"], "--class-weight-max 0.1"),
    (&["--product-detail-loss-weight", "0"], "--product-detail-loss-weight 0"),
    (&["--r-drop", "-1"], "--r-drop -1"),
    (&["--early-stopping-patience", "-1"], "--early-stopping-patience"),
    (&["--checkpoint-metric", "f2"], "--checkpoint-metric"),
    (&["--checkpoint-metric", "label_TIP_f1"], "--checkpoint-metric label_TIP_f1"),
    (&["--threads", "0"], "--threads 0"),
    (&["--threads", HUGE], "must be at most 1024"),
    (&["--output-s3-path", "s3://"], "--output-s3-path"),
    (&["--dynamo-source", "query"], "--dynamo-source query"),
    (&["--dynamo-concurrency", "0"], "--dynamo-concurrency"),
    (&["--dynamo-cache", "/dev/null"], "--dynamo-cache /dev/null"),
    (&["--cache-hours", "-1"], "--cache-hours -1"),
    (&["--refresh=x"], "--refresh"),
    (&["--no-job-records=x"], "--no-job-records"),
    (&["--no-spot-watch=x"], "--no-spot-watch"),
    (&["--resume-from-s3", "/no/such/run"], "--resume-from-s3 /no/such/run"),
    (&["--keep-checkpoints", "0"], "--keep-checkpoints 0"),
    (&["--keep-checkpoints", HUGE], "must be at most 1000000"),
    (&["--no-eval-heldout-windowed=x"], "--no-eval-heldout-windowed"),
    (&["--export-onnx=x"], "--export-onnx"),
    (&["--export-onnx", "--onnxruntime", "/no/such/library.so"], "/no/such/library.so"),
    (&["--onnxruntime", "/no/such/library.so"], "/no/such/library.so"),
    (&["--dataset-snapshot-save", "/proc/no/such"], "/proc/no/such"),
];

/// Wrong values of the flags that `data snapshot` shares with `train`.
const WRONG_FOR_SNAPSHOTS: &[(&[&str], &str)] = &[
    (&["--allowed-label", "REFUND"], "no entity is left to learn"),
    (&["--o-entity-ratio", "0"], "--o-entity-ratio 0: must be above 0"),
    (&["--window-size", "0"], "--window-size/--window-stride 0/150"),
    (&["--item-window-size", "0"], "--item-window-size/--item-window-stride 0/150"),
    (&["--scratch-layers", "0"], "--scratch-layers 0: must be at least 1"),
    (&["--dropout", "5"], "--dropout 5: must be at least 0 and below 1"),
    (&["--freeze-layers", "99"], "--freeze-layers 99: the model has 2 encoder layers"),
    (&["--freeze-layers", "4", "--scratch-hidden", "8"], "--freeze-layers 4: the model has 3 encoder layers"),
    (&["--dynamo-source", "query"], "--dynamo-source query"),
    (&["--cache-hours", "-1"], "--cache-hours -1"),
    (&["--dynamo-table", "t"], "exclude each other"),
];

#[test]
fn every_flag_refuses_a_wrong_value_with_one_sentence_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| arg(&folder.path().join(name)).to_string();
    fs::create_dir(path("model")).unwrap();
    write_checkpoint(&folder.path().join("model"));
    synthesise(&folder.path().join("data"), 8);
    let (data, runs, model) = (path("data"), path("runs"), path("model"));
    let before = listing(folder.path());
    for (flags, expected) in WRONG {
        let mut args = vec!["train", "--job-name", "wrong", "--output-dir", &runs];
        for (flag, value) in [("--pretrained", &model), ("--data", &data)] {
            if flags[0] != flag {
                args.extend([flag, value]);
            }
        }
        args.extend(*flags);
        said_in_one_sentence(&args, expected);
        assert_eq!(listing(folder.path()), before, "{flags:?} wrote something");
    }
    let base = ["train", "--data", &data, "--pretrained", &model];
    for (flags, expected) in [
        (["--job-name", "../x", "--output-dir", &runs], "--job-name"),
        (["--job-name", "x", "--output-dir", &path("data/train.jsonl")], "--output-dir"),
    ] {
        let said = refused(&[base.as_slice(), &flags].concat(), 2);
        assert!(said.contains(expected), "{said}");
        assert_eq!(listing(folder.path()), before, "{flags:?} wrote something");
    }
}

#[test]
fn a_snapshot_refuses_what_training_would_refuse_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| arg(&folder.path().join(name)).to_string();
    fs::create_dir(path("model")).unwrap();
    write_checkpoint(&folder.path().join("model"));
    synthesise(&folder.path().join("data"), 8);
    let (data, model, frozen) = (path("data"), path("model"), path("frozen"));
    let before = listing(folder.path());
    for (flags, expected) in WRONG_FOR_SNAPSHOTS {
        let base = ["data", "snapshot", "--data", &data, "--pretrained", &model, "--output", &frozen];
        said_in_one_sentence(&[base.as_slice(), flags].concat(), expected);
        assert_eq!(listing(folder.path()), before, "{flags:?} wrote something");
    }
}

/// Exit 2, with one error that ends what is said.
fn said_in_one_sentence(args: &[&str], expected: &str) {
    let said = refused(args, 2);
    let error: Vec<&str> = said.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_eq!(error.len(), 1, "{args:?}: {said}");
    assert!(error[0].contains(expected), "{args:?}: {said}");
    assert_eq!(said.lines().last(), Some(error[0]), "{args:?}: {said}");
}

#[test]
fn no_flag_is_left_out_above() {
    let help = ok(&["train", "--help"]);
    let flags: BTreeSet<&str> = help
        .lines()
        .filter_map(|l| l.trim_start().strip_prefix("--"))
        .map(|l| l.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap())
        .collect();
    let tried: BTreeSet<&str> = WRONG
        .iter()
        .flat_map(|(flags, _)| flags.iter())
        .filter_map(|f| f.strip_prefix("--"))
        .map(|f| f.split('=').next().unwrap())
        .chain(["job-name", "output-dir"])
        .collect();
    let missing: Vec<_> = flags.difference(&tried).collect();
    assert!(flags.len() > 50 && missing.is_empty(), "no wrong value is tried for {missing:?}");
}

#[test]
fn a_flag_the_environment_sets_is_checked_like_one_that_was_typed() {
    let output = cli()
        .args(["train", "--job-name", "x", "--data", "y"])
        .env("LAYOUTLM_EPOCHS", "many")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--epochs"));
}

fn listing(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().flatten() {
            names.push(entry.path().display().to_string());
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    names.sort();
    names
}
