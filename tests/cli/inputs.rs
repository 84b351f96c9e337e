//! Odd receipts and wrong flags: an exact result, or exit 2 with one sentence and nothing written.

use std::fs;

use layoutlm_tests::model::write_checkpoint;
use serde_json::{Value, json};

use crate::{arg, ok, refused, run, small_run, stderr};

struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("model")).unwrap();
        write_checkpoint(&folder.path().join("model"));
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        arg(&self.folder.path().join(name)).to_string()
    }

    /// Labels one line of JSON.
    fn predict(&self, line: &str) -> Value {
        fs::write(self.path("in.jsonl"), line).unwrap();
        let out = ok(&["predict", "--model", &self.path("model"), "--input", &self.path("in.jsonl")]);
        serde_json::from_str(&out).unwrap()
    }

    /// What is said of one line of JSON.
    fn refuse(&self, line: &str) -> String {
        fs::write(self.path("in.jsonl"), line).unwrap();
        let (input, output) = (self.path("in.jsonl"), self.path("out.jsonl"));
        let said =
            refused(&["predict", "--model", &self.path("model"), "--input", &input, "--output", &output], 2);
        assert!(!fs::exists(&output).unwrap(), "something was written");
        said
    }
}

fn receipt(words: Vec<Value>) -> String {
    json!({ "image_id": "a", "receipt_id": 1, "width": 1000, "height": 1000, "words": words }).to_string()
}

fn word(id: usize, text: &str, bbox: [f64; 4]) -> Value {
    json!({ "line_id": id / 5, "word_id": id, "text": text, "box": bbox })
}

#[test]
fn an_empty_receipt_has_no_words_and_no_entities() {
    let answer = Case::new().predict(&receipt(vec![]));
    assert_eq!(answer, json!({ "image_id": "a", "receipt_id": 1, "words": [], "entities": [] }));
}

#[test]
fn a_word_without_tokens_is_o_and_says_so() {
    let answer = Case::new().predict(&receipt(vec![word(0, "\u{200b}", [0.0, 0.0, 9.0, 9.0])]));
    let first = &answer["words"][0];
    assert_eq!((first["label"].as_str(), first["confidence"].as_f64()), (Some("O"), Some(0.0)));
    assert_eq!(first["no_tokens"], true);
}

#[test]
fn three_thousand_words_each_get_one_label_in_the_order_given() {
    let words: Vec<Value> =
        (0..3000).map(|i| word(i, &format!("word{i}"), [1.0, i as f64 / 4.0, 9.0, 800.0])).collect();
    let answer = Case::new().predict(&receipt(words));
    let ids: Vec<u64> =
        answer["words"].as_array().unwrap().iter().map(|w| w["word_id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (0..3000).collect::<Vec<u64>>());
}

#[test]
fn boxes_outside_the_page_are_clamped_to_its_edge() {
    let case = Case::new();
    let line = receipt(vec![word(0, "a", [-50.0, 10.0, 5000.0, 20.0])]);
    fs::write(case.path("in.jsonl"), &line).unwrap();
    let out = ok(&["encode", "--model", &case.path("model"), "--input", &case.path("in.jsonl")]);
    let window: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(window["bbox"][1], json!([0, 10, 1000, 20]));
    assert_eq!(window["word_ids"][0], Value::Null);
    assert_eq!(case.predict(&line)["words"].as_array().unwrap().len(), 1);
}

#[test]
fn two_megabytes_in_one_word_get_an_exact_answer() {
    let answer = Case::new().predict(&receipt(vec![word(0, &"ab ".repeat(700_000), [0.0, 0.0, 9.0, 9.0])]));
    assert_eq!(answer["words"].as_array().unwrap().len(), 1);
}

#[test]
fn bad_lines_are_named_by_file_line_and_field_and_can_be_skipped() {
    let case = Case::new();
    let good = receipt(vec![]);
    let said = case.refuse(&format!("{good}\n{}", good.replace("1000", "NaN").replace("\"a\"", "\"b\"")));
    assert!(said.contains("in.jsonl:2: ") && said.contains("column"), "{said}");
    let twice = vec![word(3, "a", [0.0; 4]), word(3, "b", [0.0; 4])];
    let said = case.refuse(&receipt(twice.clone()));
    assert!(said.contains("in.jsonl:1: words[1].word_id: line_id 0, word_id 3 occurs twice"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    fs::write(case.path("in.jsonl"), format!("{}\n{good}\n", receipt(twice))).unwrap();
    let skipping =
        ["predict", "--skip-bad-lines", "--model", &case.path("model"), "--input", &case.path("in.jsonl")];
    let output = run(&skipping);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
    assert!(stderr(&output).contains("1 bad lines skipped"), "{}", stderr(&output));
}

#[test]
fn missing_models_files_and_damaged_checkpoints_are_named() {
    let case = Case::new();
    fs::write(case.path("in.jsonl"), receipt(vec![])).unwrap();
    let said = refused(&["predict", "--model", &case.path("none"), "--input", &case.path("in.jsonl")], 2);
    assert!(said.contains("none: no checkpoint"), "{said}");
    let said = refused(&["predict", "--model", &case.path("model"), "--input", &case.path("none")], 2);
    assert!(said.contains("none: can't be read"), "{said}");
    let weights = case.path("model/model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    let said = refused(&["predict", "--model", &case.path("model"), "--input", &case.path("in.jsonl")], 2);
    assert!(said.contains("model.safetensors"), "{said}");
}

#[test]
fn a_missing_runtime_is_one_clear_sentence() {
    let case = Case::new();
    let wrong = case.path("libonnxruntime.so");
    fs::write(&wrong, "no library").unwrap();
    for library in [wrong, case.path("absent.so")] {
        let bundle = case.path("bundle");
        let args =
            ["export", "--checkpoint", &case.path("model"), "--output", &bundle, "--onnxruntime", &library];
        let said = refused(&args, 1);
        assert!(said.contains("make onnxruntime"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!fs::exists(&bundle).unwrap());
    }
}

/// What `train` says of lines of JSON before it writes anything.
fn refuse_to_train(case: &Case, lines: &str, flags: &[&str]) -> String {
    let (data, runs) = (case.path("train.jsonl"), case.path("runs"));
    fs::write(&data, lines).unwrap();
    let mut args = small_run(&data, &runs);
    args.retain(|a| *a != "--merge-amounts");
    args.extend(flags);
    let said = refused(&args, 2);
    assert!(!fs::exists(&runs).unwrap(), "something was written");
    said.lines().last().unwrap().to_string()
}

/// A receipt of one word with this label.
fn labelled(name: &str, label: &str) -> String {
    json!({ "image_id": name, "words": [{ "line_id": 0, "word_id": 0, "text": "1.00", "box": [0, 0, 9, 9],
        "label": label }] })
    .to_string()
}

#[test]
fn merges_that_would_lose_a_label_or_make_no_entity_type_are_refused() {
    let case = Case::new();
    let lines = format!("{}\n{}\n", labelled("a", "TAX"), labelled("b", "TAX"));
    for (merges, expected) in [
        (r#"{"O":["TAX"]}"#, "\"O\" can't be a merge target"),
        (r#"{"B-X":["TAX"]}"#, "\"B-X\" can't be a merge target: it has a BIO prefix"),
        (r#"{"AMOUNT":["TAX"],"amount":["SUBTOTAL"]}"#, "the merge target AMOUNT is given twice"),
        (r#"{"AMOUNT":["TAX"],"AMOUNT":["SUBTOTAL"]}"#, "the merge target AMOUNT is given twice"),
        (r#"["AMOUNT"]"#, "expected a JSON object"),
    ] {
        let said = refuse_to_train(&case, &lines, &["--label-merges", merges]);
        assert!(said.starts_with("error: --label-merges: ") && said.contains(expected), "{merges}: {said}");
    }
}

#[test]
fn labels_with_a_prefix_or_a_line_break_are_refused_by_their_line() {
    let case = Case::new();
    for (label, expected) in [("b-date", "\"b-date\" has a BIO prefix"), ("DA\nTE", "holds a line break")] {
        let lines = format!("{}\n{}\n", labelled("a", "DATE"), labelled("b", label));
        let said = refuse_to_train(&case, &lines, &[]);
        assert!(said.contains("train.jsonl:2: words[0].label: ") && said.contains(expected), "{said}");
    }
}

#[test]
fn what_went_wrong_is_said_once() {
    let case = Case::new();
    fs::write(case.path("latin.jsonl"), b"\xe9\n").unwrap();
    let (data, runs) = (case.path("latin.jsonl"), case.path("runs"));
    let said = refused(&small_run(&data, &runs), 2);
    assert_eq!((said.matches("not UTF-8").count(), said.matches("latin.jsonl:1").count()), (1, 1), "{said}");
    fs::write(&data, format!("{}\n{}\n", labelled("a", "DATE"), labelled("b", "DATE"))).unwrap();
    let said = refused(&small_run(&data, "/proc/none/a"), 1);
    assert_eq!(said.matches("os error 2").count(), 1, "{said}");
}

#[test]
fn a_byte_order_mark_before_the_first_receipt_is_passed_over() {
    let answer = Case::new().predict(&format!("\u{feff}{}", receipt(vec![])));
    assert_eq!(answer["image_id"], "a");
}
