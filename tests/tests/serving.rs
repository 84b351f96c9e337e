//! What an operator relies on: keys, headers, metrics, traces, batches that change nothing, bundles that change.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{LazyLock, mpsc};
use std::time::{Duration, Instant};

use layoutlm_tests::bundle::TestBundle;
use layoutlm_tests::client::Answer;
use layoutlm_tests::receipt::receipt;
use layoutlm_tests::server::TestServer;
use serde_json::{Value, json};

static BUNDLE: LazyLock<TestBundle> = LazyLock::new(TestBundle::small);

fn server() -> TestServer {
    TestServer::start(&BUNDLE.path(), |_| {})
}

/// One request as written, and all that comes back until the server closes.
fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    raw(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"))
}

#[test]
fn an_api_key_guards_the_work_and_not_the_health() {
    let server = TestServer::start(&BUNDLE.path(), |c| c.api_key = Some("s3cret".into()));
    let address = server.address();
    for path in ["/health/live", "/health/ready", "/", "/docs", "/openapi.json"] {
        assert!(get(address, path, "").starts_with("HTTP/1.1 200"), "{path}");
    }
    for path in ["/v1/model", "/metrics"] {
        for wrong in
            ["", "authorization: Bearer s3cre\r\n", "authorization: Basic s3cret\r\n", "x-api-key: \r\n"]
        {
            let answer = get(address, path, wrong);
            assert!(
                answer.starts_with("HTTP/1.1 401") && answer.contains("unauthorized"),
                "{path} {wrong}: {answer}"
            );
            assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
        }
        for right in
            ["authorization: Bearer s3cret\r\n", "authorization: bearer s3cret\r\n", "x-api-key: s3cret\r\n"]
        {
            assert!(get(address, path, right).starts_with("HTTP/1.1 200"), "{path} {right}");
        }
    }
    assert_eq!(
        server.client().post("/v1/classify", receipt(3).to_string()).refusal(),
        (401, "unauthorized".into())
    );
}

#[test]
fn other_origins_may_call_only_where_they_are_named() {
    let asked = "origin: https://till.example\r\naccess-control-request-method: POST\r\n";
    let preflight = |server: &TestServer| {
        raw(
            server.address(),
            &format!("OPTIONS /v1/classify HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{asked}\r\n"),
        )
    };
    assert!(!preflight(&server()).to_lowercase().contains("access-control-allow-origin"));
    let named = TestServer::start(&BUNDLE.path(), |c| c.cors_origins = vec!["https://till.example".into()]);
    let answer = preflight(&named).to_lowercase();
    assert!(answer.contains("access-control-allow-origin: https://till.example"), "{answer}");
    let other = get(named.address(), "/v1/model", "origin: https://else.example\r\n").to_lowercase();
    assert!(other.starts_with("http/1.1 200") && !other.contains("access-control-allow-origin: "), "{other}");
}

#[test]
fn answers_carry_headers_that_keep_them_from_being_misused() {
    let server = server();
    for path in ["/v1/model", "/health/ready", "/nowhere"] {
        let answer = server.client().get(path);
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
    }
}

#[test]
fn the_description_is_served_for_programs_and_people() {
    let server = server();
    let document = server.client().get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/v1/classify"]["post"].is_object());
    let page = server.client().get("/docs");
    assert!(page.text.contains("/v1/classify") && page.header("content-type").starts_with("text/html"));
    assert!(!page.header("content-security-policy").contains("script-src"));
}

fn metric(answer: &Answer, series: &str) -> f64 {
    let line =
        answer.text.lines().find_map(|l| l.strip_prefix(series).and_then(|rest| rest.strip_prefix(' ')));
    line.unwrap_or_else(|| panic!("{series} is not in\n{}", answer.text)).parse().unwrap()
}

#[test]
fn metrics_count_what_was_done() {
    let server = server();
    let client = server.client();
    client.classify(&receipt(300));
    client.classify(&json!([receipt(10), receipt(10)]));
    client.post("/v1/classify", "{");
    client.get("/nowhere");
    let metrics = client.get("/metrics");
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    let ok = "layoutlm_requests_total{route=\"/v1/classify\",status=\"200\",code=\"\"}";
    assert_eq!(metric(&metrics, ok), 2.0);
    assert_eq!(
        metric(
            &metrics,
            "layoutlm_requests_total{route=\"/v1/classify\",status=\"400\",code=\"invalid_json\"}"
        ),
        1.0
    );
    assert_eq!(
        metric(&metrics, "layoutlm_requests_total{route=\"unmatched\",status=\"404\",code=\"not_found\"}"),
        1.0
    );
    assert_eq!(metric(&metrics, "layoutlm_words_total"), 320.0);
    let labels = metrics.text.lines().filter(|l| l.starts_with("layoutlm_labels_total{"));
    let by_label: f64 = labels.map(|l| l.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
    assert_eq!(by_label, 320.0);
    assert!(metric(&metrics, "layoutlm_encoded_tokens_total") > 320.0);
    assert_eq!(metric(&metrics, "layoutlm_unknown_tokens_total"), 0.0);
    assert!(metric(&metrics, "layoutlm_queue_seconds_count") >= 4.0);
    assert!(
        metric(&metrics, "layoutlm_tokens_total{kind=\"text\"}")
            > metric(&metrics, "layoutlm_encoded_tokens_total")
    );
    assert_eq!(
        (metric(&metrics, "layoutlm_ready"), metric(&metrics, "layoutlm_requests_in_hand")),
        (1.0, 0.0)
    );
    client.classify(&json!({"words": [{"text": "日本", "box": [0, 0, 9, 9]}]}));
    assert!(metric(&client.get("/metrics"), "layoutlm_unknown_tokens_total") >= 1.0);
}

#[test]
fn every_series_is_in_the_handbook() {
    let handbook = include_str!("../../docs/serving.md");
    let server = server();
    server.client().classify(&receipt(10));
    let text = server.client().get("/metrics").text;
    let names: Vec<&str> =
        text.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(names.len() >= 18, "{names:?}");
    for name in names {
        assert!(
            handbook.contains(&format!("`{name}`")) || handbook.contains(&format!("`{name}_total`")),
            "{name}"
        );
    }
}

#[test]
fn a_request_stays_in_its_callers_trace() {
    let server = server();
    let given = "4bf92f3577b34da6a3ce929d0e0e4736";
    let headers = format!("traceparent: 00-{given}-00f067aa0ba902b7-01\r\n");
    let answer = get(server.address(), "/health/live", &headers);
    let passed_on = answer.lines().find_map(|l| l.strip_prefix("traceparent: ")).unwrap();
    assert!(
        passed_on.starts_with(&format!("00-{given}-")) && !passed_on.contains("00f067aa0ba902b7"),
        "{passed_on}"
    );
}

#[test]
fn spans_reach_a_collector() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let server = TestServer::start(&BUNDLE.path(), |c| c.otlp_endpoint = Some(endpoint));
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = collector.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            let read = stream.read(&mut piece).unwrap();
            bytes.extend(&piece[..read]);
            let text = String::from_utf8_lossy(&bytes);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head
                .lines()
                .find_map(|l| l.to_lowercase().strip_prefix("content-length: ").map(String::from));
            if length.is_none_or(|n| n.parse() == Ok(body.len())) && body.ends_with('}') {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
                tell.send((head.to_string(), body.to_string())).unwrap();
                break;
            }
        }
    });
    server.client().classify(&receipt(10));
    let (head, body) = told.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(head.starts_with("POST /v1/traces"), "{head}");
    let spans: Value = serde_json::from_str(&body).unwrap();
    let span = &spans["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["name"], "POST /v1/classify");
    assert_eq!(span["traceId"].as_str().unwrap().len(), 32);
    assert!(span["attributes"].to_string().contains("layoutlm.words"));
}

#[test]
fn headers_that_dribble_in_are_cut_off() {
    let server = TestServer::start(&BUNDLE.path(), |c| c.header_seconds = 0.3);
    let begun = Instant::now();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let ended = loop {
        let sent = stream.write_all(b"G");
        let mut said = [0; 64];
        let read = stream.read(&mut said);
        if sent.is_err() || matches!(read, Ok(0)) {
            break true;
        }
        if begun.elapsed() > Duration::from_secs(20) {
            break false;
        }
    };
    assert!(ended, "still open after {:?}", begun.elapsed());
    assert_eq!(server.client().get("/health/ready").status, 200);
}

#[test]
fn connections_above_the_limit_wait_their_turn() {
    let server = TestServer::start(&BUNDLE.path(), |c| (c.max_connections, c.header_seconds) = (2, 1.0));
    let idle: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    // Answered once the idle ones have been cut off.
    assert!(get(server.address(), "/health/live", "").starts_with("HTTP/1.1 200"));
    assert!(begun.elapsed() > Duration::from_millis(300), "{:?}", begun.elapsed());
    drop(idle);
}

#[test]
fn who_shares_a_batch_changes_no_label_and_hardly_a_digit() {
    let sizes = [3, 30, 31, 33, 60, 200, 420];
    let alone = server();
    let expected: Vec<Value> = sizes.iter().map(|&n| alone.client().classify(&receipt(n))).collect();
    let batching = TestServer::start(&BUNDLE.path(), |c| {
        (c.batch_tokens, c.batch_delay_ms, c.workers) = (8192, 20, Some(1));
    });
    std::thread::scope(|scope| {
        for turn in 0..10 {
            let (client, expected) = (batching.client(), &expected);
            scope.spawn(move || {
                for place in 0..sizes.len() {
                    let which = (place + turn) % sizes.len();
                    let answer = client.classify(&receipt(sizes[which]));
                    let words = |v: &Value| v["words"].as_array().unwrap().clone();
                    for (found, wanted) in words(&answer).iter().zip(words(&expected[which])) {
                        assert_eq!(found["label"], wanted["label"]);
                        let of = |v: &Value| v["confidence"].as_f64().unwrap();
                        assert!((of(found) - of(&wanted)).abs() <= 1e-5, "{found} {wanted}");
                    }
                }
            });
        }
    });
    let metrics = batching.client().get("/metrics");
    let runs = metric(&metrics, "layoutlm_batch_tokens_count");
    assert!(runs < metric(&metrics, "layoutlm_queue_seconds_count"), "nothing was ever computed together");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Points to another bundle as an operator does: a new file, renamed over the old one.
fn point(pointer: &Path, to: &str) {
    let new = pointer.with_extension("new");
    std::fs::write(&new, to).unwrap();
    std::fs::rename(new, pointer).unwrap();
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_pointer_that_changes_brings_a_new_bundle_and_a_bad_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let pointer = folder.path().join("current");
    copy(&BUNDLE.path(), &folder.path().join("one"));
    copy(&BUNDLE.path(), &folder.path().join("two"));
    copy(&BUNDLE.path(), &folder.path().join("broken"));
    std::fs::write(folder.path().join("broken/tokenizer.json"), "{}").unwrap();
    // A bundle of another job, to tell them apart.
    let manifest = folder.path().join("two/manifest.json");
    let mut value: Value = serde_json::from_str(&std::fs::read_to_string(&manifest).unwrap()).unwrap();
    value["source"]["job_name"] = json!("the second");
    std::fs::write(manifest, layoutlm_core::bundle::seal(&value.to_string())).unwrap();
    point(&pointer, "one");
    let server = TestServer::start(&pointer, |c| c.reload_seconds = 0.05);
    let job = || server.client().get("/v1/model").json()["source"]["job_name"].clone();
    let reloads = |outcome: &str| {
        let text = server.client().get("/metrics").text;
        let series = format!("layoutlm_reloads_total{{outcome=\"{outcome}\"}} ");
        text.lines().find_map(|l| l.strip_prefix(&series)).map_or(0, |n| n.parse::<u32>().unwrap())
    };
    assert_ne!(job(), "the second");

    // Requests go on through the change and never fail.
    let (stop, stopped) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let client = server.client();
        scope.spawn(move || {
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                client.classify(&receipt(30));
            }
        });
        point(&pointer, "broken");
        wait_for("the broken bundle was never tried", || reloads("refused") == 1);
        assert_ne!(job(), "the second");
        point(&pointer, "two");
        wait_for("the second bundle never took over", || job() == "the second");
        stop.send(()).unwrap();
    });
    assert_eq!((reloads("taken"), reloads("refused")), (2, 1));
}
