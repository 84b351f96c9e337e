//! The command of the first run of this project's predecessor, word for word, on a table of 400 real receipts: through
//! to a bundle in the bucket and a server that serves it from there.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use layoutlm_emulators::neutral::image_id;
use serde_json::{Value, json};

use super::stand::{BUCKET, Stand, TABLE, succeed};
use crate::stderr;

const SEED: &str = "train --job-name receipts-2025-11-13-0200-validate --dynamo-table ReceiptsTable-dc5be22 --epochs 3 \
                    --batch-size 64 --lr 6e-5 --warmup-ratio 0.2 --label-smoothing 0.1 --o-entity-ratio 2.0 \
                    --merge-amounts --allowed-label MERCHANT_NAME --allowed-label PHONE_NUMBER --allowed-label \
                    ADDRESS_LINE --allowed-label DATE --allowed-label TIME --allowed-label PRODUCT_NAME \
                    --allowed-label AMOUNT";

/// All of them together are a little more than 400.
const WILDRECEIPT: [&str; 3] =
    ["data/wildreceipt/train.jsonl", "data/wildreceipt/validation.jsonl", "data/wildreceipt/test.jsonl"];

#[test]
fn the_seed_command_trains_on_400_receipts_of_the_table_and_its_bundle_is_served_from_the_bucket() {
    let Some(stand) = Stand::with(&WILDRECEIPT, 400) else { return };
    let job = "receipts-2025-11-13-0200-validate";
    let mut seed = stand.command();
    seed.args(SEED.split_whitespace());
    // Everything that the seed command does not say comes from the environment.
    seed.env("LAYOUTLM_TRAINING_BUCKET", BUCKET).env("LAYOUTLM_EXPORT_ONNX", "true");
    let output = succeed(seed);
    let said = stderr(&output);
    assert!(said.contains("ReceiptsTable-dc5be22: 400 receipts"), "{said}");

    let jobs = stand.jobs();
    assert_eq!(jobs.len(), 1);
    assert_eq!((&jobs[0]["status"], &jobs[0]["name"]), (&json!("succeeded"), &json!(job)));
    assert_eq!(jobs[0]["job_config"]["label_smoothing"], json!(0.1));
    assert_eq!(jobs[0]["job_config"]["dynamo_table_name"], json!(TABLE));
    let best = format!("s3://{BUCKET}/runs/{job}/best/");
    assert_eq!(jobs[0]["results"]["best_checkpoint_s3_path"], json!(best));
    let metrics = stand.items("JOB_METRIC");
    let f1 = metrics.iter().filter(|m| m["metric_name"] == "val_f1" && m["epoch"].is_u64()).count();
    assert_eq!(f1, 3, "one val_f1 per epoch");
    assert_eq!(stand.items("JOB_CHECKPOINT").len(), 3);

    let keys = stand.s3.keys(BUCKET);
    for file in
        ["run.json", "epochs.json", "best/model.safetensors", "bundle/manifest.json", "bundle/tokenizer.json"]
    {
        let key = format!("runs/{job}/{file}");
        assert!(keys.contains(&key), "{key} is not among {keys:?}");
    }
    serve(&stand);
}

fn serve(stand: &Stand) {
    let mut server = stand.command();
    server
        .args(["serve", "--bundle", &format!("s3://{BUCKET}/runs/latest/bundle/"), "--port", "0"])
        .args(["--dynamo-table", TABLE, "--bundle-cache"])
        .arg(stand.folder.path().join("bundles"))
        .stderr(Stdio::piped());
    let mut server = server.spawn().unwrap();
    let address = address(&mut server);
    let shared = layoutlm_tests::shared("data/wildreceipt/train.jsonl").unwrap();
    let text = std::fs::read_to_string(shared).unwrap();
    let receipt: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let image = image_id(receipt["image_id"].as_str().unwrap());
    let get = |path: &str| {
        let agent =
            ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
        let mut answer = agent.get(format!("{address}{path}")).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json::<Value>().unwrap())
    };
    let (status, answer) = get(&format!("/v1/receipts/{image}/1"));
    assert_eq!(status, 200, "{answer}");
    let words = answer["words"].as_array().unwrap();
    assert_eq!(words.len(), receipt["words"].as_array().unwrap().len());
    let gold = words.iter().filter(|w| w["gold"].is_string()).count();
    let labelled = receipt["words"].as_array().unwrap().iter().filter(|w| w["label"] != "O").count();
    assert_eq!(gold, labelled);
    let (status, answer) = get(&format!("/v1/receipts/{image}/9"));
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("not_found")), "{answer}");
    let (status, _) = get("/v1/model");
    assert_eq!(status, 200);
    server.kill().unwrap();
    server.wait().unwrap();
}

/// Where a server that was just started listens.
fn address(server: &mut Child) -> String {
    let lines = BufReader::new(server.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut said = Vec::new();
    for line in lines {
        if let Some((_, url)) = line.split_once("http://") {
            return format!("http://{}", url.trim().trim_end_matches('/'));
        }
        said.push(line);
    }
    panic!("the server ended: {said:?}");
}
