//! What the Python trainer's own loader made of the fixture tables, and the comparison with it: shared by tests that come
//! to the same receipts on different ways.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests, which may panic

use std::collections::BTreeSet;

use layoutlm_core::label::Merges;
use layoutlm_core::window::WindowRule;
use layoutlm_trainer::data::{
    ExampleRules, Granularity, Scope, WordExample, observed_labels, upstream_rules, upstream_scheme,
};
use serde_json::{Value, json};

use crate::table::{Table, jsonl, shared};

/// Folder of the goldens, one file per table and configuration.
pub(crate) const LOADER: &str = "fixtures/dynamodb/loader";

/// The rules a golden's header describes.
pub(crate) fn rules_of(header: &Value) -> ExampleRules {
    let options = &header["options"];
    let env = |name: &str| options["env"][name].as_str();
    let mut merges: Merges =
        options.get("label_merges").map_or(Merges::new(), |m| serde_json::from_value(m.clone()).unwrap());
    if env("LAYOUTLM_MERGE_AMOUNTS").is_some() {
        merges.extend(layoutlm_core::label::preset("amounts").unwrap());
    }
    let listed = env("LAYOUTLM_ALLOWED_LABELS").map(|l| l.split(',').map(String::from).collect());
    let allowed =
        options.get("allowed_labels").map(|a| serde_json::from_value(a.clone()).unwrap()).or(listed);
    let number = |v: &Value, or: u64| v.as_u64().unwrap_or(or) as usize;
    let (size, stride) = (number(&header["window_size"], 200), number(&header["window_stride"], 150));
    let mut rules = upstream_rules(upstream_scheme(merges, allowed).unwrap(), size, stride);
    if header["config"].as_str().unwrap().starts_with("seed.") {
        rules.granularity = Granularity::Line;
    }
    if env("LAYOUTLM_SCOPE") == Some("line_items") {
        rules.scope = Scope::LineItems;
    }
    if options["item_window_augmentation"] == json!(true) {
        let (size, stride) =
            (number(&options["item_window_size"], 0), number(&options["item_window_stride"], 0));
        rules.item_windows = Some(WindowRule { size, stride, ..WindowRule::default() });
    }
    rules
}

pub(crate) fn tags_of(examples: &[WordExample]) -> impl Iterator<Item = &[String]> {
    examples.iter().map(|e| e.tags.as_slice())
}

/// Holds the examples cut from a table's receipts against every golden; gives how many were compared. `table_of` is given
/// the name of a fixture set, `receipts` or `edge`.
pub(crate) fn assert_examples_equal(table_of: impl Fn(&str) -> Table) -> usize {
    let mut compared = 0;
    for entry in std::fs::read_dir(shared(LOADER).unwrap()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let golden = jsonl(&path);
        let (header, want) = golden.split_first().unwrap();
        let table = table_of(name.split('.').next().unwrap());
        let rules = rules_of(header);
        let mut got = table.cut(&rules);
        if rules.item_windows.is_some() {
            let last = header["splits"].as_array().unwrap().last().unwrap();
            let held_out: BTreeSet<&str> =
                last["val_receipt_keys"].as_array().unwrap().iter().map(|k| k.as_str().unwrap()).collect();
            let extra = table.cut_item_windows(&rules);
            got.extend(extra.into_iter().filter(|e| !held_out.contains(e.key.as_str())));
            got.sort_by(|a, b| a.key.cmp(&b.key));
        }
        assert_eq!(got.len(), want.len(), "{name}");
        for (got, want) in got.iter().zip(want) {
            let tokens: Vec<&str> = got.words.iter().map(|&w| table.text(&got.key, w)).collect();
            let boxes: Vec<[u16; 4]> = got.boxes.iter().map(|b| b.corners()).collect();
            let at = format!("{name} {} window {}", want["receipt_key"], want["window"]);
            assert_eq!(json!(got.key), want["receipt_key"], "{at}");
            assert_eq!(json!(tokens), want["tokens"], "{at}");
            assert_eq!(json!(boxes), want["bboxes"], "{at}");
            assert_eq!(json!(got.tags), want["ner_tags"], "{at}");
            compared += 1;
        }
        assert_eq!(
            json!(observed_labels(tags_of(&got)).unwrap().tags()),
            header["label_list_all_examples"],
            "{name}"
        );
    }
    compared
}
