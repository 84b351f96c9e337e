//! The program as a SageMaker training container.

use serde_json::json;

use super::stand::{BUCKET, Stand, TABLE, refused, succeed};

const RECEIPTS: &str = "fixtures/dynamodb/receipts.neutral.jsonl";

#[test]
fn a_container_takes_hyperparameters_leaves_a_model_and_prints_metric_lines() {
    let Some(stand) = Stand::with(&[RECEIPTS], 13) else { return };
    let base = stand.folder.path().join("ml");
    std::fs::create_dir_all(base.join("input/config")).unwrap();
    let hyperparameters = json!({
        "job_name": "sm-1", "dynamo_table": TABLE, "output_s3_path": BUCKET, "epochs": "2", "batch_size": "8",
        "learning_rate": "1e-3", "no_frozen_val": "true", "merge_preset": "amounts", "env_LAYOUTLM_SEED": "7",
        "weight_decay": "0.02", "no_such_thing": "1",
        "sagemaker_program": "train.py", "pretrained": stand.folder.path().join("pretrained"),
    });
    std::fs::write(base.join("input/config/hyperparameters.json"), hyperparameters.to_string()).unwrap();
    let container = || {
        let mut command = stand.command();
        command.arg("train").env("SAGEMAKER_BASE_DIR", &base);
        command
    };
    let output = succeed(container());
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        lines.lines().filter(|l| l.starts_with("{'eval_") && l.contains("'eval_f1': ")).count(),
        2,
        "{lines}"
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the hyperparameter no_such_thing means nothing"), "{said}");
    let run = std::fs::read_to_string(base.join("model/run.json")).unwrap();
    assert!(run.contains("\"weight_decay\": 0.02"), "{run}");
    for file in ["run.json", "best/model.safetensors"] {
        assert!(base.join("model").join(file).is_file(), "{file}");
    }
    let jobs = stand.jobs();
    assert_eq!((&jobs[0]["name"], &jobs[0]["status"]), (&json!("sm-1"), &json!("succeeded")));
    let seeds = stand.items("JOB_METRIC").into_iter().filter(|m| m["metric_name"] == "random_seed");
    assert_eq!(seeds.map(|m| m["value"].clone()).collect::<Vec<_>>(), [json!(7)]);

    let broken = json!({"job_name": "sm-2", "dynamo_table": "NoSuchTable"});
    std::fs::write(base.join("input/config/hyperparameters.json"), broken.to_string()).unwrap();
    refused(container(), 2);
    let failure = std::fs::read_to_string(base.join("output/failure")).unwrap();
    assert!(failure.contains("table NoSuchTable"), "{failure}");

    let mistyped = json!({"job_name": "sm-3", "dynamo_table": TABLE, "epochs": "three"});
    std::fs::write(base.join("input/config/hyperparameters.json"), mistyped.to_string()).unwrap();
    refused(container(), 2);
    let failure = std::fs::read_to_string(base.join("output/failure")).unwrap();
    assert!(failure.contains("'three'") && failure.contains("--epochs"), "{failure}");
}
