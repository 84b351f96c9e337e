//! What the made-up receipts promise: repeatable, well formed, varied, and held-out merchants are new.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests, which may panic

use std::collections::{BTreeMap, BTreeSet};

use layoutlm_core::bbox::{BoxRule, Origin};
use layoutlm_core::reading_order::ReadingOrder;
use layoutlm_core::receipt::Receipt;
use layoutlm_core::tokenize::Tokenizer;
use layoutlm_trainer::data::{SynthSize, merchant_of, synth_vocab, synthesize, synthesize_splits};

const LABELS: [&str; 10] = [
    "MERCHANT_NAME",
    "PHONE_NUMBER",
    "ADDRESS_LINE",
    "DATE",
    "TIME",
    "PRODUCT_NAME",
    "LINE_TOTAL",
    "SUBTOTAL",
    "TAX",
    "GRAND_TOTAL",
];

#[test]
fn the_same_seed_gives_the_same_receipts_and_another_seed_others() {
    let (a, b) = (synthesize(11, 40, 20), synthesize(11, 40, 20));
    assert_eq!(a, b);
    assert_eq!(a[..10], synthesize(11, 10, 20)[..], "more receipts must not change the first ones");
    assert_ne!(a[0].words, synthesize(12, 1, 20)[0].words);
}

#[test]
fn every_receipt_passes_the_readers_checks_and_lies_on_its_page() {
    for receipt in synthesize(5, 300, 120) {
        let json = serde_json::to_string(&receipt).unwrap();
        assert_eq!(Receipt::from_json(&json).unwrap(), receipt);
        let (width, height) = (receipt.width.unwrap(), receipt.height.unwrap());
        for word in &receipt.words {
            let [x0, y0, x1, y1] = word.bbox;
            assert!(0.0 <= x0 && x0 < x1 && x1 <= width, "{}: {word:?} on {width}", receipt.image_id);
            assert!(0.0 <= y0 && y0 < y1 && y1 <= height, "{}: {word:?} on {height}", receipt.image_id);
            assert!(!word.text.is_empty() && !word.text.contains(' '));
        }
    }
}

#[test]
fn every_label_occurs_often_and_about_half_of_the_words_are_something() {
    let receipts = synthesize(1, 300, 100);
    let mut with: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut labelled, mut words) = (0, 0);
    for receipt in &receipts {
        let present: BTreeSet<&str> = receipt.words.iter().filter_map(|w| w.label.as_deref()).collect();
        for label in present {
            *with.entry(label).or_default() += 1;
        }
        labelled += receipt.words.iter().filter(|w| w.label.as_deref() != Some("O")).count();
        words += receipt.words.len();
    }
    for label in LABELS {
        assert!(with.get(label).copied().unwrap_or(0) > 200, "{label}: {with:?}");
    }
    assert_eq!(with.len(), LABELS.len() + 1, "nothing but these labels and O: {with:?}");
    let share = labelled as f64 / words as f64;
    assert!((0.3..0.8).contains(&share), "{share}");
}

#[test]
fn the_printed_rows_are_the_rows_the_reading_order_finds() {
    let (mut pairs, mut right) = (0usize, 0usize);
    for receipt in synthesize(9, 200, 100) {
        let raw: Vec<[f64; 4]> = receipt.words.iter().map(|w| w.bbox).collect();
        let boxes = BoxRule::default().normalize(receipt.page(), &raw);
        let order = ReadingOrder::Line.sort(&boxes, Origin::TopLeft);
        let place = |i: &usize| (receipt.words[*i].line_id, receipt.words[*i].word_id);
        let lines: Vec<(u32, u32)> = order.iter().map(place).collect();
        pairs += lines.len().saturating_sub(1);
        right += lines.windows(2).filter(|p| p[0] < p[1]).count();
    }
    let share = right as f64 / pairs as f64;
    assert!(share > 0.995, "{share}");
}

#[test]
fn held_out_merchants_are_never_seen_in_training() {
    let size = SynthSize { train: 120, validation: 15, test: 15, merchants: 50 };
    let data = synthesize_splits(3, size);
    let names = |part: &[Receipt]| part.iter().filter_map(merchant_of).collect::<BTreeSet<_>>();
    let (train, validation) = (names(&data.train), names(data.validation.as_deref().unwrap()));
    let test = names(data.test.as_deref().unwrap());
    assert!(train.is_disjoint(&validation) && train.is_disjoint(&test) && validation.is_disjoint(&test));
    assert_eq!((data.train.len(), train.len(), validation.len(), test.len()), (120, 40, 5, 5));
    let tiny = synthesize_splits(3, SynthSize { train: 1, validation: 1, test: 1, merchants: 1 });
    assert_eq!(tiny.train.len() + tiny.validation.unwrap().len() + tiny.test.unwrap().len(), 3);
}

#[test]
fn the_vocabulary_reads_new_receipts_in_few_pieces_and_without_unknowns() {
    let tokenizer = Tokenizer::from_vocab(&synth_vocab(), true).unwrap();
    assert!((2000..=4100).contains(&tokenizer.vocab_size()), "{}", tokenizer.vocab_size());
    let (mut tokens, mut words) = (0, 0);
    for receipt in synthesize(77, 100, 100) {
        let texts: Vec<&str> = receipt.words.iter().map(|w| w.text.as_str()).collect();
        let got = tokenizer.tokenize(&texts).unwrap();
        let unknown = tokenizer.unk_id().unwrap();
        assert!(got.words(0..texts.len(), usize::MAX).iter().all(|(id, _)| *id != unknown));
        tokens += got.len();
        words += texts.len();
    }
    let per_word = tokens as f64 / words as f64;
    assert!(per_word < 2.6, "{per_word}");
}
