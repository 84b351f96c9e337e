//! The shared fixtures' table of receipts, read from its items.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, dead_code)] // helpers of several tests, which may panic

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use layoutlm_core::bbox::Origin;
use layoutlm_core::receipt::{Receipt, ValidationStatus, Word};
use layoutlm_trainer::data::{ExampleRules, LabelledReceipt, WordExample, upstream_pages};
use serde_json::Value;

/// The material shared with this repository, or a line that says why a test is passed over.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("LAYOUTLM_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let path = root.join(path);
    if !path.exists() {
        eprintln!("skipped: {} is not there (set LAYOUTLM_SHARED)", path.display());
        return None;
    }
    Some(path)
}

pub(crate) fn jsonl(path: &PathBuf) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// Receipts with a VALID label and words, and the VALID labels of each word in order of their names.
pub(crate) struct Table {
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) labels: Vec<Vec<Vec<String>>>,
}

type WordKey = (String, u32, u32, u32);

impl Table {
    /// Reads the words and labels among a table's items.
    pub(crate) fn read(names: &[&str]) -> Option<Self> {
        let mut words: BTreeMap<(String, u32), Vec<Word>> = BTreeMap::new();
        let mut labels: BTreeMap<WordKey, BTreeSet<String>> = BTreeMap::new();
        for name in names {
            for item in jsonl(&shared(&format!("fixtures/dynamodb/{name}.items.jsonl"))?) {
                let text = |field: &str| item[field]["S"].as_str().unwrap_or_default().to_string();
                let key = text("SK");
                let parts: Vec<&str> = key.split('#').collect();
                let number = |i: usize| parts[i].parse::<u32>().unwrap();
                let image = text("PK").trim_start_matches("IMAGE#").to_string();
                match text("TYPE").as_str() {
                    "RECEIPT_WORD" => words.entry((image, number(1))).or_default().push(Word {
                        line_id: number(3),
                        word_id: number(5),
                        text: text("text"),
                        bbox: corners(&item),
                        label: None,
                        validation_status: ValidationStatus::Valid,
                        source_label: None,
                        entity_id: None,
                    }),
                    "RECEIPT_WORD_LABEL" if text("validation_status") == "VALID" => {
                        let word = (image, number(1), number(3), number(5));
                        labels.entry(word).or_default().insert(parts[7].to_string());
                    }
                    _ => {}
                }
            }
        }
        Some(Self::join(words, &labels))
    }

    fn join(words: BTreeMap<(String, u32), Vec<Word>>, labels: &BTreeMap<WordKey, BTreeSet<String>>) -> Self {
        let labelled: BTreeSet<(&String, u32)> = labels.keys().map(|(image, r, ..)| (image, *r)).collect();
        let mut table = Self { receipts: Vec::new(), labels: Vec::new() };
        for ((image_id, receipt_id), mut words) in words {
            if !labelled.contains(&(&image_id, receipt_id)) {
                continue;
            }
            words.sort_by_key(|w| (w.line_id, w.word_id));
            let of = |w: &Word| labels.get(&(image_id.clone(), receipt_id, w.line_id, w.word_id));
            table.labels.push(words.iter().map(|w| of(w).into_iter().flatten().cloned().collect()).collect());
            let (width, height, origin, merchant) = (None, None, Origin::BottomLeft, None);
            table.receipts.push(Receipt { image_id, receipt_id, width, height, origin, merchant, words });
        }
        upstream_pages(&mut table.receipts);
        table
    }

    pub(crate) fn cut(&self, rules: &ExampleRules) -> Vec<WordExample> {
        let all = self.receipts.iter().zip(&self.labels);
        all.flat_map(|(r, l)| rules.cut(&LabelledReceipt::with_labels(r, l.clone()), None)).collect()
    }

    pub(crate) fn cut_item_windows(&self, rules: &ExampleRules) -> Vec<WordExample> {
        let all = self.receipts.iter().zip(&self.labels);
        all.flat_map(|(r, l)| rules.cut_item_windows(&LabelledReceipt::with_labels(r, l.clone()), None))
            .collect()
    }

    pub(crate) fn text(&self, key: &str, word: usize) -> &str {
        &self.receipts.iter().find(|r| r.key() == key).unwrap().words[word].text
    }
}

/// Extents of a word's four corners.
fn corners(item: &Value) -> [f64; 4] {
    let of = |axis: &str| -> Vec<f64> {
        ["top_left", "top_right", "bottom_left", "bottom_right"]
            .iter()
            .map(|corner| item[*corner]["M"][axis]["N"].as_str().unwrap().parse().unwrap())
            .collect()
    };
    let least = |v: &[f64]| v.iter().copied().fold(f64::INFINITY, f64::min);
    let most = |v: &[f64]| v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (x, y) = (of("x"), of("y"));
    [least(&x), least(&y), most(&x), most(&y)]
}
