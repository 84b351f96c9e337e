//! Where a container's model comes from: a folder, S3, a platform's variable; and how it ends when there is none that can
//! be served. `make docker-test` builds the image and runs this. S3 and DynamoDB are stand-ins at the gateway of a network
//! made for the test.
// Helpers of tests may fail the test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use layoutlm_emulators::{CREDENTIALS, Dynamo, S3, neutral};
use layoutlm_tests::bundle::TestBundle;
use layoutlm_tests::docker::{CONFINED, Container, Network, docker, server_image};
use layoutlm_tests::receipt::receipt;
use serde_json::Value;
use tokio::runtime::Runtime;

const MINUTE: Duration = Duration::from_secs(60);
const ADDRESS: &str = "s3://models/receipts-1/bundle/";

static BUNDLE: LazyLock<TestBundle> = LazyLock::new(TestBundle::small);

/// A confined container of the image without a model, with more options.
fn start(options: &[&str]) -> Container {
    Container::run(&server_image(), &[options, &CONFINED].concat(), &[])
}

/// An S3 in a container network, with the small bundle at [`ADDRESS`], and what a container needs to reach it.
struct Cloud {
    runtime: Runtime,
    network: Network,
    s3: S3,
    options: Vec<String>,
}

impl Cloud {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let network = Network::new();
        let s3 = runtime.block_on(S3::start_on(network.gateway(), &["models"]));
        s3.put_folder(&BUNDLE.path(), "models", "receipts-1/bundle");
        let options = reaching(&network, "AWS_ENDPOINT_URL_S3", &s3.url);
        Self { runtime, network, s3, options }
    }

    fn start(&self, more: &[&str]) -> Container {
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        start(&[&options[..], more].concat())
    }
}

/// Options of `docker run` for a container in a network with a service at an address.
fn reaching(network: &Network, variable: &str, url: &str) -> Vec<String> {
    let (key, secret) = CREDENTIALS;
    let settings = [
        format!("AWS_ACCESS_KEY_ID={key}"),
        format!("AWS_SECRET_ACCESS_KEY={secret}"),
        "AWS_REGION=us-east-1".into(),
        format!("{variable}={url}"),
    ];
    let mut options = vec!["--network".into(), network.name().into()];
    options.extend(settings.into_iter().flat_map(|setting| ["-e".into(), setting]));
    options
}

fn words(answer: &Value) -> Vec<Value> {
    answer["words"].as_array().unwrap().clone()
}

/// The log line with a message.
fn line(container: &Container, message: &str) -> Value {
    let logs = container.logs();
    let lines = logs.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
    lines.into_iter().rfind(|l| l["message"] == message).unwrap_or_else(|| panic!("no {message} in {logs}"))
}

/// It ends with this code within a minute; what it said.
fn ends_with(container: &Container, expected: i32) -> String {
    let code = container.wait_exit(MINUTE);
    let logs = container.logs();
    assert_eq!(code, expected, "{logs}");
    logs
}

/// A temporary folder is its owner's alone; the server's user must get in.
fn readable_by_all(bundle: &Path) {
    let above = bundle.parent().unwrap();
    assert!(Command::new("chmod").arg("755").arg(above).status().unwrap().success());
    assert!(Command::new("chmod").arg("-R").arg("a+rX").arg(bundle).status().unwrap().success());
}

#[test]
fn a_bundle_can_be_mounted_where_the_image_looks_or_where_model_uri_says() {
    let bundle = BUNDLE.path();
    readable_by_all(&bundle);
    for (place, setting) in [("/opt/ml/model", "MODEL_URI="), ("/elsewhere", "MODEL_URI=/elsewhere")] {
        let volume = format!("{}:{place}:ro", bundle.display());
        let container = start(&["-v", &volume, "-e", setting]);
        let answer = container.wait_ready(MINUTE).classify(&receipt(5));
        assert_eq!(words(&answer).len(), 5);
    }
}

#[test]
fn a_bundle_in_s3_is_fetched_over_the_network_and_kept_for_a_restart() {
    let cloud = Cloud::new();
    let setting = format!("MODEL_URI={ADDRESS}");
    let container = cloud.start(&["-e", &setting]);
    let first = container.wait_ready(MINUTE).classify(&receipt(40));
    assert!(words(&first).iter().any(|w| w["label"] != "O"), "{first}");
    let fetched = line(&container, "bundle is local")["fetched"].as_u64().unwrap();
    assert!(fetched > 2, "{fetched} files");
    docker(&["restart", "-t", "30", container.id()]);
    let again = container.wait_ready(MINUTE).classify(&receipt(40));
    assert_eq!(words(&again), words(&first));
    let kept = line(&container, "bundle is local");
    assert_eq!((&kept["fetched"], &kept["kept"]), (&Value::from(0), &Value::from(fetched)));
}

#[test]
fn a_receipt_of_the_table_is_labelled() {
    let cloud = Cloud::new();
    let dynamo = cloud.runtime.block_on(Dynamo::start_on(cloud.network.gateway()));
    cloud.runtime.block_on(dynamo.create("receipts"));
    cloud.runtime.block_on(dynamo.fill("receipts", &neutral::items(&receipt(20))));
    let endpoint = format!("AWS_ENDPOINT_URL_DYNAMODB={}", dynamo.url);
    let setting = format!("MODEL_URI={ADDRESS}");
    let container = cloud.start(&["-e", &setting, "-e", &endpoint, "-e", "DYNAMO_TABLE_NAME=receipts"]);
    let client = container.wait_ready(MINUTE);
    let answer = client.get(&format!("/v1/receipts/{}/1", neutral::image_id("r")));
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(words(&answer.json()).len(), 20, "{}", answer.text);
}

#[test]
fn a_damaged_object_ends_it_with_2_and_is_named() {
    let cloud = Cloud::new();
    let object = cloud.s3.object("models", "receipts-1/bundle/tokenizer.json");
    let mut bytes = std::fs::read(&object).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&object, bytes).unwrap();
    let setting = format!("MODEL_URI={ADDRESS}");
    let logs = ends_with(&cloud.start(&["-e", &setting]), 2);
    assert!(logs.contains("receipts-1/bundle/tokenizer.json") && logs.contains("SHA-256"), "{logs}");
}

#[test]
fn an_address_without_a_bundle_ends_it_with_2_and_is_named() {
    let cloud = Cloud::new();
    for missing in ["s3://models/receipts-2/bundle/", "s3://no-such-bucket/bundle/"] {
        let setting = format!("MODEL_URI={missing}");
        let logs = ends_with(&cloud.start(&["-e", &setting]), 2);
        assert!(logs.contains(&format!("{missing}manifest.json")), "{logs}");
    }
}

#[test]
fn told_to_stop_while_it_fetches_it_ends_at_once_with_0() {
    let network = Network::new();
    let silent = TcpListener::bind((network.gateway(), 0)).unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let options = reaching(&network, "AWS_ENDPOINT_URL_S3", &url);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let setting = format!("MODEL_URI={ADDRESS}");
    let container = start(&[&options[..], &["-e", &setting]].concat());
    let (_asked, _) = silent.accept().unwrap();
    let told = Instant::now();
    container.signal("TERM");
    ends_with(&container, 0);
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
}

#[test]
fn a_changed_byte_in_a_mounted_bundle_ends_it_with_2_and_names_the_file() {
    let copy = tempfile::tempdir().unwrap();
    let bundle = copy.path().join("bundle");
    assert!(Command::new("cp").arg("-r").args([BUNDLE.path(), bundle.clone()]).status().unwrap().success());
    let graph = bundle.join("model.onnx");
    let mut bytes = std::fs::read(&graph).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&graph, bytes).unwrap();
    readable_by_all(&bundle);
    let volume = format!("{}:/opt/ml/model:ro", bundle.display());
    let logs = ends_with(&start(&["-v", &volume]), 2);
    assert!(logs.contains("layoutlm-server: ") && logs.contains("model.onnx"), "{logs}");
}

#[test]
fn the_flag_wins_over_model_uri() {
    let options = [&["-e", "MODEL_URI=/elsewhere"], &CONFINED[..]].concat();
    let logs = ends_with(&Container::run(&server_image(), &options, &["--bundle", "/nowhere"]), 2);
    assert!(logs.contains("/nowhere"), "{logs}");
}

#[test]
fn an_image_without_a_model_ends_with_2_and_says_what_to_do() {
    let logs = ends_with(&start(&[]), 2);
    assert!(logs.contains("layoutlm-server: ") && logs.contains("/opt/ml/model"), "{logs}");
}
