//! Open Inference Protocol, version 2: what its specification says of each request and answer, held against the server.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test fails by panicking.

use std::sync::LazyLock;

use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::receipt::Receipt;
use layoutlm_core::window::Window;
use layoutlm_inference::{Bundle, EngineOptions, Runtime};
use layoutlm_tests::bundle::TestBundle;
use layoutlm_tests::client::Answer;
use layoutlm_tests::server::TestServer;
use serde_json::{Value, json};

static BUNDLE: LazyLock<TestBundle> = LazyLock::new(TestBundle::small);

fn server() -> TestServer {
    TestServer::start(&BUNDLE.path(), |_| {})
}

/// Windows of two receipts of different lengths, and their logits from the engine itself.
fn windows() -> (Vec<Window>, Vec<Vec<f32>>) {
    let bundle = Bundle::open(&BUNDLE.path()).unwrap();
    let engine = bundle.engine(&Runtime::load(None).unwrap(), None, EngineOptions::single()).unwrap();
    let windows: Vec<Window> = [3, 9]
        .into_iter()
        .flat_map(|words| {
            let words: Vec<Value> = (0..words)
                .map(|i| json!({"line_id": 0, "word_id": i, "text": format!("Total{i}"), "box": [i * 10, 5, i * 10 + 8, 20]}))
                .collect();
            let receipt = json!({"image_id": "r", "width": 100, "height": 50, "words": words}).to_string();
            bundle.encoder().encode(&Receipt::from_json(&receipt).unwrap()).unwrap().windows
        })
        .collect();
    let logits = engine.logits(&windows.iter().collect::<Vec<_>>()).unwrap();
    (windows, logits)
}

/// The windows as one padded batch in the protocol's terms: `(name, shape, numbers)`.
fn tensors(windows: &[Window]) -> Vec<(&'static str, Vec<usize>, Vec<i64>)> {
    let (rows, longest) = (windows.len(), windows.iter().map(Window::len).max().unwrap());
    let padded = |of: &dyn Fn(&Window) -> Vec<i64>, width: usize| -> Vec<i64> {
        let row = |w: &Window| {
            let mut row = of(w);
            row.resize(longest * width, 0);
            row
        };
        windows.iter().flat_map(row).collect()
    };
    let boxes = |w: &Window| w.bbox.iter().flat_map(|b| b.corners()).map(i64::from).collect();
    vec![
        (
            "input_ids",
            vec![rows, longest],
            padded(&|w| w.input_ids.iter().map(|id| i64::from(*id)).collect(), 1),
        ),
        ("bbox", vec![rows, longest, 4], padded(&boxes, 4)),
        ("attention_mask", vec![rows, longest], padded(&|w| vec![1; w.len()], 1)),
        ("token_type_ids", vec![rows, longest], vec![0; rows * longest]),
    ]
}

fn json_inputs(windows: &[Window]) -> Vec<Value> {
    let input =
        |(name, shape, data)| json!({"name": name, "shape": shape, "datatype": "INT64", "data": data});
    tensors(windows).into_iter().map(input).collect()
}

fn model_path(server: &TestServer) -> String {
    let job = server.client().get("/v1/model").json()["source"]["job_name"].clone();
    format!("/v2/models/{}", job.as_str().unwrap_or("layoutlm"))
}

fn infer(server: &TestServer, request: &Value) -> Answer {
    server.client().post(&format!("{}/infer", model_path(server)), request.to_string())
}

/// `[rows, longest, labels]` with zeros behind each row's own tokens.
fn expected(windows: &[Window], logits: &[Vec<f32>]) -> Vec<f64> {
    let (longest, labels) =
        (windows.iter().map(Window::len).max().unwrap(), layoutlm_tests::model::LABELS.len());
    let row = |row: &Vec<f32>| {
        let mut row = row.clone();
        row.resize(longest * labels, 0.0);
        row
    };
    logits.iter().flat_map(row).map(f64::from).collect()
}

#[test]
fn server_and_model_say_what_they_are_and_that_they_are_ready() {
    let server = server();
    let client = server.client();
    for path in ["/v2", "/v2/"] {
        let metadata = client.get(path).json();
        assert!(metadata["name"].is_string() && metadata["version"].is_string());
        assert_eq!(metadata["extensions"], json!(["binary_tensor_data"]));
    }
    assert_eq!(client.get("/v2/health/live").json(), json!({"live": true}));
    assert_eq!(client.get("/v2/health/ready").json(), json!({"ready": true}));
    let model = model_path(&server);
    let metadata = client.get(&model).json();
    let name = model.rsplit('/').next().unwrap();
    assert_eq!((&metadata["name"], &metadata["platform"]), (&json!(name), &json!("onnxruntime_onnx")));
    let tensor =
        |name: &str, kind: &str, shape: Value| json!({"name": name, "datatype": kind, "shape": shape});
    let labels = layoutlm_tests::model::LABELS.len();
    assert_eq!(metadata["outputs"], json!([tensor("logits", "FP32", json!([-1, -1, labels]))]));
    let inputs = [
        tensor("input_ids", "INT64", json!([-1, -1])),
        tensor("bbox", "INT64", json!([-1, -1, 4])),
        tensor("attention_mask", "INT64", json!([-1, -1])),
        tensor("token_type_ids", "INT64", json!([-1, -1])),
    ];
    assert_eq!(metadata["inputs"], json!(inputs));
    let version = metadata["versions"][0].as_str().unwrap();
    assert_eq!(client.get(&format!("{model}/versions/{version}")).json(), metadata);
    for path in [format!("{model}/ready"), format!("{model}/versions/{version}/ready")] {
        assert_eq!(client.get(&path).json(), json!({"name": name, "ready": true}));
    }
}

#[test]
fn tensors_in_are_the_engines_logits_out_flat_or_nested_with_or_without_mask() {
    let server = server();
    let (windows, logits) = windows();
    let request = json!({"id": "42", "inputs": json_inputs(&windows), "outputs": [{"name": "logits"}]});
    let answer = infer(&server, &request);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    let metadata = server.client().get(&model_path(&server)).json();
    assert_eq!((&answer["id"], &answer["model_name"]), (&json!("42"), &metadata["name"]));
    assert_eq!(answer["model_version"], metadata["versions"][0]);
    let output = &answer["outputs"][0];
    let longest = windows.iter().map(Window::len).max().unwrap();
    assert_eq!((&output["name"], &output["datatype"]), (&json!("logits"), &json!("FP32")));
    assert_eq!(output["shape"], json!([windows.len(), longest, layoutlm_tests::model::LABELS.len()]));
    let found: Vec<f64> =
        output["data"].as_array().unwrap().iter().map(|v| f64::from(v.as_f64().unwrap() as f32)).collect();
    assert_eq!(found, expected(&windows, &logits));

    let mut nested = request.clone();
    for input in nested["inputs"].as_array_mut().unwrap() {
        let width = longest * if input["name"] == "bbox" { 4 } else { 1 };
        let rows: Vec<Vec<Value>> =
            input["data"].as_array().unwrap().chunks(width).map(<[Value]>::to_vec).collect();
        input["data"] = json!(rows);
    }
    assert_eq!(infer(&server, &nested).json()["outputs"], answer["outputs"]);

    let mut alone = json!({"inputs": json_inputs(&windows[1..])});
    alone["inputs"].as_array_mut().unwrap().truncate(2);
    let alone = infer(&server, &alone).json();
    assert_eq!(alone["outputs"][0]["data"].as_array().unwrap().len(), logits[1].len());
    assert!(alone.get("id").is_none());
}

#[test]
fn tensors_may_come_and_go_as_bytes_behind_the_json() {
    let server = server();
    let (windows, logits) = windows();
    let mut bytes = Vec::new();
    let inputs: Vec<Value> = tensors(&windows)
        .into_iter()
        .map(|(name, shape, data)| {
            bytes.extend(data.iter().flat_map(|n| n.to_le_bytes()));
            let size = json!({"binary_data_size": data.len() * 8});
            json!({"name": name, "shape": shape, "datatype": "INT64", "parameters": size})
        })
        .collect();
    let head = json!({"inputs": inputs, "parameters": {"binary_data_output": true}}).to_string();
    let body = [head.as_bytes(), &bytes].concat();
    let url = format!("http://{}{}/infer", server.address(), model_path(&server));
    let post = |length: &str, body: &[u8]| {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = agent.post(&url).header("inference-header-content-length", length);
        request.header("content-type", "application/octet-stream").send(body).unwrap()
    };
    let mut response = post(&head.len().to_string(), &body);
    assert_eq!(response.status(), 200);
    let split: usize =
        response.headers()["inference-header-content-length"].to_str().unwrap().parse().unwrap();
    let answer = response.body_mut().read_to_vec().unwrap();
    let answer_head: Value = serde_json::from_slice(&answer[..split]).unwrap();
    let size = answer_head["outputs"][0]["parameters"]["binary_data_size"].as_u64().unwrap();
    assert_eq!(size as usize, answer.len() - split);
    assert!(answer_head["outputs"][0].get("data").is_none());
    let numbers = answer[split..].as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b)));
    assert_eq!(numbers.collect::<Vec<_>>(), expected(&windows, &logits));

    for (length, body) in [
        ("x", body.clone()),
        ("9999999", body.clone()),
        (&head.len().to_string(), body[..body.len() - 1].to_vec()),
    ] {
        let mut refused = post(length, &body);
        let error: Value = refused.body_mut().read_json().unwrap();
        assert_eq!(refused.status(), 400);
        assert!(error["error"].is_string(), "{error}");
    }
}

#[test]
fn what_the_model_does_not_take_is_a_400_with_one_sentence_that_names_it() {
    let server = server();
    let (windows, _) = windows();
    let good = json!({"inputs": json_inputs(&windows)});
    let changed = |path: &str, value: Value| {
        let mut request = good.clone();
        *request.pointer_mut(path).unwrap() = value;
        request
    };
    let longest = windows.iter().map(Window::len).max().unwrap();
    let mut holes = vec![1; 2 * longest];
    holes[1] = 0;
    // The first is the specification's own example, which this model does not take.
    let spec = json!({"id": "42", "inputs": [
        {"name": "input0", "shape": [2, 2], "datatype": "UINT32", "data": [1, 2, 3, 4]},
        {"name": "input1", "shape": [3], "datatype": "BOOL", "data": [true]}
    ], "outputs": [{"name": "output0"}]});
    let cases: Vec<(Value, &str)> = vec![
        (spec, "inputs[1].data"),
        (json!({"inputs": []}), "input_ids is missing"),
        (json!({"outputs": []}), "missing field `inputs`"),
        (json!({"inputs": json_inputs(&windows)[1..]}), "input_ids is missing"),
        (changed("/inputs/0/name", json!("pixels")), "unknown input \"pixels\""),
        (changed("/inputs/1/name", json!("input_ids")), "input_ids is given twice"),
        (changed("/inputs/0/datatype", json!("INT32")), "input_ids has datatype INT32"),
        (changed("/inputs/0/shape", json!([2])), "input_ids has shape [2], but"),
        (changed("/inputs/0/shape", json!([2 * longest])), "expected [batch, sequence]"),
        (changed("/inputs/1/shape", json!([2, longest * 4])), "bbox has shape"),
        (changed("/inputs/0/data/1", json!(-1)), "input_ids, row 0: -1 is no token"),
        (changed("/inputs/0/data/1", json!(1_000_000)), "row 0: 1000000 is no token"),
        (changed("/inputs/1/data/5", json!(1001)), "bbox, row 0"),
        (changed("/inputs/2/data", json!(holes)), "attention_mask, row 0"),
        (changed("/inputs/3/data/0", json!(1)), "token_type_ids holds 1"),
        (
            json!({"inputs": json_inputs(&windows), "outputs": [{"name": "labels"}]}),
            "unknown output \"labels\"",
        ),
    ];
    for (request, part) in cases {
        let answer = infer(&server, &request);
        let error = answer.json();
        assert_eq!(answer.status, 400, "{part}: {error}");
        assert!(error["error"].as_str().unwrap().contains(part), "{part}: {error}");
        assert_eq!(error.as_object().unwrap().len(), 1);
    }
    let long = json!({"inputs": [
        {"name": "input_ids", "shape": [1, 513], "datatype": "INT64", "data": vec![5; 513]},
        {"name": "bbox", "shape": [1, 513, 4], "datatype": "INT64", "data": vec![0; 513 * 4]}
    ]});
    assert!(infer(&server, &long).text.contains("513 tokens"));
    let huge = json!({"inputs": [
        {"name": "input_ids", "shape": [u64::MAX, u64::MAX], "datatype": "INT64", "data": []},
        {"name": "bbox", "shape": [0, 0, 4], "datatype": "INT64", "data": []}
    ]});
    assert_eq!(infer(&server, &huge).status, 400);
}

#[test]
fn other_models_and_versions_are_404_and_a_draining_server_says_503() {
    let mut server = server();
    let client = server.client();
    let model = model_path(&server);
    for path in [
        "/v2/models/other".into(),
        "/v2/models/other/ready".into(),
        format!("{model}/versions/1"),
        format!("{model}/versions/1/ready"),
    ] {
        let answer = client.get(&path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["error"].as_str().unwrap().contains("is served"), "{}", answer.text);
    }
    assert_eq!(client.post("/v2/models/other/infer", "{}").status, 404);
    server.tell_to_stop();
}
