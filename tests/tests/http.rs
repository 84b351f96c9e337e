//! The HTTP server over a real bundle: exact answers for the hard receipts, clear refusals for the rest.
// Helpers of tests may fail the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::predict::{ReceiptPrediction, predict};
use layoutlm_core::receipt::Receipt;
use layoutlm_inference::{Bundle, Engine, EngineOptions, Runtime};
use layoutlm_tests::bundle::TestBundle;
use layoutlm_tests::client::Answer;
use layoutlm_tests::receipt::receipt;
use layoutlm_tests::server::TestServer;
use serde_json::{Value, json};

static BUNDLE: LazyLock<TestBundle> = LazyLock::new(TestBundle::small);

fn server() -> TestServer {
    TestServer::start(&BUNDLE.path(), |_| {})
}

/// What the same bundle answers without any server.
fn direct(receipt: &Value) -> ReceiptPrediction {
    let bundle = Bundle::open(&BUNDLE.path()).unwrap();
    let runtime = Runtime::load(None).unwrap();
    let engine = bundle.engine(&runtime, None, EngineOptions::single()).unwrap();
    let mut prediction =
        predict(bundle.encoder(), &engine, &Receipt::from_json(&receipt.to_string()).unwrap()).unwrap();
    prediction.words.iter_mut().for_each(|w| w.probabilities = None);
    prediction
}

fn prediction(answer: &Value) -> ReceiptPrediction {
    serde_json::from_value(answer.clone()).unwrap()
}

#[test]
fn a_receipt_of_several_windows_gets_exactly_what_the_engine_gives() {
    let (server, receipt) = (server(), receipt(700));
    let answer = server.client().classify(&receipt);
    let expected = direct(&receipt);
    assert_eq!(prediction(&answer), expected);
    assert!(expected.words.iter().any(|w| w.entity.is_some()) && !expected.entities.is_empty());
    assert_eq!(answer["model"]["fingerprint"], Bundle::open(&BUNDLE.path()).unwrap().manifest().fingerprint);
    assert!(answer["timings"]["total_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn three_thousand_words_each_get_one_label() {
    let receipt = receipt(3000);
    let answer = server().client().classify(&receipt);
    assert_eq!(prediction(&answer), direct(&receipt));
    assert_eq!(answer["words"].as_array().unwrap().len(), 3000);
}

#[test]
fn an_empty_receipt_has_no_words_and_no_entities() {
    let answer = server().client().classify(&json!({"image_id": "empty", "words": []}));
    assert_eq!(
        (&answer["image_id"], &answer["words"], &answer["entities"]),
        (&json!("empty"), &json!([]), &json!([]))
    );
}

#[test]
fn a_word_of_no_tokens_is_o_with_confidence_0_and_says_so() {
    let mut receipt = receipt(3);
    receipt["words"][1]["text"] = json!("\u{200b}");
    let answer = server().client().classify(&receipt);
    let word = &answer["words"][1];
    assert_eq!(
        (&word["label"], word["confidence"].as_f64(), &word["no_tokens"]),
        (&json!("O"), Some(0.0), &json!(true))
    );
    assert_eq!(prediction(&answer), direct(&receipt));
}

#[test]
fn two_megabytes_in_one_word_get_an_exact_answer() {
    let mut receipt = receipt(3);
    receipt["words"][1]["text"] = json!("ab ".repeat(700_000));
    let answer = server().client().classify(&receipt);
    assert_eq!(answer["words"].as_array().unwrap().len(), 3);
    assert_eq!(prediction(&answer), direct(&receipt));
}

#[test]
fn boxes_outside_the_page_are_clamped_to_its_edge() {
    let (mut outside, mut edge) = (receipt(3), receipt(3));
    outside["words"][0]["box"] = json!([-50, -1e300, 900, 1e300]);
    edge["words"][0]["box"] = json!([0, 0, 800, 6000]);
    let server = server();
    let labels = |answer: Value| {
        answer["words"].as_array().unwrap().iter().map(|w| w["confidence"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(labels(server.client().classify(&outside)), labels(server.client().classify(&edge)));
}

#[test]
fn units_and_origins_of_the_same_boxes_give_the_same_answer() {
    let server = server();
    let (pixels, mut relative, mut turned) = (receipt(20), receipt(20), receipt(20));
    for word in relative["words"].as_array_mut().unwrap() {
        let b: Vec<f64> = word["box"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        word["box"] = json!([b[0] / 800.0, b[1] / 6000.0, b[2] / 800.0, b[3] / 6000.0]);
    }
    for word in turned["words"].as_array_mut().unwrap() {
        let b: Vec<f64> = word["box"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        word["box"] = json!([b[0], 6000.0 - b[3], b[2], 6000.0 - b[1]]);
    }
    turned["origin"] = json!("bottom_left");
    let words = |answer: Value| answer["words"].clone();
    let expected = words(server.client().classify(&pixels));
    let answer = server.client().post("/v1/classify?unit=relative", relative.to_string());
    assert_eq!(words(answer.json()), expected);
    assert_eq!(words(server.client().classify(&turned)), expected);
}

#[test]
fn the_answer_has_the_shape_of_the_call() {
    let server = server();
    let client = server.client();
    let (a, b) = (receipt(5), receipt(300));
    let list = client.classify(&json!([a, b]));
    assert_eq!(list.as_array().unwrap().iter().map(prediction).collect::<Vec<_>>(), [direct(&a), direct(&b)]);
    let wrapped =
        client.classify(&json!({"receipts": [b], "options": {"probabilities": true, "entities": false}}));
    let words = wrapped["receipts"][0]["words"].as_array().unwrap();
    let sum: f64 = words[0]["probabilities"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5 && words[0]["probabilities"].as_array().unwrap().len() == 7, "{sum}");
    assert_eq!(wrapped["receipts"][0]["entities"], json!([]));
    assert_eq!(client.classify(&json!([])), json!([]));
}

#[test]
fn entities_below_the_confidence_asked_for_are_left_out() {
    let server = server();
    let all = prediction(&server.client().classify(&receipt(60)));
    let mut sorted: Vec<f32> = all.entities.iter().map(|e| e.confidence).collect();
    sorted.sort_by(f32::total_cmp);
    let middle = sorted[sorted.len() / 2];
    let path = format!("/v1/classify?min_confidence={}", f64::from(middle));
    let some = prediction(&server.client().post(&path, receipt(60).to_string()).json());
    assert_eq!(some.words, all.words);
    assert_eq!(some.entities.len(), sorted.iter().filter(|c| **c >= middle).count());
    assert!(some.entities.len() < all.entities.len());
}

#[test]
fn who_shares_the_server_changes_nothing() {
    let server = server();
    let receipts: Vec<Value> = [1, 30, 250, 420].map(receipt).to_vec();
    let expected: Vec<ReceiptPrediction> = receipts.iter().map(direct).collect();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (client, receipts, expected) = (server.client(), &receipts, &expected);
            scope.spawn(move || {
                for i in 0..12 {
                    let which = (i + thread) % receipts.len();
                    assert_eq!(prediction(&client.classify(&receipts[which])), expected[which]);
                }
            });
        }
    });
}

#[test]
fn bad_input_is_refused_with_a_code_and_a_sentence() {
    let server = server();
    let client = server.client();
    let one = |box_: &str| format!(r#"{{"words":[{{"text":"x","box":{box_}}}]}}"#);
    let twice = json!({"words": [{"word_id": 0, "text": "a", "box": [0, 0, 1, 1]}, {"word_id": 0, "text": "b", "box": [0, 0, 1, 1]}]});
    let mut not_utf8 = one("[0,0,1,1]").into_bytes();
    not_utf8[19] = 0xff;
    let cases: Vec<(Vec<u8>, u16, &str)> = vec![
        (b"".to_vec(), 400, "invalid_json"),
        (b"{\"words\": [".to_vec(), 400, "invalid_json"),
        (one("[0,0,NaN,1]").into_bytes(), 400, "invalid_json"),
        (one("[0,0,1e400,1]").into_bytes(), 400, "invalid_json"),
        (not_utf8, 400, "invalid_json"),
        (vec![b'['; 200_000], 422, "invalid_receipt"),
        (one("[0,0,null,1]").into_bytes(), 422, "invalid_receipt"),
        (one("\"0 0 1 1\"").into_bytes(), 422, "invalid_receipt"),
        (one("[0,0,1,1,1]").into_bytes(), 422, "invalid_receipt"),
        (twice.to_string().into_bytes(), 422, "invalid_receipt"),
        (b"{}".to_vec(), 422, "invalid_receipt"),
        (b"null".to_vec(), 422, "invalid_receipt"),
        (json!(vec![json!({"words": []}); 129]).to_string().into_bytes(), 422, "too_many_receipts"),
        (receipt(10_001).to_string().into_bytes(), 422, "too_many_words"),
    ];
    for (body, status, code) in cases {
        let answer = client.post("/v1/classify", &body);
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        assert_eq!(answer.refusal(), (status, code.to_string()), "{shown} → {}", answer.text);
        assert!(!answer.json()["error"]["message"].as_str().unwrap().is_empty());
    }
    let second =
        client.post("/v1/classify", json!([receipt(1), {"words": [{"text": 1}]}]).to_string()).json();
    assert_eq!(
        (&second["error"]["receipt"], &second["error"]["field"]),
        (&json!(1), &json!("words[0].text"))
    );
    assert_eq!(client.get("/health/ready").status, 200);
}

#[test]
fn wrong_paths_methods_types_and_queries_are_refused() {
    let server = server();
    let client = server.client();
    assert_eq!(client.get("/v2/nothing").refusal(), (404, "not_found".into()));
    let wrong_method = client.get("/v1/classify");
    assert_eq!(wrong_method.refusal(), (405, "method_not_allowed".into()));
    assert_eq!(wrong_method.header("allow"), "POST");
    let form = client.post_as("/v1/classify", "application/x-www-form-urlencoded", "{}");
    assert_eq!(form.refusal(), (415, "unsupported_media_type".into()));
    assert_eq!(
        client.post_as("/v1/classify", "application/json; charset=utf-8", receipt(1).to_string()).status,
        200
    );
    for query in ["probabilities=maybe", "probabilites=true", "min_confidence=x", "unit=inches"] {
        let answer = client.post(&format!("/v1/classify?{query}"), receipt(1).to_string());
        assert_eq!(answer.refusal(), (400, "invalid_query".into()), "{query} → {}", answer.text);
    }
}

#[test]
fn bodies_above_the_limit_are_refused_announced_or_not() {
    let server = TestServer::start(&BUNDLE.path(), |c| c.max_body_bytes = 1000);
    assert_eq!(server.client().post("/v1/classify", [b' '; 1001]).refusal(), (413, "body_too_large".into()));
    let chunk = format!("3e8\r\n{}\r\n", " ".repeat(1000));
    let head = "POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = raw(&server, &format!("{head}{chunk}{chunk}0\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"), "{answer}");
}

fn raw(server: &TestServer, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = vec![0; 65536];
    let read = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[test]
fn a_body_that_never_comes_is_given_up() {
    let server = TestServer::start(&BUNDLE.path(), |c| c.body_seconds = 0.2);
    let begun = Instant::now();
    let answer = raw(&server, "POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{");
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_timeout"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn past_the_deadline_is_504_and_the_work_is_dropped() {
    let server = TestServer::start(&BUNDLE.path(), |c| c.timeout_seconds = 0.001);
    let answer = server.client().post("/v1/classify", receipt(3000).to_string());
    assert_eq!(answer.refusal(), (504, "deadline_exceeded".into()));
}

#[test]
fn a_full_queue_answers_429_with_a_time_to_come_back_and_everything_taken_is_answered() {
    let server = TestServer::start(&BUNDLE.path(), |c| (c.max_queue, c.workers) = (8, Some(1)));
    let body = receipt(3000).to_string();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..12).map(|_| scope.spawn(|| server.client().post("/v1/classify", &body))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let (taken, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
    assert!(!taken.is_empty() && !refused.is_empty(), "{} taken", taken.len());
    for answer in refused {
        assert_eq!(answer.refusal(), (429, "overloaded".into()));
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(server.client().post("/v1/classify", receipt(3).to_string()).status, 200);
}

#[test]
fn told_to_stop_it_finishes_what_is_in_hand() {
    let mut server = server();
    let body = receipt(3000).to_string();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(
        stream,
        "POST /v1/classify HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .unwrap();
    // The server asks for the body, so the request is in hand.
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.tell_to_stop();
    while TcpStream::connect(server.address()).is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.wait().unwrap();
}

#[test]
fn the_model_says_what_it_is() {
    let answer = server().client().get("/v1/model").json();
    assert_eq!(answer["labels"], json!(layoutlm_tests::model::LABELS));
    assert_eq!(answer["variant"], "fp32");
    assert_eq!(answer["fingerprint"], Bundle::open(&BUNDLE.path()).unwrap().manifest().fingerprint);
    assert!(answer["probe"]["max_abs_logit_diff"].as_f64().unwrap() <= 1e-3);
    assert!(answer["runtime"]["onnxruntime_version"].as_str().unwrap().starts_with("1."), "{answer}");
}

#[test]
fn the_page_comes_with_headers_that_allow_only_itself() {
    let answer = server().client().get("/");
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = answer.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

/// A copy of the bundle that a test may damage.
fn damaged(change: impl FnOnce(&std::path::Path)) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(BUNDLE.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    change(folder.path());
    let error = match TestServer::try_start(folder.path(), |_| {}) {
        Ok(_) => panic!("served a damaged bundle"),
        Err(error) => error.to_string(),
    };
    (folder, error)
}

/// Changes a file and records the change in the manifest, as somebody with bad intentions or habits would.
fn replace(folder: &std::path::Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(folder.join(name)).unwrap();
    change(&mut bytes);
    std::fs::write(folder.join(name), &bytes).unwrap();
    let manifest = folder.join("manifest.json");
    let mut value: Value = serde_json::from_str(&std::fs::read_to_string(&manifest).unwrap()).unwrap();
    value["files"][name] = json!(layoutlm_core::encoding::sha256_hex(&bytes));
    std::fs::write(manifest, layoutlm_core::bundle::seal(&value.to_string())).unwrap();
}

#[test]
fn a_damaged_bundle_is_never_served() {
    let (_f, error) = damaged(|f| std::fs::remove_file(f.join("tokenizer.json")).unwrap());
    assert!(error.contains("tokenizer.json"), "{error}");
    let (_f, error) = damaged(|f| {
        let path = f.join("model.onnx");
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 100;
        bytes[last] ^= 1;
        std::fs::write(path, bytes).unwrap();
    });
    assert!(error.contains("model.onnx: sha256 is"), "{error}");
    let (_f, error) = damaged(|f| replace(f, "model.onnx", |bytes| *bytes = b"no graph".to_vec()));
    assert!(error.contains("model.onnx") && !error.contains('\n'), "{error}");
    let (_f, error) = damaged(|f| {
        let path = f.join("manifest.json");
        let text = std::fs::read_to_string(&path).unwrap().replace("\"stride\": 150", "\"stride\": 149");
        std::fs::write(path, text).unwrap();
    });
    assert!(error.contains("changed by hand"), "{error}");
}

#[test]
fn a_graph_that_answers_differently_than_proved_is_never_served() {
    let (_f, error) = damaged(|f| {
        replace(f, "probe.safetensors", |bytes| {
            let classes = layoutlm_tests::model::LABELS.len();
            let mut probe = layoutlm_core::probe::from_bytes(bytes, classes).unwrap();
            let position = probe[0].first[0];
            probe[0].logits[position * classes] += 0.01;
            *bytes = layoutlm_core::probe::to_bytes(&probe).unwrap();
        });
    });
    assert!(error.contains("does not answer on this machine") && error.contains("above 1e-3"), "{error}");
}

#[test]
fn an_unknown_variant_lists_what_there_is() {
    let error =
        TestServer::try_start(&BUNDLE.path(), |c| c.variant = Some("int4".into())).err().unwrap().to_string();
    assert!(error.contains("no variant \"int4\"; it holds fp32"), "{error}");
}

#[test]
fn several_sessions_answer_as_one() {
    let bundle = Bundle::open(&BUNDLE.path()).unwrap();
    let runtime = Runtime::load(None).unwrap();
    let open =
        |sessions, threads| bundle.engine(&runtime, None, EngineOptions { sessions, threads }).unwrap();
    let receipt = Receipt::from_json(&receipt(900).to_string()).unwrap();
    let encoded = bundle.encoder().encode(&receipt).unwrap();
    let windows: Vec<_> = encoded.windows.iter().collect();
    let run = |engine: Engine| engine.logits(&windows).unwrap();
    let one = run(open(1, 1));
    assert!(windows.len() > 3 && one.len() == windows.len());
    assert_eq!(run(open(3, 1)), one);
}
