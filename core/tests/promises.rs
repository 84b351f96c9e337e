//! Promises over all receipts: nothing is dropped, nothing panics.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test fails by panicking.

use std::sync::atomic::{AtomicUsize, Ordering};

use layoutlm_core::bbox::{BoxRule, BoxScale, Origin};
use layoutlm_core::classifier::{ClassifierError, TokenClassifier};
use layoutlm_core::encoder::Encoder;
use layoutlm_core::encoding::{Decoding, Encoding};
use layoutlm_core::evaluate::{GoldReceipt, score_receipts};
use layoutlm_core::label::{LabelScheme, LabelSet};
use layoutlm_core::predict::predict;
use layoutlm_core::reading_order::ReadingOrder;
use layoutlm_core::receipt::{BadLines, Receipt, ValidationStatus, Word, read_jsonl};
use layoutlm_core::tokenize::Tokenizer;
use layoutlm_core::window::{Window, WindowRule};
use proptest::prelude::*;

/// Logits that depend on the token and its box alone.
struct Hashed(usize);

impl TokenClassifier for Hashed {
    fn num_labels(&self) -> usize {
        self.0
    }
    fn logits(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ClassifierError> {
        let row = |id: u32| (0..self.0).map(move |l| ((id as usize * 31 + l * 17) % 23) as f32 / 4.0);
        Ok(windows.iter().map(|w| w.input_ids.iter().copied().flat_map(row).collect()).collect())
    }
}

fn tokenizer() -> Tokenizer {
    let pieces = ('a'..='z').flat_map(|c| [c.to_string(), format!("##{c}")]);
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from);
    let vocab: Vec<String> = special.into_iter().chain(pieces).collect();
    Tokenizer::from_vocab(&vocab.join("\n"), true).unwrap()
}

fn encoder(order: ReadingOrder, rule: BoxRule, window: WindowRule, decoding: Decoding) -> Encoder {
    let tokenizer = tokenizer();
    let labels = LabelSet::from_entities(["A".to_string(), "B".to_string()]).unwrap();
    let mut encoding = Encoding::new(tokenizer.sha256().into(), true, labels, LabelScheme::default());
    encoding.reading_order = order;
    encoding.box_rule = rule;
    encoding.window = window;
    encoding.decoding = decoding;
    Encoder::new(encoding, tokenizer).unwrap()
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let coordinate = prop_oneof![-50.0..2000.0f64, Just(0.0), Just(1e300), Just(-1e300)];
    let text = prop_oneof!["[a-z]{0,40}", ".{0,12}", Just("\u{200b}".to_string()), "[a-z]{200,700}"];
    let word = (text, [coordinate.clone(), coordinate.clone(), coordinate.clone(), coordinate]);
    let size = prop_oneof![Just(None), (1.0..3000.0f64).prop_map(Some)];
    let origin = prop_oneof![Just(Origin::TopLeft), Just(Origin::BottomLeft)];
    (prop::collection::vec(word, 0..60), size.clone(), size, origin).prop_map(
        |(words, width, height, origin)| {
            let words = words.into_iter().enumerate().map(|(i, (text, bbox))| Word {
                line_id: i as u32 / 4,
                word_id: i as u32,
                text,
                bbox,
                label: None,
                validation_status: Default::default(),
                source_label: None,
                entity_id: None,
            });
            Receipt {
                image_id: "r".into(),
                receipt_id: 1,
                width,
                height,
                origin,
                merchant: None,
                words: words.collect(),
            }
        },
    )
}

fn any_encoder() -> impl Strategy<Value = Encoder> {
    let order = prop_oneof![Just(ReadingOrder::Line), Just(ReadingOrder::Yx), Just(ReadingOrder::Given)];
    let scale = prop_oneof![Just(BoxScale::PageSize), Just(BoxScale::Extents)];
    let origin = prop_oneof![Just(Origin::TopLeft), Just(Origin::BottomLeft)];
    let decoding = prop_oneof![Just(Decoding::Argmax), Just(Decoding::Bio)];
    (order, scale, origin, 1usize..30, 1usize..30, 3usize..80, decoding).prop_map(
        |(o, scale, origin, a, b, len, d)| {
            let window =
                WindowRule { size: a.max(b), stride: a.min(b), max_length: len, ..WindowRule::default() };
            encoder(o, BoxRule { scale, origin }, window, d)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_word_of_any_receipt_gets_exactly_one_label(receipt in receipt(), encoder in any_encoder()) {
        receipt.check().unwrap();
        let classes = encoder.encoding().labels.len();
        let prediction = predict(&encoder, &Hashed(classes), &receipt).unwrap();
        let ids = |r: &[(u32, u32)]| r.to_vec();
        let given: Vec<(u32, u32)> = receipt.words.iter().map(|w| (w.line_id, w.word_id)).collect();
        let labelled: Vec<(u32, u32)> = prediction.words.iter().map(|w| (w.line_id, w.word_id)).collect();
        prop_assert_eq!(ids(&given), labelled);
        for word in &prediction.words {
            prop_assert!(encoder.encoding().labels.id(&word.label).is_some());
            prop_assert!(!word.no_tokens || (word.label == "O" && word.confidence == 0.0));
            prop_assert!((0.0..=1.0001).contains(&word.confidence));
        }
    }

    #[test]
    fn every_word_lands_in_some_window_within_the_length(receipt in receipt(), encoder in any_encoder()) {
        let encoded = encoder.encode(&receipt).unwrap();
        let mut seen = vec![false; receipt.words.len()];
        for window in &encoded.windows {
            prop_assert!(window.len() <= encoder.encoding().window.max_length);
            window.word_indices.iter().for_each(|&w| seen[w] = true);
        }
        prop_assert!(seen.iter().all(|s| *s));
    }

    #[test]
    fn no_bytes_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_jsonl(&bytes[..], "fuzz", BadLines::Refuse);
        let read = read_jsonl(&bytes[..], "fuzz", BadLines::Skip).unwrap();
        prop_assert!(read.receipts.iter().all(|r| r.check().is_ok()));
    }

    #[test]
    fn no_json_of_the_right_words_panics_the_reader(text in r#"(\{"image_id":("a"|1|null),"receipt_id":(1|-1|1e9|99999999999),"words":(\[\]|null|\[\{"line_id":0,"word_id":0,"text":"x","box":(\[0,0,1,1\]|\[1e999,0,1,1\]|\[\]|"x")\}\])\}\n){0,3}"#) {
        let _ = read_jsonl(text.as_bytes(), "fuzz", BadLines::Refuse);
    }
}

#[test]
fn a_word_in_two_windows_gets_the_mean_of_its_probabilities() {
    let rule = WindowRule { size: 2, stride: 1, max_length: 16, ..WindowRule::default() };
    let encoder = encoder(ReadingOrder::Given, BoxRule::default(), rule, Decoding::Argmax);
    /// Answers each window by its place in the call.
    struct ByWindow;
    impl TokenClassifier for ByWindow {
        fn num_labels(&self) -> usize {
            5
        }
        fn logits(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ClassifierError> {
            let row = |i: usize| if i == 0 { [0.0, 9.0, 0.0, 0.0, 0.0] } else { [0.0, 0.0, 0.0, 0.0, 3.0] };
            Ok(windows.iter().enumerate().map(|(i, w)| row(i).repeat(w.len())).collect())
        }
    }
    let words = (0..3).map(|i| format!(r#"{{"line_id":0,"word_id":{i},"text":"x","box":[0,0,1,1]}}"#));
    let words: Vec<String> = words.collect();
    let receipt =
        Receipt::from_json(&format!(r#"{{"image_id":"a","words":[{}]}}"#, words.join(","))).unwrap();
    let p = predict(&encoder, &ByWindow, &receipt).unwrap();
    let (strong, weak) = (9f64.exp(), 3f64.exp());
    let expected = (strong / (strong + 4.0) + 1.0 / (weak + 4.0)) / 2.0;
    assert_eq!(p.words[1].label, "B-A");
    assert!((f64::from(p.words[1].confidence) - expected).abs() < 1e-6);
    assert_eq!(p.words[2].label, "I-B");
}

/// Labelled receipts of 90 words each, the last word its own.
fn labelled(encoder: &Encoder, last_words: &[&str]) -> Vec<GoldReceipt> {
    let receipt = |(at, last): (usize, &&str)| {
        let text = |i: usize| if i == 89 { (*last).to_string() } else { "abc".repeat(1 + i % 4) };
        let word = |i: usize| {
            let text = text(i);
            format!(
                r#"{{"line_id":{},"word_id":{i},"text":"{text}","box":[0,{i},9,{i}],"label":"A"}}"#,
                i / 5
            )
        };
        let words: Vec<String> = (0..90).map(word).collect();
        let json = format!(r#"{{"image_id":"a","receipt_id":{at},"words":[{}]}}"#, words.join(","));
        let receipt = Receipt::from_json(&json).unwrap();
        GoldReceipt::new(encoder, &receipt, ValidationStatus::Valid).unwrap()
    };
    last_words.iter().enumerate().map(receipt).collect()
}

#[test]
fn receipts_scored_together_get_the_scores_they_get_alone() {
    let rule = WindowRule { size: 40, stride: 30, ..WindowRule::default() };
    let encoder = encoder(ReadingOrder::Given, BoxRule::default(), rule, Decoding::Bio);
    let receipts = labelled(&encoder, &["a", "bc", "def", "ghij", "k", "l", "m", "n", "o", "p"]);
    /// Counts its calls.
    struct Counting(Hashed, AtomicUsize);
    impl TokenClassifier for Counting {
        fn num_labels(&self) -> usize {
            self.0.num_labels()
        }
        fn logits(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ClassifierError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.logits(windows)
        }
    }
    let counting = Counting(Hashed(5), AtomicUsize::new(0));
    let done = std::cell::RefCell::new(Vec::new());
    let together = score_receipts(&encoder, &counting, &receipts, &|n| done.borrow_mut().push(n)).unwrap();
    assert_eq!(*done.borrow(), (1..=10).collect::<Vec<_>>());
    let calls = counting.1.into_inner();
    assert!((2..10).contains(&calls), "{calls} calls for 10 receipts");
    for (receipt, together) in receipts.iter().zip(&together) {
        let alone = score_receipts(&encoder, &Hashed(5), std::slice::from_ref(receipt), &|_| {}).unwrap();
        assert_eq!((&alone[0].key, &alone[0].predicted), (&together.key, &together.predicted));
        assert_eq!(alone[0].scores.probabilities, together.scores.probabilities);
    }
}

#[test]
fn a_receipt_the_model_fails_on_is_named_though_others_went_with_it() {
    let rule = WindowRule::default();
    let encoder = encoder(ReadingOrder::Given, BoxRule::default(), rule, Decoding::Argmax);
    let receipts = labelled(&encoder, &["a", "b", "z", "c"]);
    /// Fails on the token of `z`.
    struct Fails(u32);
    impl TokenClassifier for Fails {
        fn num_labels(&self) -> usize {
            5
        }
        fn logits(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ClassifierError> {
            if windows.iter().any(|w| w.input_ids.contains(&self.0)) {
                return Err("no".into());
            }
            Hashed(5).logits(windows)
        }
    }
    let window = receipts[2].encoded.windows.last().unwrap();
    let fails = Fails(window.input_ids[window.len() - 2]);
    let error = score_receipts(&encoder, &fails, &receipts, &|_| {}).unwrap_err().to_string();
    assert_eq!(error, format!("the model failed on receipt {}: no", receipts[2].key));
}

#[test]
fn an_empty_receipt_has_no_words_and_no_windows() {
    let encoder = encoder(ReadingOrder::Line, BoxRule::default(), WindowRule::default(), Decoding::Bio);
    let receipt = Receipt::from_json(r#"{"image_id":"a","words":[]}"#).unwrap();
    assert!(encoder.encode(&receipt).unwrap().windows.is_empty());
    assert!(predict(&encoder, &Hashed(5), &receipt).unwrap().words.is_empty());
}
