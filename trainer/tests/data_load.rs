//! `--data`: what is accepted, and what a refusal says.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests, which may panic

use std::path::{Path, PathBuf};

use layoutlm_core::receipt::{BadLines, Receipt};
use layoutlm_trainer::data::{DataError, load, synthesize};

fn write(path: &Path, receipts: &[Receipt]) {
    let lines: Vec<String> = receipts.iter().map(|r| serde_json::to_string(r).unwrap()).collect();
    std::fs::write(path, lines.join("\n")).unwrap();
}

fn message(paths: &[PathBuf], bad: BadLines) -> String {
    load(paths, bad).unwrap_err().to_string()
}

#[test]
fn a_file_a_folder_and_both_together() {
    let folder = tempfile::tempdir().unwrap();
    let receipts = synthesize(1, 10, 5);
    write(&folder.path().join("train.jsonl"), &receipts[..5]);
    write(&folder.path().join("val.jsonl"), &receipts[5..7]);
    write(&folder.path().join("test.jsonl"), &receipts[7..8]);
    write(&folder.path().join("more.jsonl"), &receipts[8..]);
    let parts = load(&[folder.path().to_path_buf()], BadLines::Refuse).unwrap();
    assert_eq!((parts.train.len(), parts.validation.as_ref().unwrap().len()), (5, 2));
    assert_eq!(parts.for_evaluation().0, "test");
    assert!(parts.description().ends_with("(5 train, 2 validation, 1 test)"), "{}", parts.description());

    let file = load(&[folder.path().join("more.jsonl")], BadLines::Refuse).unwrap();
    assert_eq!((file.train.len(), file.validation.is_none(), file.test.is_none()), (2, true, true));
    assert_eq!(file.for_evaluation().0, "all");

    let both =
        load(&[folder.path().to_path_buf(), folder.path().join("more.jsonl")], BadLines::Refuse).unwrap();
    assert_eq!((both.train.len(), both.sources.len()), (7, 2));
}

#[test]
fn what_is_missing_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert!(matches!(load(&[], BadLines::Refuse), Err(DataError::NoSource)));
    let text = message(&[at("gone.jsonl")], BadLines::Refuse);
    assert!(text.contains("gone.jsonl: no such file"), "{text}");
    let text = message(&[folder.path().to_path_buf()], BadLines::Refuse);
    assert!(text.contains("expected train.jsonl"), "{text}");
    write(&at("other.jsonl"), &synthesize(1, 1, 1));
    let text = message(&[folder.path().to_path_buf()], BadLines::Refuse);
    assert!(text.contains("no train.jsonl, but other.jsonl"), "{text}");
    std::fs::write(at("empty.jsonl"), "\n").unwrap();
    let text = message(&[at("empty.jsonl")], BadLines::Refuse);
    assert!(text.contains("empty.jsonl") && text.contains("no receipt found"), "{text}");
}

#[test]
fn bad_lines_are_refused_by_file_line_and_field_or_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.jsonl");
    let good = serde_json::to_string(&synthesize(1, 1, 1)[0]).unwrap();
    let bad = good.replace("\"image_id\":\"", "\"image_id\":7,\"x\":\"");
    std::fs::write(&path, format!("{good}\n{bad}\n")).unwrap();
    let text = message(std::slice::from_ref(&path), BadLines::Refuse);
    assert!(text.contains("r.jsonl:2: ") && text.contains("--skip-bad-lines"), "{text}");
    let data = load(&[path], BadLines::Skip).unwrap();
    assert_eq!((data.train.len(), data.skipped.len()), (1, 1));
}

#[test]
fn a_receipt_in_two_places_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let receipts = synthesize(1, 4, 2);
    let at = |name: &str| folder.path().join(name);
    write(&at("a.jsonl"), &receipts[..3]);
    write(&at("b.jsonl"), &receipts[2..]);
    let text = message(&[at("a.jsonl"), at("b.jsonl")], BadLines::Refuse);
    assert!(
        text.contains(&receipts[2].key()) && text.contains("a.jsonl") && text.contains("b.jsonl"),
        "{text}"
    );
    write(&at("train.jsonl"), &receipts[..3]);
    write(&at("validation.jsonl"), &receipts[2..]);
    let text = message(&[folder.path().to_path_buf()], BadLines::Refuse);
    assert!(text.contains("both in the training and the validation set"), "{text}");
}
