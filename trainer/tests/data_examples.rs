//! Examples as the network is fed them: equal to core's own encoding, frozen and loaded again, and refused when the
//! rules have changed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests, which may panic

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use layoutlm_core::bbox::NormalizedBox;
use layoutlm_core::encoder::Encoder;
use layoutlm_core::encoding::Encoding;
use layoutlm_core::evaluate::GoldReceipt;
use layoutlm_core::label::{LabelScheme, core_labels, preset};
use layoutlm_core::receipt::{BadLines, Receipt, ValidationStatus};
use layoutlm_core::tokenize::Tokenizer;
use layoutlm_core::window::WindowRule;
use layoutlm_trainer::data::{
    EncodedExample, ExampleEncoder, ExampleKind, ExampleRules, Granularity, Scope, Snapshot, SnapshotPart,
    allowed_labels, build_vocab, leakage, load, load_snapshot, observed_labels, save_snapshot, split_by_seed,
    synthesize,
};
use proptest::prelude::*;

fn scheme() -> LabelScheme {
    LabelScheme::new(preset("amounts").unwrap(), None, &core_labels()).unwrap()
}

fn rules(encoding: &Encoding) -> ExampleRules {
    ExampleRules {
        box_rule: encoding.box_rule,
        reading_order: encoding.reading_order,
        window: encoding.window,
        scheme: encoding.scheme.clone(),
        granularity: Granularity::Receipt,
        scope: Scope::Full,
        item_windows: None,
    }
}

fn tokenizer(receipts: &[Receipt]) -> Tokenizer {
    Tokenizer::from_vocab(&build_vocab(receipts, 600), true).unwrap()
}

fn encode(rules: &ExampleRules, tokenizer: &Tokenizer, receipts: &[Receipt]) -> Vec<EncodedExample> {
    let special_token_box = NormalizedBox::ZERO;
    let (status, scope) = (ValidationStatus::Valid, Scope::Full);
    let encoder = ExampleEncoder { rules, tokenizer, special_token_box, status, scope };
    encoder.encode(receipts).unwrap()
}

/// An encoding of small windows, so that receipts have several.
fn encoding(tokenizer: &Tokenizer, size: usize, max_length: usize) -> Encoding {
    let labels = allowed_labels(&scheme()).unwrap();
    let mut encoding = Encoding::new(tokenizer.sha256().into(), true, labels, scheme());
    encoding.window = WindowRule { size, stride: size.div_ceil(2), max_length, ..WindowRule::default() };
    encoding
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn windows_and_labels_are_those_of_the_serving_encoder(seed in 0u64..1000, size in 1usize..90, max in 8usize..200) {
        let receipts = synthesize(seed, 3, 3);
        let tokenizer = tokenizer(&receipts);
        let encoder = Encoder::new(encoding(&tokenizer, size, max), tokenizer.clone()).unwrap();
        let labels = &encoder.encoding().labels;
        let got = encode(&rules(encoder.encoding()), &tokenizer, &receipts);
        let mut expected = Vec::new();
        for receipt in &receipts {
            let gold = GoldReceipt::new(&encoder, receipt, ValidationStatus::Valid).unwrap();
            for window in gold.encoded.windows.iter().filter(|w| w.len() > 2) {
                expected.push((receipt.key(), window.clone(), gold.window_labels(&encoder, window)));
            }
        }
        let got: Vec<_> = got.into_iter().map(|e| (e.key.clone(), e.window.clone(), e.label_ids(labels))).collect();
        prop_assert_eq!(got, expected);
    }
}

#[test]
fn lines_are_examples_of_their_own_and_cover_every_word_once() {
    let receipts = synthesize(8, 20, 10);
    let tokenizer = tokenizer(&receipts);
    let mut rules = rules(&encoding(&tokenizer, 200, 512));
    rules.granularity = Granularity::Line;
    let examples = encode(&rules, &tokenizer, &receipts);
    let words: usize = examples.iter().map(|e| e.window.word_indices.len()).sum();
    assert_eq!(words, receipts.iter().map(|r| r.words.len()).sum::<usize>());
    for example in &examples {
        let receipt = receipts.iter().find(|r| r.key() == example.key).unwrap();
        let lines: BTreeSet<u32> =
            example.window.word_indices.iter().map(|&w| receipt.words[w].line_id).collect();
        assert_eq!((example.kind, lines.len()), (ExampleKind::Line, 1));
        assert!(!example.tags[0].starts_with("I-"));
    }
}

#[test]
fn a_line_longer_than_the_network_is_cut_and_loses_no_word() {
    let receipts = synthesize(8, 5, 5);
    let tokenizer = tokenizer(&receipts);
    let mut rules = rules(&encoding(&tokenizer, 200, 8));
    rules.granularity = Granularity::Line;
    let examples = encode(&rules, &tokenizer, &receipts);
    assert!(examples.iter().all(|e| e.window.len() <= 8));
    let seen: BTreeSet<(String, usize)> =
        examples.iter().flat_map(|e| e.window.word_indices.iter().map(|&w| (e.key.clone(), w))).collect();
    assert_eq!(seen.len(), receipts.iter().map(|r| r.words.len()).sum::<usize>());
}

#[test]
fn the_item_scope_and_item_windows_hold_items_only() {
    let receipts = synthesize(8, 40, 20);
    let tokenizer = tokenizer(&receipts);
    let mut rules = rules(&encoding(&tokenizer, 200, 512));
    rules.item_windows = Some(WindowRule { size: 20, stride: 15, ..WindowRule::default() });
    let (status, scope) = (ValidationStatus::Valid, Scope::Full);
    let special_token_box = NormalizedBox::ZERO;
    let extra = ExampleEncoder { rules: &rules, tokenizer: &tokenizer, special_token_box, status, scope };
    let extra = extra.encode_item_windows(&receipts).unwrap();
    assert!(extra.iter().all(|e| e.kind == ExampleKind::ItemWindow && e.window.word_indices.len() <= 20));
    rules.scope = Scope::LineItems;
    let band = encode(&rules, &tokenizer, &receipts);
    assert!(band.len() > 20);
    let kinds = |all: &[EncodedExample]| -> BTreeSet<String> {
        all.iter()
            .flat_map(|e| &e.tags)
            .filter_map(|t| t.split_once('-'))
            .map(|(_, kind)| kind.to_string())
            .collect()
    };
    for examples in [&band, &extra] {
        let kinds = kinds(examples);
        assert!(kinds.contains("PRODUCT_NAME") && !kinds.contains("ADDRESS_LINE"), "{kinds:?}");
    }
}

/// A frozen split of made-up receipts.
fn snapshot(fingerprint: &str) -> Snapshot {
    let split = split_by_seed(synthesize(6, 20, 8), 1).unwrap();
    let tokenizer = tokenizer(&split.train);
    let rules = rules(&encoding(&tokenizer, 60, 512));
    let part =
        |receipts: Vec<Receipt>| SnapshotPart { examples: encode(&rules, &tokenizer, &receipts), receipts };
    let (train, validation) = (part(split.train), part(split.validation));
    let parts = BTreeMap::from([("train".to_string(), train), ("validation".to_string(), validation)]);
    let (fingerprint, source) = (fingerprint.to_string(), "test".to_string());
    Snapshot { parts, fingerprint, source, split: Some(split.info) }
}

#[test]
fn a_snapshot_gives_back_what_was_frozen_under_the_same_name() {
    let root = tempfile::tempdir().unwrap();
    let frozen = snapshot("abc");
    let folder = save_snapshot(root.path(), &frozen).unwrap();
    assert_eq!(save_snapshot(root.path(), &frozen).unwrap(), folder, "the same data has the same name");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1, "nothing else is left behind");
    let back = load_snapshot(&folder, "abc").unwrap();
    assert_eq!(back.split, frozen.split);
    for (name, part) in &frozen.parts {
        assert_eq!(back.parts[name].receipts, part.receipts);
        assert_eq!(back.parts[name].examples, part.examples);
    }
    assert_ne!(save_snapshot(root.path(), &snapshot("other")).unwrap(), folder);
    // The folder is a data folder as well.
    let data = load(&[folder], BadLines::Refuse).unwrap();
    assert_eq!((data.train.len(), data.validation.unwrap().len()), (18, 2));
}

#[test]
fn a_snapshot_of_other_rules_or_with_a_changed_file_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let folder: PathBuf = save_snapshot(root.path(), &snapshot("abc")).unwrap();
    let text = load_snapshot(&folder, "abd").unwrap_err().to_string();
    assert!(text.contains("fingerprint abc, but this run encodes with abd"), "{text}");
    let file = folder.join("train.jsonl");
    let changed = std::fs::read_to_string(&file).unwrap().replacen("DATE", "TIME", 1);
    std::fs::write(&file, changed).unwrap();
    for text in [
        load_snapshot(&folder, "abc").unwrap_err().to_string(),
        load(std::slice::from_ref(&folder), BadLines::Refuse).unwrap_err().to_string(),
    ] {
        assert!(text.contains("train.jsonl") && text.contains("changed after it was frozen"), "{text}");
    }
    assert!(load_snapshot(root.path(), "abc").unwrap_err().to_string().contains("no snapshot"));
}

#[test]
fn a_damaged_tensor_file_is_refused_whatever_it_holds() {
    let root = tempfile::tempdir().unwrap();
    let folder = save_snapshot(root.path(), &snapshot("abc")).unwrap();
    let (file, manifest) = (folder.join("train.safetensors"), folder.join("snapshot.json"));
    let (bytes, text) = (std::fs::read(&file).unwrap(), std::fs::read_to_string(&manifest).unwrap());
    let hash = |bytes: &[u8]| layoutlm_core::encoding::sha256_hex(bytes);
    // Hashes that fit the damage: the reader must hold its own.
    let plant = |damaged: &[u8]| {
        std::fs::write(&file, damaged).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["files"]["train.safetensors"] = hash(damaged).into();
        let listing =
            json["files"].as_object().unwrap().iter().map(|(n, h)| format!("{}  {n}\n", h.as_str().unwrap()));
        json["content"] = hash(format!("1\nabc\n{}", listing.collect::<String>()).as_bytes()).into();
        std::fs::write(&manifest, json.to_string()).unwrap();
        load_snapshot(&folder, "abc")
    };
    assert!(plant(&bytes).is_ok());
    let body = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize + 8;
    let mut refused = 0;
    for at in (body..bytes.len()).step_by((bytes.len() - body) / 40) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xff;
        refused += usize::from(plant(&damaged).is_err());
    }
    assert!(refused > 5, "{refused}");
    assert!(plant(&bytes[..body]).is_err());
    std::fs::write(&manifest, text.replace("\"abc\"", "\"abd\"")).unwrap();
    assert!(
        load_snapshot(&folder, "abd").unwrap_err().to_string().contains("changed after the data was frozen")
    );
}

#[test]
fn labels_seen_in_examples_and_leakage_of_a_public_set() {
    let receipts = synthesize(6, 10, 5);
    let tokenizer = tokenizer(&receipts);
    let examples = encode(&rules(&encoding(&tokenizer, 200, 512)), &tokenizer, &receipts);
    let seen = observed_labels(examples.iter().map(|e| e.tags.as_slice())).unwrap();
    assert!(seen.id("B-DATE").is_some() && seen.id("B-TIP").is_none());
    let root = std::env::var("LAYOUTLM_SHARED")
        .unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared").into());
    let folder = PathBuf::from(root).join("data/sroie");
    if !folder.exists() {
        eprintln!("skipped: {} is not there (set LAYOUTLM_SHARED)", folder.display());
        return;
    }
    let data = load(&[folder], BadLines::Refuse).unwrap();
    let report = leakage(&data.train, &data.test.unwrap(), 0.9);
    eprintln!("{report}");
    // The set is known for near repeats: more than forty pairs with nine tenths of the words in common.
    assert!(report.same_receipt.is_empty() && report.near_duplicates.len() > 20, "{report}");
    assert!(report.near_duplicates.iter().all(|n| n.overlap >= 0.9));
}
