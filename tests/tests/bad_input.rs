//! A hundred thousand and more hostile requests: whatever comes in, no panic and no answer of the 5xx kind.
//!
//! Half of the cases go through the reader and the encoder, half through the routes of a server in this process. What is
//! read must be encoded whole: every word in some window, no window too long.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::Cell;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode};
use layoutlm_inference::config::ServerConfig;
use layoutlm_inference::http::{App, Options, RequestLimits, parse, router};
use layoutlm_inference::service::Service;
use layoutlm_tests::bundle::TestBundle;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;

const THROUGH_THE_ENCODER: u32 = 82_000;
const THROUGH_THE_ROUTES: u32 = 20_000;

static BUNDLE: LazyLock<TestBundle> = LazyLock::new(TestBundle::small);

fn runner(cases: u32) -> TestRunner {
    // Nothing is written beside the sources: a failing case is in the message.
    TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() })
}

/// Numbers as JSON has them, and as it does not.
fn number() -> BoxedStrategy<String> {
    let odd: &'static [&'static str] = &[
        "-0",
        "1e308",
        "-1e308",
        "1e999",
        "NaN",
        "Infinity",
        "00",
        "1.",
        ".5",
        "-",
        "0x1",
        "1e-400",
        "4294967296",
        "18446744073709551616",
        "-9223372036854775809",
        "1E5",
        "9007199254740993",
    ];
    prop_oneof![
        6 => (-10i32..2000).prop_map(|n| n.to_string()),
        2 => any::<f64>().prop_map(|f| f.to_string()),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        2 => select(odd).prop_map(String::from),
    ]
    .boxed()
}

/// Strings: words of receipts, anything at all, and broken escapes.
fn string() -> BoxedStrategy<String> {
    let odd: &'static [&'static str] = &[
        "\"\\ud800\"",
        "\"\\u0000\"",
        "\"\\x\"",
        "\"",
        "\"a\nb\"",
        "\"\\u200b\"",
        "\"\u{feff}\"",
        "''",
        "\"\\uFFFF\"",
    ];
    prop_oneof![
        5 => "[A-Za-z0-9$.,/:-]{0,12}".prop_map(|s| format!("\"{s}\"")),
        3 => any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
        1 => prop_oneof![30 => 1usize..20, 1 => 1usize..2000].prop_map(|n| format!("\"{}\"", "ab ".repeat(n))),
        1 => select(odd).prop_map(String::from),
    ]
    .boxed()
}

/// Any value, nested or not.
fn value() -> BoxedStrategy<String> {
    let odd: &'static [&'static str] =
        &["null", "true", "false", "nul", "", "[", "}", "[,]", "{\"a\"}", "undefined"];
    prop_oneof![
        3 => number(),
        3 => string(),
        2 => select(odd).prop_map(String::from),
        1 => (1usize..300).prop_map(|n| "[".repeat(n)),
        1 => (1usize..200).prop_map(|n| format!("{}{}", "[".repeat(n), "]".repeat(n))),
        1 => (1usize..200).prop_map(|n| format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n))),
    ]
    .boxed()
}

fn corners() -> BoxedStrategy<String> {
    prop_oneof![
        12 => vec(0i32..1200, 4).prop_map(|n| format!("[{},{},{},{}]", n[0], n[1], n[2], n[3])),
        2 => vec(number(), 0..6).prop_map(|n| format!("[{}]", n.join(","))),
        1 => value(),
    ]
    .boxed()
}

/// An object of some of these fields, a field perhaps twice, strangers among them.
fn object(fields: Vec<(&'static str, BoxedStrategy<String>)>, usual: usize) -> BoxedStrategy<String> {
    let (all, anything) = (fields.clone(), value());
    let field = move |index: usize| {
        let (name, strategy) = all[index % all.len()].clone();
        prop_oneof![20 => strategy, 1 => anything.clone()].prop_map(move |v| format!("\"{name}\":{v}"))
    };
    let usual: Vec<_> = (0..usual).map(field.clone()).collect();
    let strange = (string(), value()).prop_map(|(name, value)| format!("{name}:{value}"));
    let more = prop_oneof![
        30 => Just(Vec::new()).boxed(),
        5 => (0..fields.len()).prop_flat_map(field).prop_map(|f| vec![f]).boxed(),
        1 => vec(strange, 1..3).boxed(),
    ];
    let kept = prop_oneof![20 => Just(usize::MAX), 1 => 0..fields.len()];
    (usual, more, kept)
        .prop_map(|(mut fields, more, left_out)| {
            if left_out < fields.len() {
                fields.remove(left_out);
            }
            fields.extend(more);
            format!("{{{}}}", fields.join(","))
        })
        .boxed()
}

fn word() -> BoxedStrategy<String> {
    let ids = (0u32..1000).prop_map(|n| n.to_string()).boxed();
    object(
        vec![
            ("text", string()),
            ("box", corners()),
            ("word_id", number()),
            ("line_id", ids),
            ("bbox", corners()),
        ],
        2,
    )
}

fn words() -> BoxedStrategy<String> {
    let some = prop_oneof![20 => 0usize..6, 1 => 0usize..40];
    // Made once: strategies of strings are compiled when they are made.
    let word = word();
    some.prop_flat_map(move |n| vec(word.clone(), n)).prop_map(|w| format!("[{}]", w.join(","))).boxed()
}

fn options() -> BoxedStrategy<String> {
    let flag = select(&["true", "false", "null", "1"][..]).prop_map(String::from).boxed();
    let share = prop_oneof![Just("0.5".to_string()), number()].boxed();
    object(
        vec![
            ("probabilities", flag.clone()),
            ("entities", flag),
            ("min_confidence", share),
            ("unit", string()),
        ],
        1,
    )
}

fn receipt() -> BoxedStrategy<String> {
    let origin =
        select(&["\"top_left\"", "\"bottom_left\"", "\"middle\""][..]).prop_map(String::from).boxed();
    let unit = select(&["\"pixels\"", "\"relative\"", "\"thousandths\"", "\"inches\""][..])
        .prop_map(String::from)
        .boxed();
    let fields = vec![
        ("words", words()),
        ("image_id", string()),
        ("width", number()),
        ("height", number()),
        ("origin", origin),
        ("unit", unit),
        ("receipt_id", number()),
        ("options", options()),
        ("merchant", string()),
    ];
    prop_oneof![4 => object(fields.clone(), 1), 1 => object(fields.clone(), 4), 1 => object(fields, 9)]
        .boxed()
}

fn call() -> BoxedStrategy<String> {
    prop_oneof![
        10 => receipt(),
        3 => vec(receipt(), 0..4).prop_map(|r| format!("[{}]", r.join(","))),
        3 => (vec(receipt(), 0..4), options())
            .prop_map(|(r, o)| format!("{{\"receipts\":[{}],\"options\":{o}}}", r.join(","))),
        2 => value(),
    ]
    .boxed()
}

/// A body, now and then with bytes knocked out of it.
fn body() -> BoxedStrategy<Vec<u8>> {
    let damage = vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..4);
    let damaged = (call(), damage).prop_map(|(text, damage)| {
        let mut bytes = text.into_bytes();
        for (place, byte, how) in damage {
            let at = place.index(bytes.len() + 1);
            match how {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => bytes[at] = byte,
                _ => bytes.truncate(at),
            }
        }
        bytes
    });
    prop_oneof![4 => call().prop_map(String::into_bytes), 1 => damaged, 1 => vec(any::<u8>(), 0..64)].boxed()
}

#[test]
fn what_is_read_is_encoded_whole_and_what_is_not_is_refused_with_a_code() {
    let bundle = layoutlm_inference::Bundle::open(&BUNDLE.path()).unwrap();
    let encoder = bundle.encoder();
    let limits = RequestLimits { body_bytes: 1 << 20, words: 1000, receipts: 3 };
    let read = Cell::new(0u32);
    runner(THROUGH_THE_ENCODER)
        .run(&body(), |body| {
            let call = match parse(&body, Options::default(), limits) {
                Ok(call) => call,
                Err(error) => {
                    prop_assert!(error.status().is_client_error(), "{error:?}");
                    prop_assert!(!error.message().is_empty());
                    return Ok(());
                }
            };
            for receipt in &call.receipts {
                let encoded = encoder.encode(receipt).unwrap();
                let mut seen = vec![false; receipt.words.len()];
                for window in &encoded.windows {
                    prop_assert!(window.len() <= 512 && window.bbox.len() == window.len());
                    window.word_indices.iter().for_each(|&w| seen[w] = true);
                }
                prop_assert!(seen.iter().all(|s| *s), "a word is in no window");
            }
            read.set(read.get() + u32::from(call.receipts.iter().any(|r| !r.words.is_empty())));
            Ok(())
        })
        .unwrap();
    // Refusing everything would keep the promise too.
    assert!(read.get() > THROUGH_THE_ENCODER / 20, "only {} had words to encode", read.get());
}

/// A server without a socket.
fn server() -> Router {
    let mut config = ServerConfig::new(BUNDLE.path());
    (config.workers, config.threads, config.max_words, config.max_receipts) = (Some(2), Some(1), 1000, 3);
    let app: Arc<App> = App::new(&config).unwrap();
    let service = Service::start(&config, &BUNDLE.path(), &app.metrics).unwrap();
    app.install(service);
    router(app, OpenApiRouter::new())
}

#[derive(Debug, Clone)]
struct Asked {
    method: Method,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

fn path() -> BoxedStrategy<String> {
    let described = layoutlm_inference::http::openapi();
    let mut known: Vec<String> = described.paths.paths.keys().cloned().collect();
    known.extend(
        ["/", "/docs", "/openapi.json", "/v1", "/v1/classify/", "//", "/%ff", "/v1/../v1/model"]
            .map(String::from),
    );
    let query = prop_oneof![
        4 => Just(String::new()),
        1 => "[a-z_]{1,14}=[a-z0-9.%-]{0,8}".prop_map(|q| format!("?{q}")),
        1 => select(&["?min_confidence=nan", "?probabilities=true", "?unit=relative&unit=pixels", "?%zz=1", "?origin=bottom_left",
            "?min_confidence=1e999", "?entities=1&x", "?&&&"][..]).prop_map(String::from),
    ];
    (prop_oneof![2 => Just("/v1/classify".to_string()), 1 => select(known)], query)
        .prop_map(|(path, query)| path + &query)
        .boxed()
}

fn asked() -> impl Strategy<Value = Asked> {
    let method = prop_oneof![6 => Just(Method::POST), 2 => Just(Method::GET),
        1 => select(&[Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS, Method::PATCH, Method::TRACE][..])];
    let header = select(
        &[
            "content-type",
            "content-encoding",
            "content-length",
            "traceparent",
            "authorization",
            "x-api-key",
            "accept",
            "x-amzn-sagemaker-custom-attributes",
            "inference-header-content-length",
        ][..],
    );
    let content = prop_oneof![
        select(
            &[
                "application/json",
                "text/plain",
                "application/octet-stream",
                "gzip",
                "identity",
                "-1",
                "99999999999999999999",
                "application/vnd.x+json; charset=\"",
                "Bearer ",
                ";;;",
                "00-0-0-0"
            ][..]
        )
        .prop_map(|s| s.as_bytes().to_vec()),
        vec(any::<u8>(), 0..20),
    ];
    (method, path(), vec((header, content), 0..3), body()).prop_map(|(method, path, headers, body)| Asked {
        method,
        path,
        headers,
        body,
    })
}

async fn answer(server: &Router, asked: Asked) -> Option<(StatusCode, Vec<u8>)> {
    let mut request =
        Request::builder().method(asked.method).uri(asked.path).body(Body::from(asked.body)).ok()?;
    for (name, value) in asked.headers {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            request.headers_mut().insert(name, value);
        }
    }
    let response = server.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Some((status, body.to_vec()))
}

#[test]
fn no_request_to_any_route_is_answered_with_a_fault_of_the_server() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(async { server() });
    let labelled = Cell::new(0u32);
    runner(THROUGH_THE_ROUTES)
        .run(&asked(), |asked| {
            let labels = asked.path.starts_with("/v1/classify") && asked.method == Method::POST;
            let protocol = asked.path.starts_with("/v2");
            let Some((status, body)) = runtime.block_on(answer(&server, asked)) else { return Ok(()) };
            prop_assert!(status.as_u16() < 500, "{status}: {}", String::from_utf8_lossy(&body));
            if status.is_client_error() && !body.is_empty() {
                let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
                // The Open Inference Protocol has its own form of an error.
                let named = value["error"]["code"].is_string() || (protocol && value["error"].is_string());
                prop_assert!(named, "{value}");
            }
            labelled.set(labelled.get() + u32::from(labels && status == StatusCode::OK));
            Ok(())
        })
        .unwrap();
    assert!(labelled.get() > THROUGH_THE_ROUTES / 50, "only {} were labelled", labelled.get());
    let asked = Asked { method: Method::GET, path: "/metrics".into(), headers: vec![], body: vec![] };
    let (_, text) = runtime.block_on(answer(&server, asked)).unwrap();
    assert!(String::from_utf8(text).unwrap().contains("layoutlm_panics_total 0"));
}
