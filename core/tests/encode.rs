//! The Hugging Face reference's encodings of 24 receipts, reproduced number for number.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test fails by panicking.

use std::path::PathBuf;

use layoutlm_core::batch::Batch;
use layoutlm_core::bbox::NormalizedBox;
use layoutlm_core::tokenize::Tokenizer;
use layoutlm_core::window::Window;
use serde_json::Value;

fn shared() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let path = PathBuf::from(std::env::var("LAYOUTLM_SHARED").unwrap_or_else(|_| default.into()));
    if path.join("goldens").is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: no goldens under {} (set LAYOUTLM_SHARED)", path.display());
    None
}

fn numbers(v: &Value) -> Vec<u32> {
    v.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect()
}

fn boxes(v: &Value) -> Vec<NormalizedBox> {
    let corner = |b: &Value| {
        NormalizedBox::new(numbers(b).iter().map(|&n| n as u16).collect::<Vec<_>>().try_into().unwrap())
    };
    v.as_array().unwrap().iter().map(|b| corner(b).unwrap()).collect()
}

fn assert_equals(window: &Window, golden: &Value, name: &str) {
    assert_eq!(window.input_ids, numbers(&golden["input_ids"]), "{name}: input_ids");
    if let Some(expected) = golden.get("bbox") {
        assert_eq!(window.bbox, boxes(expected), "{name}: bbox");
    }
    let word_ids: Vec<Option<u32>> =
        golden["word_ids"].as_array().unwrap().iter().map(|w| w.as_u64().map(|w| w as u32)).collect();
    assert_eq!(window.word_ids, word_ids, "{name}: word_ids");
    if let Some(expected) = golden.get("attention_mask") {
        let expected: Vec<i64> = numbers(expected).into_iter().map(i64::from).collect();
        assert_eq!(Batch::pad(&[window], 0).attention_mask, expected, "{name}: attention_mask");
    }
}

fn check_all(tokenizer: &Tokenizer) {
    let Some(shared) = shared() else { return };
    let text = std::fs::read_to_string(shared.join("goldens/encode/receipts.json")).unwrap();
    let goldens: Value = serde_json::from_str(&text).unwrap();
    let budget = goldens["max_length"].as_u64().unwrap() as usize - 2;
    let mut truncated = 0;
    for golden in goldens["receipts"].as_array().unwrap() {
        let name = golden["name"].as_str().unwrap();
        let words: Vec<&str> =
            golden["words"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
        let boxes = boxes(&golden["boxes"]);
        let tokens = tokenizer.tokenize(&words).unwrap();
        assert_eq!(tokens.len(), golden["n_subtokens_untruncated"].as_u64().unwrap() as usize, "{name}");
        assert_eq!(tokens.counts().iter().sum::<usize>(), tokens.len(), "{name}");
        let indices: Vec<usize> = (0..words.len()).collect();
        let assemble =
            |part: &[(u32, u32)]| tokenizer.assemble(indices.clone(), &boxes, part, NormalizedBox::ZERO);
        let window = assemble(&tokens.words(0..words.len(), budget));
        assert_equals(&window, golden, name);
        let mut first = vec![0; window.len()];
        window.first_subtokens().for_each(|(position, _)| first[position] = 1);
        assert_eq!(first, numbers(&golden["first_subtoken"]), "{name}: first_subtoken");
        if let Some(windows) = golden.get("windows_stride_128").and_then(Value::as_array) {
            truncated += 1;
            let step = budget - 128;
            for (i, golden) in windows.iter().enumerate() {
                let start = i * step;
                let part = tokens.span(start..(start + budget).min(tokens.len()));
                assert_equals(&assemble(&part), golden, &format!("{name} window {i}"));
            }
        }
    }
    assert!(truncated > 0, "no truncated receipt among the goldens");
}

#[test]
fn tokenizer_json_encodes_like_the_reference() {
    let Some(shared) = shared() else { return };
    let bytes = std::fs::read(shared.join("goldens/tiny/tokenizer.json")).unwrap();
    check_all(&Tokenizer::from_json(&bytes).unwrap());
}

#[test]
fn vocab_txt_encodes_like_the_reference() {
    let Some(shared) = shared() else { return };
    let text = std::fs::read_to_string(shared.join("goldens/tiny/vocab.txt")).unwrap();
    check_all(&Tokenizer::from_vocab(&text, true).unwrap());
}
