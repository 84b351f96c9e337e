//! Past runs in the table, models by job name, and labels written back.

use serde_json::{Value, json};

use super::stand::{BUCKET, Stand, TABLE, refused, succeed};

const RECEIPTS: &str = "fixtures/dynamodb/receipts.neutral.jsonl";

fn stdout(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_run_is_listed_shown_exported_and_its_labels_are_proposed_only_when_told_to() {
    let Some(stand) = Stand::with(&[RECEIPTS], 13) else { return };
    succeed(stand.train(&[]));
    let runs = |args: &[&str]| {
        let mut command = stand.command();
        command.arg("runs").args(args).args(["--dynamo-table", TABLE]);
        stdout(&succeed(command))
    };
    assert!(runs(&["list"]).contains("receipts-1"), "{}", runs(&["list"]));
    let shown = runs(&["show", "receipts-1"]);
    assert!(shown.contains("succeeded") && shown.contains("best: checkpoint-"), "{shown}");

    let bundle = stand.folder.path().join("bundle");
    let mut export = stand.command();
    export.args(["export", "--job-name", "receipts-1", "--dynamo-table", TABLE, "--output"]).arg(&bundle);
    succeed(export);
    assert!(bundle.join("manifest.json").is_file());

    let before = stand.items("RECEIPT_WORD_LABEL").len();
    let predict = |more: &[&str]| {
        let mut command = stand.command();
        let labels = stand.folder.path().join("labels.jsonl");
        command
            .args(["predict", "--dynamo-table", TABLE, "--model"])
            .arg(&bundle)
            .arg("--output")
            .arg(labels);
        command.args(more);
        crate::stderr(&succeed(command))
    };
    let said = predict(&["--write-labels"]);
    assert!(said.contains("nothing was written") && said.contains("--apply"), "{said}");
    assert_eq!(stand.items("RECEIPT_WORD_LABEL").len(), before);
    predict(&["--write-labels", "--apply"]);
    let labels = stand.items("RECEIPT_WORD_LABEL");
    let proposed: Vec<&Value> =
        labels.iter().filter(|l| l["label_proposed_by"] == json!("receipts-1")).collect();
    assert!(proposed.iter().all(|l| l["validation_status"] == "PENDING"));
    assert!(labels.len() > before || proposed.is_empty());
}

#[test]
fn a_model_that_is_not_there_is_named() {
    let stand = Stand::new();
    let export = |args: &[&str]| {
        let mut command = stand.command();
        command.arg("export").args(args).args(["--dynamo-table", TABLE, "--output"]);
        command.arg(stand.folder.path().join("bundle"));
        command
    };
    let said = refused(export(&["--job-name", "nobody"]), 2);
    assert!(said.contains("a job named nobody in table ReceiptsTable-dc5be22"), "{said}");
    let said = refused(export(&["--active-job"]), 2);
    assert!(said.contains("no succeeded job is tagged active_model=true"), "{said}");
    let said = refused(export(&["--checkpoint", &format!("s3://{BUCKET}/runs/latest/")]), 2);
    assert!(said.contains("a run below s3://layoutlm-training/runs/"), "{said}");
}
