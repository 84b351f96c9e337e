//! The answer in AnalyzeExpense's shape. What its own client makes of it is checked by `tests/peers/run.sh`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test fails by panicking.

use std::sync::LazyLock;

use layoutlm_tests::bundle::TestBundle;
use layoutlm_tests::server::TestServer;
use serde_json::{Value, json};

static BUNDLE: LazyLock<TestBundle> = LazyLock::new(TestBundle::small);

fn receipt(origin: &str) -> Value {
    let words: Vec<Value> = (0..40u32)
        .map(|i| {
            let (x, y) = (f64::from(i % 4) * 90.0, f64::from(i / 4) * 20.0);
            let (top, bottom) =
                if origin == "top_left" { (y, y + 15.0) } else { (200.0 - y - 15.0, 200.0 - y) };
            let text = ["Market", "12.50", "2024-03-14", "$3.00"][(i % 4) as usize];
            json!({"line_id": i / 4, "word_id": i % 4, "text": text, "box": [x, top, x + 80.0, bottom]})
        })
        .collect();
    json!({"image_id": "r", "width": 400, "height": 200, "origin": origin, "words": words})
}

#[test]
fn fields_blocks_and_geometry_have_the_documented_shape() {
    let server = TestServer::start(&BUNDLE.path(), |_| {});
    let native = server.client().classify(&receipt("top_left"));
    let answer = server.client().post("/v1/classify?format=textract", receipt("top_left").to_string()).json();
    assert_eq!(answer["DocumentMetadata"], json!({"Pages": 1}));
    let document = &answer["ExpenseDocuments"][0];
    assert_eq!(document["ExpenseIndex"], 1);
    let fields = document["SummaryFields"].as_array().unwrap();
    assert!(!fields.is_empty());
    for field in fields {
        let (kind, value) = (&field["Type"], &field["ValueDetection"]);
        assert!(kind["Text"].is_string() && (0.0..=100.0).contains(&kind["Confidence"].as_f64().unwrap()));
        let bounds = &value["Geometry"]["BoundingBox"];
        let [left, top, width, height] =
            ["Left", "Top", "Width", "Height"].map(|n| bounds[n].as_f64().unwrap());
        assert!(left >= 0.0 && top >= 0.0 && left + width <= 1.0 + 1e-9 && top + height <= 1.0 + 1e-9);
        assert_eq!(value["Geometry"]["Polygon"].as_array().unwrap().len(), 4);
        assert_eq!(field["PageNumber"], 1);
    }
    let texts = |kind: &str| -> Vec<&Value> {
        fields.iter().filter(|f| f["Type"]["Text"] == kind).map(|f| &f["ValueDetection"]["Text"]).collect()
    };
    let entities = native["entities"].as_array().unwrap();
    for (ours, theirs) in [("MERCHANT_NAME", "VENDOR_NAME"), ("DATE", "INVOICE_RECEIPT_DATE")] {
        let expected: Vec<&Value> =
            entities.iter().filter(|e| e["type"] == ours).map(|e| &e["text"]).collect();
        assert_eq!(texts(theirs), expected, "{ours}");
    }
    let blocks = document["Blocks"].as_array().unwrap();
    let of = |kind: &str| blocks.iter().filter(|b| b["BlockType"] == kind).collect::<Vec<_>>();
    assert_eq!((of("PAGE").len(), of("LINE").len(), of("WORD").len()), (1, 10, 40));
    let ids: std::collections::BTreeSet<&str> = blocks.iter().map(|b| b["Id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), blocks.len());
    for block in blocks {
        for id in
            block["Relationships"].as_array().into_iter().flatten().flat_map(|r| r["Ids"].as_array().unwrap())
        {
            assert!(ids.contains(id.as_str().unwrap()));
        }
    }
    assert_eq!(of("LINE")[0]["Text"], "Market 12.50 2024-03-14 $3.00");
}

#[test]
fn geometry_is_from_the_top_left_whatever_the_origin_and_a_list_is_one_document_each() {
    let server = TestServer::start(&BUNDLE.path(), |_| {});
    let call =
        json!({"receipts": [receipt("top_left"), receipt("bottom_left")], "options": {"format": "textract"}});
    let answer = server.client().post("/v1/classify", call.to_string()).json();
    let documents = answer["ExpenseDocuments"].as_array().unwrap();
    assert_eq!((documents.len(), &answer["DocumentMetadata"]["Pages"]), (2, &json!(2)));
    let boxes = |document: &Value| -> Vec<Value> {
        let words = document["Blocks"].as_array().unwrap().iter().filter(|b| b["BlockType"] == "WORD");
        words
            .map(|b| {
                json!([b["Text"], b["Geometry"]["BoundingBox"]["Top"].as_f64().map(|t| (t * 1e6).round())])
            })
            .collect()
    };
    assert_eq!(boxes(&documents[0]), boxes(&documents[1]));
    assert_eq!(documents[1]["SummaryFields"][0]["PageNumber"], 2);
}

#[test]
fn fields_below_the_wanted_confidence_are_left_out() {
    let server = TestServer::start(&BUNDLE.path(), |_| {});
    let path = "/v1/classify?format=textract&min_confidence=1";
    let answer = server.client().post(path, receipt("top_left").to_string()).json();
    assert_eq!(answer["ExpenseDocuments"][0]["SummaryFields"], json!([]));
    let wrong = server.client().post("/v1/classify?format=pdf", receipt("top_left").to_string());
    assert_eq!(wrong.refusal(), (400, "invalid_query".into()));
}

#[test]
fn line_items_and_their_sum_come_on_request_only() {
    let server = TestServer::start(&BUNDLE.path(), |_| {});
    let plain = server.client().classify(&receipt("top_left"));
    assert!(plain.get("line_items").is_none() && plain.get("arithmetic").is_none());
    let asked = server.client().post("/v1/classify?line_items=true", receipt("top_left").to_string()).json();
    assert!(asked["line_items"].is_array());
    assert!(["holds", "differs", "incomplete"].contains(&asked["arithmetic"]["outcome"].as_str().unwrap()));
    assert_eq!(asked["words"], plain["words"]);
}
