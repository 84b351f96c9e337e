//! Windows cut from single OCR lines: every word in one, entities end with the line.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test fails by panicking.

use layoutlm_core::classifier::{ClassifierError, TokenClassifier};
use layoutlm_core::encoder::Encoder;
use layoutlm_core::encoding::{Encoding, Granularity};
use layoutlm_core::evaluate::{GoldReceipt, evaluate};
use layoutlm_core::label::{LabelScheme, LabelSet, core_labels, preset};
use layoutlm_core::predict::predict;
use layoutlm_core::receipt::{Receipt, ValidationStatus};
use layoutlm_core::tokenize::Tokenizer;
use layoutlm_core::window::Window;

fn encoder() -> Encoder {
    let vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\n";
    let tokenizer = Tokenizer::from_vocab(vocab, true).unwrap();
    let labels = LabelSet::from_entities(["AMOUNT".to_string()]).unwrap();
    let scheme = LabelScheme::new(preset("amounts").unwrap(), None, &core_labels()).unwrap();
    let mut encoding = Encoding::new(tokenizer.sha256().into(), true, labels, scheme);
    encoding.granularity = Granularity::Line;
    Encoder::new(encoding, tokenizer).unwrap()
}

/// Two lines in the wrong order, and one without a token between them.
fn receipt() -> Receipt {
    let word = |line: u32, id: u32, text: &str, label: &str| {
        format!(
            r#"{{"line_id":{line},"word_id":{id},"text":"{text}","box":[{},{},{},{}],"label":"{label}"}}"#,
            id * 10,
            line * 10,
            id * 10 + 9,
            line * 10 + 9
        )
    };
    let words = [
        word(7, 1, "d", "TAX"),
        word(7, 0, "c", "LINE_TOTAL"),
        word(5, 0, " ", "O"),
        word(2, 0, "a", "O"),
        word(2, 1, "b", "LINE_TOTAL"),
    ];
    Receipt::from_json(&format!(r#"{{"image_id":"r","words":[{}]}}"#, words.join(","))).unwrap()
}

/// Says I-AMOUNT to b, c and d, whatever is around them.
struct Inside;

impl TokenClassifier for Inside {
    fn num_labels(&self) -> usize {
        3
    }
    fn logits(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ClassifierError> {
        let row = |&id: &u32| if id >= 6 { [0.0, 1.0, 9.0] } else { [9.0, 0.0, 0.0] };
        Ok(windows.iter().map(|w| w.input_ids.iter().flat_map(row).collect()).collect())
    }
}

#[test]
fn each_line_is_a_window_read_by_word_id_and_merged_neighbours_are_one_entity() {
    let (encoder, receipt) = (encoder(), receipt());
    let gold = GoldReceipt::new(&encoder, &receipt, ValidationStatus::Valid).unwrap();
    assert_eq!(gold.encoded.order, [3, 4, 2, 1, 0]);
    assert_eq!(encoder.order(&receipt), gold.encoded.order);
    let words: Vec<&[usize]> = gold.encoded.windows.iter().map(|w| w.word_indices.as_slice()).collect();
    assert_eq!(words, [[3, 4].as_slice(), &[2], &[1, 0]]);
    assert_eq!(gold.tags, ["O", "B-AMOUNT", "O", "B-AMOUNT", "I-AMOUNT"]);
}

#[test]
fn a_line_that_starts_inside_an_entity_begins_it() {
    let (encoder, receipt) = (encoder(), receipt());
    let labels: Vec<String> =
        predict(&encoder, &Inside, &receipt).unwrap().words.into_iter().map(|w| w.label).collect();
    assert_eq!(labels, ["I-AMOUNT", "B-AMOUNT", "O", "O", "I-AMOUNT"]);
    // The lone I-AMOUNT after O starts an entity too, so both of the gold ones are found.
    let gold = GoldReceipt::new(&encoder, &receipt, ValidationStatus::Valid).unwrap();
    let evaluation = evaluate(&encoder, &Inside, &[gold], &|_| {}).unwrap();
    assert_eq!(evaluation.f1, 1.0);
}

#[test]
fn lines_without_windows_do_not_shift_the_labels_of_later_ones() {
    let (encoder, receipt) = (encoder(), receipt());
    let mut encoded = encoder.encode(&receipt).unwrap();
    encoded.windows.retain(|w| w.len() > 2);
    let windows: Vec<&Window> = encoded.windows.iter().collect();
    let logits = Inside.logits(&windows).unwrap();
    let scores = layoutlm_core::predict::score_words(&encoder, &encoded, &logits).unwrap();
    let names: Vec<&str> = scores.labels.iter().map(|&id| encoder.encoding().labels.name(id)).collect();
    assert_eq!(names, ["O", "I-AMOUNT", "O", "B-AMOUNT", "I-AMOUNT"]);
}
