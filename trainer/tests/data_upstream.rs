//! The reproducing mode against what the Python trainer's own loader made of the same table: words, boxes, tags,
//! splits, ratios and run records.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests, which may panic

mod golden;
mod table;

use std::collections::BTreeSet;

use golden::{LOADER, assert_examples_equal, rules_of, tags_of};
use layoutlm_core::label::Merges;
use layoutlm_core::receipt::{Receipt, ValidationStatus};
use layoutlm_trainer::config::TrainConfig;
use layoutlm_trainer::data::{
    Dataset, DivisionRules, ExampleRules, LabelledReceipt, Loader, PythonRandom, SplitBy, TagCounts,
    WordExample, divide, downsample, keys_hash, observed_labels, resulting_labels, split_keys,
    upstream_rules, upstream_scheme,
};
use layoutlm_trainer::run::split_counts;
use serde_json::{Value, json};
use table::{Table, jsonl, shared};

fn same_ratio(got: Option<f64>, want: &Value) -> bool {
    match want {
        Value::String(text) => got.unwrap_or(f64::INFINITY) == text.parse::<f64>().unwrap(),
        other => got == other.as_f64(),
    }
}

#[test]
fn examples_equal_the_loaders_word_for_word() {
    if shared(LOADER).is_none() {
        return;
    }
    let compared = assert_examples_equal(|set| Table::read(&[set]).unwrap());
    assert!(compared > 900, "{compared}");
}

#[test]
fn splits_hashes_and_ratios_of_four_seeds_equal_the_loaders() {
    let Some(folder) = shared("fixtures/dynamodb/loader") else { return };
    let mut compared = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let header = jsonl(&path).remove(0);
        let Some(splits) = header["splits"].as_array() else { continue };
        let table = Table::read(&[name.split('.').next().unwrap()]).unwrap();
        let rules = rules_of(&header);
        let (examples, extra) = (table.cut(&rules), table.cut_item_windows(&rules));
        let keys: BTreeSet<String> = examples.iter().map(|e| e.key.clone()).collect();
        assert_eq!(json!(keys), header["receipt_keys"], "{name}");
        let sources = table.labels.iter().flatten().filter_map(|l| l.first()).map(String::as_str);
        assert_eq!(json!(resulting_labels(&rules.scheme, sources)), header["resulting_labels"], "{name}");
        for want in splits {
            let at = format!("{name} seed {}", want["random_seed"]);
            let mut random = PythonRandom::new(want["random_seed"].as_u64().unwrap());
            let (train, held_out) = split_keys(keys.clone(), &mut random);
            assert_eq!(
                keys_hash(train.iter().map(String::as_str)),
                want["train_receipts_hash"].as_str().unwrap()
            );
            assert_eq!(
                keys_hash(held_out.iter().map(String::as_str)),
                want["val_receipts_hash"].as_str().unwrap()
            );
            let train: BTreeSet<String> = train.into_iter().collect();
            let of = |all: &[WordExample], wanted: bool| -> Vec<WordExample> {
                all.iter().filter(|e| train.contains(&e.key) == wanted).cloned().collect()
            };
            let (mut training, validation, extra) =
                (of(&examples, true), of(&examples, false), of(&extra, true));
            assert_eq!(json!(extra.len()), want["num_item_window_examples"], "{at}");
            training.extend(extra);
            assert!(
                same_ratio(TagCounts::of(tags_of(&validation)).ratio(), &want["o_entity_ratio_val"]),
                "{at}"
            );
            let ratio = want["target_o_entity_ratio"].as_f64();
            let (_, report) = downsample(training, ratio, &mut random, |e| &e.tags);
            assert!(
                same_ratio(report.o_entity_ratio_before, &want["o_entity_ratio_before_downsample"]),
                "{at}"
            );
            assert_eq!(json!(report.o_only_total), want["o_only_lines_total"], "{at}");
            assert_eq!(json!(report.entity_total), want["entity_lines_total"], "{at}");
            compared += 1;
        }
    }
    assert_eq!(compared, 48);
}

/// What a run with the reproducing loader does with a table's receipts, by the header's options.
fn divided(table: &Table, rules: &ExampleRules, seed: u64) -> layoutlm_trainer::data::Division {
    let mut train = table.receipts.clone();
    for (receipt, labels) in train.iter_mut().zip(&table.labels) {
        for (word, labels) in receipt.words.iter_mut().zip(labels) {
            word.label = labels.first().cloned();
        }
    }
    let rules = DivisionRules {
        status: ValidationStatus::Valid,
        allowed: None,
        frozen: None,
        split: SplitBy::Receipt,
        seed,
        scope: rules.scope,
        box_rule: rules.box_rule,
        loader: Loader::Upstream,
    };
    divide(Dataset { train, ..Dataset::default() }, &rules).unwrap()
}

#[test]
fn a_run_with_the_reproducing_loader_divides_and_cuts_as_the_loader_did() {
    let Some(folder) = shared("fixtures/dynamodb/loader") else { return };
    let mut compared = 0;
    for name in
        ["receipts.head.amounts7", "receipts.head.core22", "receipts.head.window40", "receipts.seed.amounts7"]
    {
        let golden = jsonl(&folder.join(format!("{name}.jsonl")));
        let (header, want) = golden.split_first().unwrap();
        let table = Table::read(&["receipts"]).unwrap();
        let expected = rules_of(header);
        let mut config = TrainConfig::default().with_loader(Loader::Upstream);
        (config.scheme, config.window) = (expected.scheme.clone(), expected.window);
        config.granularity = expected.granularity;
        let rules = config.example_rules(512);
        assert_eq!(rules, expected, "{name}");
        for split in header["splits"].as_array().into_iter().flatten() {
            let seed = split["random_seed"].as_u64().unwrap();
            let info = divided(&table, &rules, seed).split.info;
            assert_eq!(json!(info.train_receipts_hash), split["train_receipts_hash"], "{name} {seed}");
            assert_eq!(json!(info.val_receipts_hash), split["val_receipts_hash"], "{name} {seed}");
            compared += 1;
        }
        let both = divided(&table, &rules, 0).split;
        let mut receipts: Vec<Receipt> = both.train.into_iter().chain(both.validation).collect();
        receipts.sort_by_key(Receipt::key);
        let cut =
            receipts.iter().flat_map(|r| rules.cut(&LabelledReceipt::new(r, ValidationStatus::Valid), None));
        let tags: Vec<Vec<String>> = cut.map(|e| e.tags).collect();
        let golden: Vec<Vec<String>> =
            want.iter().map(|w| serde_json::from_value(w["ner_tags"].clone()).unwrap()).collect();
        assert_eq!(tags.len(), golden.len(), "{name}");
        assert_eq!(tags, golden, "{name}");
    }
    assert!(compared >= 12, "{compared}");
}

#[test]
fn other_item_types_in_the_table_change_nothing() {
    let (Some(plain), Some(noisy)) = (Table::read(&["edge"]), Table::read(&["edge", "noise"])) else {
        return;
    };
    let rules = upstream_rules(upstream_scheme(Merges::new(), None).unwrap(), 200, 150);
    assert_eq!(plain.cut(&rules), noisy.cut(&rules));
}

#[test]
fn the_counts_of_a_real_runs_record_come_out_again() {
    let Some(path) = shared("fixtures/runs/layoutlm-v1-fixture-merged/run.json") else { return };
    let text = std::fs::read_to_string(path).unwrap().replace("Infinity", "null");
    let record: Value = serde_json::from_str(&text).unwrap();
    let table = Table::read(&["receipts", "edge"]).unwrap();
    let merges: Merges = serde_json::from_value(record["label_merges"].clone()).unwrap();
    let allowed: Vec<String> =
        serde_json::from_value(record["data_config"]["allowed_labels"].clone()).unwrap();
    let split = &record["split_metadata"];
    let number = |name: &str| split[name].as_u64().unwrap() as usize;
    let scheme = upstream_scheme(merges, Some(allowed)).unwrap();
    let rules = upstream_rules(scheme, number("window_size"), number("window_stride"));
    let held_out: BTreeSet<String> = serde_json::from_value(split["val_receipt_keys"].clone()).unwrap();
    let (validation, training): (Vec<_>, Vec<_>) =
        table.cut(&rules).into_iter().partition(|e| held_out.contains(&e.key));
    let ratio = split["target_o_entity_ratio"].as_f64();
    let (training, report) = downsample(training, ratio, &mut PythonRandom::new(0), |e| &e.tags);
    for (part, examples) in [("train", &training), ("validation", &validation)] {
        let got = serde_json::to_value(split_counts(tags_of(examples))).unwrap();
        assert_eq!(got, record["dataset_counts"][part], "{part}");
    }
    assert_eq!(json!(report.o_entity_ratio_before), split["o_entity_ratio_before_downsample"]);
    assert_eq!(json!(report.o_entity_ratio_after), split["o_entity_ratio_after_downsample"]);
    assert_eq!(report.o_only_kept, number("o_only_lines_kept"));
    assert_eq!(report.o_only_dropped(), number("o_only_lines_dropped"));
    assert_eq!(json!(observed_labels(tags_of(&training)).unwrap().tags()), record["label_list"]);
}
