//! Amazon SageMaker hosting: the program started as a container is, asked as endpoints and transform jobs ask.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test fails by panicking.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use layoutlm_tests::bundle::TestBundle;
use layoutlm_tests::client::{Answer, Client};
use layoutlm_tests::program::{Running, server_program};
use layoutlm_tests::server::TestServer;
use serde_json::{Value, json};
use ureq::Agent;

static BUNDLE: LazyLock<TestBundle> = LazyLock::new(TestBundle::small);
const LINES: &str = "application/jsonlines";

fn receipt(id: usize, words: usize) -> Value {
    let words: Vec<Value> = (0..words)
        .map(|i| json!({"line_id": 0, "word_id": i, "text": (["Total", "12.50", "Market"][i % 3]), "box": [i, 0, i + 1, 9]}))
        .collect();
    json!({"image_id": format!("r{id}"), "receipt_id": 1, "width": 900, "height": 10, "words": words})
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!((answer.status, answer.header("content-type")), (200, LINES), "{}", answer.text);
    answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What an answer says of a receipt, without where the time went.
fn labels(answer: &Value) -> Value {
    json!([answer["image_id"], answer["words"], answer["entities"]])
}

#[test]
fn started_as_serve_it_pings_within_two_seconds_answers_and_stops_on_sigterm() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let begun = Instant::now();
    let mut command = Command::new(server_program());
    // The folder that SageMaker mounts at /opt/ml/model: what it unpacked from model.tar.gz.
    let mounted = BUNDLE.path().parent().unwrap().to_path_buf();
    command
        .arg("serve")
        .env("SAGEMAKER_BIND_TO_PORT", port.to_string())
        .env("LAYOUTLM_BUNDLE", mounted)
        .env("RUST_LOG", "off");
    let mut server = Running::start(&mut command);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
    let ping =
        || agent.get(format!("http://{address}/ping")).call().is_ok_and(|answer| answer.status() == 200);
    while !ping() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", server.first_line());
        std::thread::sleep(Duration::from_millis(10));
    }
    let ready = begun.elapsed();
    let client = Client::new(address);
    let asked = Instant::now();
    assert_eq!((client.get("/ping").status, client.get("/ping").text.as_str()), (200, ""));
    assert!(asked.elapsed() < Duration::from_secs(2));
    let json = client.post("/invocations", receipt(1, 5).to_string());
    assert_eq!((json.status, json.header("content-type")), (200, "application/json"));
    let answered =
        lines(&client.post_as("/invocations", LINES, format!("{}\n{}\n", receipt(1, 5), receipt(2, 3))));
    assert_eq!(labels(&answered[0]), labels(&json.json()));
    assert_eq!(answered[1]["words"].as_array().unwrap().len(), 3);
    let parameters = client.get("/execution-parameters").json();
    let (concurrent, payload) = (
        parameters["MaxConcurrentTransforms"].as_u64().unwrap(),
        parameters["MaxPayloadInMB"].as_u64().unwrap(),
    );
    assert!(concurrent >= 1 && concurrent * payload <= 100, "{parameters}");
    assert_eq!(parameters["BatchStrategy"], "MULTI_RECORD");
    server.signal("-TERM");
    assert_eq!(server.0.wait().unwrap().code(), Some(0));
    assert!(ready < Duration::from_secs(20), "not ready before {ready:?}");
}

#[test]
fn a_transform_job_gets_one_line_for_each_of_its_lines_however_it_cuts_them() {
    let server = TestServer::start(&BUNDLE.path(), |c| c.max_queue = 8);
    let client = server.client();
    let receipts: Vec<Value> = (0..150).map(|i| receipt(i, 1 + i % 40)).collect();
    let single: Vec<Value> = receipts.iter().map(|r| labels(&client.classify(r))).collect();
    let input: Vec<String> = receipts.iter().map(Value::to_string).collect();
    // SplitType Line: records are packed into requests of at most so many bytes; AssembleWith Line joins the answers.
    for most in [1, 9_000, 1 << 20] {
        let mut requests: Vec<String> = Vec::new();
        for line in &input {
            match requests.last_mut() {
                Some(request) if request.len() + line.len() < most => *request += &format!("{line}\n"),
                _ => requests.push(format!("{line}\n")),
            }
        }
        let answer = |request: &String| lines(&client.post_as("/invocations", LINES, request));
        let assembled: Vec<Value> = requests.iter().flat_map(answer).collect();
        assert_eq!(assembled.iter().map(labels).collect::<Vec<_>>(), single, "requests of {most} bytes");
    }
}

#[test]
fn a_line_that_is_no_receipt_is_answered_by_its_error_and_the_others_by_labels() {
    let server = TestServer::start(&BUNDLE.path(), |c| c.max_words = 50);
    let body = format!(
        "{}\nnonsense\n\n{{\"words\":[{{\"text\":1}}]}}\n[]\n{}\n{}",
        receipt(1, 2),
        receipt(2, 51),
        receipt(3, 1)
    );
    let answered = lines(&server.client().post_as("/invocations", LINES, body));
    let codes: Vec<&str> = answered.iter().map(|a| a["error"]["code"].as_str().unwrap_or("-")).collect();
    assert_eq!(codes, ["-", "invalid_json", "invalid_receipt", "invalid_receipt", "too_many_words", "-"]);
    assert_eq!(answered[2]["error"]["field"], "words[0].text");
    assert_eq!((&answered[0]["image_id"], &answered[5]["image_id"]), (&json!("r1"), &json!("r3")));
}

#[test]
fn options_come_in_the_custom_attributes() {
    let server = TestServer::start(&BUNDLE.path(), |_| {});
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
    let post = |attributes: &str, kind: &str| {
        let url = format!("http://{}/invocations", server.address());
        let request = agent
            .post(url)
            .header("x-amzn-sagemaker-custom-attributes", attributes)
            .header("content-type", kind);
        request.send(receipt(1, 3).to_string()).unwrap()
    };
    for kind in ["application/json", LINES] {
        let answer: Value = post("probabilities=true&line_items=true", kind).body_mut().read_json().unwrap();
        assert_eq!(
            answer["words"][0]["probabilities"].as_array().unwrap().len(),
            layoutlm_tests::model::LABELS.len()
        );
        assert!(answer["line_items"].is_array());
        assert_eq!(post("probabilites=true", kind).status(), 400);
    }
    assert_eq!(post("", "text/csv").status(), 415);
}
