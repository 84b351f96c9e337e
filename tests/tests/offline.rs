//! Receipts by the million go through the same steps as one: same answers, same order, and errors in their place.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test fails by panicking.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use layoutlm_core::classifier::{ClassifierError, TokenClassifier};
use layoutlm_core::predict::predict;
use layoutlm_core::receipt::Receipt;
use layoutlm_core::window::Window;
use layoutlm_inference::offline::{OfflineError, label_all};
use layoutlm_inference::{Bundle, EngineOptions, Runtime};
use layoutlm_tests::bundle::TestBundle;
use serde_json::{Value, json};

fn receipt(id: usize) -> Receipt {
    let words: Vec<Value> = (0..(id * 37) % 300)
        .map(|i| json!({"line_id": 0, "word_id": i, "text": (["Total", "12.50"][i % 2]), "box": [i, 0, i + 1, 9]}))
        .collect();
    let text = json!({"image_id": format!("r{id}"), "width": 400, "height": 10, "words": words}).to_string();
    Receipt::from_json(&text).unwrap()
}

#[test]
fn answers_are_those_of_one_at_a_time_in_the_order_given() {
    let folder = TestBundle::small();
    let bundle = Bundle::open(&folder.path()).unwrap();
    let engine = bundle
        .engine(&Runtime::load(None).unwrap(), None, EngineOptions { sessions: 3, threads: 1 })
        .unwrap();
    let receipts: Vec<Receipt> = (0..200).map(receipt).collect();
    let mut found = Vec::new();
    let sink = |_: &Receipt, prediction| {
        found.push(prediction);
        Ok::<(), String>(())
    };
    let source = receipts.iter().cloned().map(Ok);
    assert!(label_all(bundle.encoder(), &engine, source, sink, &AtomicBool::new(false)).unwrap());
    let expected: Vec<_> = receipts.iter().map(|r| predict(bundle.encoder(), &engine, r).unwrap()).collect();
    assert!(found == expected);
}

#[test]
fn an_error_of_source_sink_or_network_ends_it_and_what_came_before_is_handed_on() {
    let folder = TestBundle::small();
    let bundle = Bundle::open(&folder.path()).unwrap();
    let engine = bundle.engine(&Runtime::load(None).unwrap(), None, EngineOptions::single()).unwrap();
    let go_on = AtomicBool::new(false);
    let mut seen = 0;
    let source = (0..500).map(|i| if i == 333 { Err("line 333".to_string()) } else { Ok(receipt(i)) });
    let count = |_: &Receipt, _| {
        seen += 1;
        Ok(())
    };
    let outcome = label_all(bundle.encoder(), &engine, source, count, &go_on);
    assert!(matches!(outcome, Err(OfflineError::Outside(e)) if e == "line 333"));
    assert_eq!(seen, 333);

    let full =
        |receipt: &Receipt, _| if receipt.image_id == "r70" { Err("disk full".to_string()) } else { Ok(()) };
    let outcome = label_all(bundle.encoder(), &engine, (0..1000).map(receipt).map(Ok), full, &go_on);
    assert!(matches!(outcome, Err(OfflineError::Outside(e)) if e == "disk full"));

    let broken = Broken(AtomicUsize::new(0), bundle.manifest().labels.len());
    let sink = |_: &Receipt, _| Ok::<(), String>(());
    let outcome = label_all(bundle.encoder(), &broken, (0..1000).map(receipt).map(Ok), sink, &go_on);
    let said = outcome.unwrap_err().to_string();
    assert!(said.contains("the model failed on receipt") && said.contains("out of memory"), "{said}");
}

#[test]
fn told_to_stop_it_hands_on_what_is_on_its_way_and_reads_no_more() {
    let folder = TestBundle::small();
    let bundle = Bundle::open(&folder.path()).unwrap();
    let engine = bundle.engine(&Runtime::load(None).unwrap(), None, EngineOptions::single()).unwrap();
    let stop = AtomicBool::new(false);
    let read = AtomicUsize::new(0);
    let source = (0..100_000).map(|i| {
        read.fetch_add(1, Ordering::Relaxed);
        Ok::<_, String>(receipt(i % 7))
    });
    let mut seen = 0;
    let sink = |_: &Receipt, _| {
        seen += 1;
        stop.store(true, Ordering::Relaxed);
        Ok(())
    };
    assert!(!label_all(bundle.encoder(), &engine, source, sink, &stop).unwrap());
    assert_eq!(seen, read.load(Ordering::Relaxed));
    assert!(seen < 1000, "{seen}");
}

/// Fails at its third run.
struct Broken(AtomicUsize, usize);

impl TokenClassifier for Broken {
    fn num_labels(&self) -> usize {
        self.1
    }

    fn logits(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ClassifierError> {
        if self.0.fetch_add(1, Ordering::Relaxed) == 2 {
            return Err("out of memory".into());
        }
        Ok(windows.iter().map(|w| vec![0.0; w.len() * self.1]).collect())
    }
}
