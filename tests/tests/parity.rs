//! One label per word, whoever is asked: the trainer's evaluation, `predict` on a checkpoint and on a bundle, the server
//! asked receipt by receipt, and the server asked for many at once by many at once.
//!
//! Receipts are those of SROIE's test set: every eighth, or all of them with `LAYOUTLM_FULL=1` (`make parity`).
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;

use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::encoder::Encoder;
use layoutlm_core::evaluate::{GoldReceipt, score_receipts};
use layoutlm_core::predict::predict;
use layoutlm_core::receipt::{BadLines, Receipt, ValidationStatus, read_jsonl};
use layoutlm_exporter::VariantKind;
use layoutlm_inference::config::ServerConfig;
use layoutlm_inference::{Bundle, EngineOptions, Runtime};
use layoutlm_tests::bundle::export_checkpoint;
use layoutlm_tests::server::TestServer;
use layoutlm_tests::shared;
use layoutlm_trainer::model::CandleClassifier;
use serde_json::{Value, json};

/// Labels of each receipt's words, in input order.
type Labels = Vec<Vec<String>>;

fn receipts(path: &Path) -> Vec<Receipt> {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let read = read_jsonl(file, "test.jsonl", BadLines::Refuse).unwrap().receipts;
    let step = if std::env::var_os("LAYOUTLM_FULL").is_some() { 1 } else { 8 };
    read.into_iter().step_by(step).collect()
}

/// As the trainer's evaluation scores them.
fn evaluated(encoder: &Encoder, classifier: &dyn TokenClassifier, receipts: &[Receipt]) -> Labels {
    let gold: Vec<GoldReceipt> =
        receipts.iter().map(|r| GoldReceipt::new(encoder, r, ValidationStatus::Valid).unwrap()).collect();
    let scored = score_receipts(encoder, classifier, &gold, &|_| {}).unwrap();
    let in_input_order = |(gold, scored): (&GoldReceipt, layoutlm_core::evaluate::ScoredReceipt)| {
        let mut labels = vec![String::new(); gold.encoded.num_words];
        for (&index, label) in gold.encoded.order.iter().zip(scored.predicted) {
            labels[index] = label;
        }
        labels
    };
    gold.iter().zip(scored).map(in_input_order).collect()
}

fn predicted(encoder: &Encoder, classifier: &dyn TokenClassifier, receipts: &[Receipt]) -> Labels {
    let labels =
        |r: &Receipt| predict(encoder, classifier, r).unwrap().words.into_iter().map(|w| w.label).collect();
    receipts.iter().map(labels).collect()
}

fn served(answer: &Value) -> Vec<String> {
    answer["words"].as_array().unwrap().iter().map(|w| w["label"].as_str().unwrap().to_string()).collect()
}

fn one_by_one(bundle: &Path, receipts: &[Receipt], change: impl FnOnce(&mut ServerConfig)) -> Labels {
    let server = TestServer::start(bundle, change);
    receipts.iter().map(|r| served(&server.client().classify(&json!(r)))).collect()
}

/// Eight clients ask for lists of one to seven receipts, in an order of their own, all at once.
fn all_at_once(bundle: &Path, receipts: &[Receipt], change: impl FnOnce(&mut ServerConfig)) -> Vec<Labels> {
    let server = TestServer::start(bundle, change);
    let ask = |client: usize| {
        let mut order: Vec<usize> = (0..receipts.len()).collect();
        order.rotate_left(client * receipts.len() / 8);
        let mut labels = vec![Vec::new(); receipts.len()];
        for some in order.chunks(1 + client % 7) {
            let call: Vec<&Receipt> = some.iter().map(|&i| &receipts[i]).collect();
            let answers = server.client().classify(&json!(call));
            for (&index, answer) in some.iter().zip(answers.as_array().unwrap()) {
                labels[index] = served(answer);
            }
        }
        labels
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8).map(|client| scope.spawn(move || ask(client))).collect();
        clients.into_iter().map(|c| c.join().unwrap()).collect()
    })
}

#[test]
fn every_way_to_a_label_gives_the_same_one() {
    let (Some(tiny), Some(sroie)) = (shared("goldens/tiny"), shared("data/sroie/test.jsonl")) else { return };
    let receipts = receipts(&sroie);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    export_checkpoint(&tiny, &path, &[VariantKind::Fp32]).unwrap();
    let bundle = Bundle::open(&path).unwrap();
    let candle = CandleClassifier::open(&tiny).unwrap();
    let engine = bundle.engine(&Runtime::load(None).unwrap(), None, EngineOptions::throughput()).unwrap();

    let expected = evaluated(bundle.encoder(), &candle, &receipts);
    assert!(expected.iter().flatten().any(|l| l != "O") && expected.len() == receipts.len());
    assert_eq!(evaluated(bundle.encoder(), &engine, &receipts), expected);
    assert_eq!(predicted(bundle.encoder(), &candle, &receipts), expected);
    assert_eq!(predicted(bundle.encoder(), &engine, &receipts), expected);
    assert_eq!(one_by_one(&path, &receipts, |_| {}), expected);
    let batches = |c: &mut ServerConfig| (c.batch_tokens, c.batch_delay_ms) = (4096, 2);
    for labels in all_at_once(&path, &receipts, batches) {
        assert_eq!(labels, expected);
    }
}

#[test]
fn an_int8_model_labels_a_receipt_alike_alone_and_in_any_company() {
    let (Some(tiny), Some(sroie)) = (shared("goldens/tiny"), shared("data/sroie/test.jsonl")) else { return };
    let receipts: Vec<Receipt> = receipts(&sroie).into_iter().step_by(4).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    layoutlm_tests::bundle::export_unproved(&tiny, &path, &[VariantKind::Int8]).unwrap();
    let bundle = Bundle::open(&path).unwrap();
    let engine = bundle.engine(&Runtime::load(None).unwrap(), None, EngineOptions::single()).unwrap();
    let expected = predicted(bundle.encoder(), &engine, &receipts);
    assert_eq!(one_by_one(&path, &receipts, |_| {}), expected);
    for labels in all_at_once(&path, &receipts, |c| (c.batch_tokens, c.batch_delay_ms) = (4096, 2)) {
        assert_eq!(labels, expected);
    }
}
