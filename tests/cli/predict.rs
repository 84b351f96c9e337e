//! `predict` over many receipts: killed and resumed without a gap or a repeat, and never mixed with other work.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use layoutlm_tests::model::write_checkpoint;
use serde_json::Value;

use crate::{arg, cli, ok, refused, run, stderr};

struct Case {
    folder: tempfile::TempDir,
    receipts: usize,
}

impl Case {
    /// A small model's bundle and so many made-up receipts.
    fn new(receipts: usize) -> Self {
        let case = Self { folder: tempfile::tempdir().unwrap(), receipts };
        write_checkpoint(Path::new(&case.path("model")));
        ok(&["export", "--checkpoint", &case.path("model"), "--output", &case.path("bundle")]);
        let count = receipts.to_string();
        let none = ["--validation", "1", "--test", "1", "--merchants", "50"];
        let mut args = vec!["data", "synth", "--output", arg(case.folder.path()), "--train", &count];
        args.extend(none);
        ok(&args);
        case
    }

    fn path(&self, name: &str) -> String {
        arg(&self.folder.path().join(name)).to_string()
    }

    fn args(&self, output: &str) -> Vec<String> {
        let args = [
            "predict",
            "--model",
            &self.path("bundle"),
            "--input",
            &self.path("train.jsonl"),
            "--output",
            &self.path(output),
        ];
        args.map(String::from).to_vec()
    }

    fn start(&self, output: &str) -> Child {
        cli().args(self.args(output)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Runs until the part holds this many lines more, then sends a signal and gives the exit code.
    fn stop_after(&self, output: &str, lines: usize, signal: &str) -> Option<i32> {
        let part = self.path(&format!("{output}.part"));
        let count = || fs::read(&part).map_or(0, |bytes| bytes.iter().filter(|b| **b == b'\n').count());
        let wanted = count() + lines;
        let mut child = self.start(output);
        let begun = Instant::now();
        while count() < wanted {
            assert!(child.try_wait().unwrap().is_none(), "it was done before it could be stopped");
            assert!(begun.elapsed() < Duration::from_secs(120), "{} lines", count());
            sleep(Duration::from_millis(5));
        }
        let sent = std::process::Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        child.wait().unwrap().code()
    }

    fn keys(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(file)).unwrap();
        let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.map(|row| format!("{}#{}", row["image_id"], row["receipt_id"])).collect()
    }
}

#[test]
fn ten_thousand_receipts_survive_two_kills_and_a_torn_line_without_a_gap_or_a_repeat() {
    let case = Case::new(10_000);
    assert_eq!(case.stop_after("out.jsonl", 1500, "KILL"), None);
    assert_eq!(case.stop_after("out.jsonl", 1500, "KILL"), None);
    let part = case.path("out.jsonl.part");
    let torn = fs::read(&part).unwrap();
    fs::write(&part, &torn[..torn.len() - 7]).unwrap();
    assert_eq!(case.stop_after("out.jsonl", 500, "TERM"), Some(130));
    assert!(!fs::exists(case.path("out.jsonl")).unwrap());
    let args = case.args("out.jsonl");
    let output = run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let said = stderr(&output);
    assert!(output.status.success() && said.contains("receipts are labelled already"), "{said}");
    let keys = case.keys("out.jsonl");
    assert_eq!(keys, case.keys("train.jsonl"));
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), case.receipts);
    let whole = case.args("whole.jsonl");
    ok(&whole.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(
        fs::read(case.path("out.jsonl")).unwrap() == fs::read(case.path("whole.jsonl")).unwrap(),
        "lines differ"
    );
    let left: BTreeSet<_> =
        fs::read_dir(case.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains(".part")), "{left:?}");
}

#[test]
fn a_part_of_other_options_or_other_receipts_is_never_gone_on_with() {
    let case = Case::new(3000);
    case.stop_after("out.jsonl", 200, "KILL");
    let mut args = case.args("out.jsonl");
    args.push("--probabilities".into());
    let said = refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), 2);
    assert!(said.contains("out.jsonl.part was begun with another model, other options"), "{said}");
    // Other receipts under the same name: what is not theirs is not kept.
    let input = case.path("train.jsonl");
    let reversed: Vec<String> =
        fs::read_to_string(&input).unwrap().lines().rev().take(50).map(String::from).collect();
    fs::write(&input, reversed.join("\n")).unwrap();
    args.pop();
    ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(case.keys("out.jsonl"), case.keys("train.jsonl"));
}

#[test]
fn line_items_come_on_request_and_stdin_to_a_file_is_whole_or_not_there() {
    let case = Case::new(40);
    let mut args = case.args("out.jsonl");
    args.push("--line-items".into());
    ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let text = fs::read_to_string(case.path("out.jsonl")).unwrap();
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert!(first["line_items"].is_array() && first["arithmetic"]["outcome"].is_string());

    let input = fs::File::open(case.path("train.jsonl")).unwrap();
    let out = case.path("stdin.jsonl");
    let args = ["predict", "--model", &case.path("bundle"), "--input", "-", "--output", &out];
    assert!(cli().args(args).stdin(input).output().unwrap().status.success());
    assert_eq!(case.keys("stdin.jsonl"), case.keys("train.jsonl"));
}
