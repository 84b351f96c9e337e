//! Splits that earlier runs can be compared by: CPython's draws, the recorded hashes, frozen keys, whole merchants.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests, which may panic

use std::collections::BTreeSet;
use std::path::PathBuf;

use layoutlm_core::encoding::sha256_hex;
use layoutlm_core::receipt::Receipt;
use layoutlm_trainer::data::{
    DataError, PythonRandom, SplitSource, given_split, keys_hash, merchant_of, split_by_keys,
    split_by_merchant, split_by_seed, split_keys, synthesize,
};
use serde_json::Value;

/// The material shared with this repository, or a line that says why a test is passed over.
fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("LAYOUTLM_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let path = root.join(path);
    if !path.exists() {
        eprintln!("skipped: {} is not there (set LAYOUTLM_SHARED)", path.display());
        return None;
    }
    Some(path)
}

fn seeded(split: &Value) -> PythonRandom {
    PythonRandom::new(split["random_seed"].as_u64().unwrap())
}

fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect()
}

#[test]
fn draws_and_shuffles_are_those_of_cpython_for_every_recorded_seed() {
    let Some(path) = shared("fixtures/python_random.json") else { return };
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for (seed, want) in golden["seeds"].as_object().unwrap() {
        let seed: u64 = seed.parse().unwrap();
        let mut r = PythonRandom::new(seed);
        for v in want["random"].as_array().unwrap() {
            assert_eq!(r.random(), v.as_f64().unwrap(), "seed {seed}");
        }
        let mut r = PythonRandom::new(seed);
        for v in want["getrandbits32"].as_array().unwrap() {
            assert_eq!(r.getrandbits(32), v.as_u64().unwrap(), "seed {seed}");
        }
        for (n, order) in want["shuffle"].as_object().unwrap() {
            let mut items: Vec<usize> = (0..n.parse().unwrap()).collect();
            PythonRandom::new(seed).shuffle(&mut items);
            if order.is_array() {
                assert_eq!(items, numbers(order), "seed {seed}, n {n}");
            } else {
                let joined: Vec<String> = items.iter().map(ToString::to_string).collect();
                let want = order["sha256_of_comma_joined"].as_str().unwrap();
                assert_eq!(sha256_hex(joined.join(",").as_bytes()), want);
                assert_eq!(items[..10], numbers(&order["first10"])[..]);
            }
        }
        let mut r = PythonRandom::new(seed);
        r.shuffle(&mut (0..10).collect::<Vec<_>>());
        for v in want["random_after_shuffle_10"].as_array().unwrap() {
            assert_eq!(r.random(), v.as_f64().unwrap(), "seed {seed} after a shuffle");
        }
    }
    let example = &golden["receipt_hash_example"];
    let keys: Vec<&str> = example["keys"].as_array().unwrap().iter().map(|k| k.as_str().unwrap()).collect();
    assert_eq!(keys_hash(keys), example["hash16"].as_str().unwrap());
}

#[test]
fn recorded_validation_keys_and_hashes_come_out_of_the_seed() {
    let Some(folder) = shared("fixtures/dynamodb/loader") else { return };
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let header: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let Some(splits) = header["splits"].as_array() else { continue };
        let keys = header["receipt_keys"].as_array().unwrap();
        let keys: Vec<String> = keys.iter().map(|k| k.as_str().unwrap().to_string()).collect();
        for want in splits {
            let (train, mut validation) = split_keys(keys.clone(), &mut seeded(want));
            validation.sort();
            assert_eq!(serde_json::json!(validation), want["val_receipt_keys"]);
            assert_eq!(
                keys_hash(train.iter().map(String::as_str)),
                want["train_receipts_hash"].as_str().unwrap()
            );
            assert_eq!(
                keys_hash(validation.iter().map(String::as_str)),
                want["val_receipts_hash"].as_str().unwrap()
            );
            checked += 1;
        }
    }
    assert!(checked >= 40, "{checked}");
}

#[test]
fn a_split_by_seed_does_not_depend_on_the_order_of_the_receipts() {
    let receipts = synthesize(1, 50, 10);
    let a = split_by_seed(receipts.clone(), 7).unwrap();
    let b = split_by_seed(receipts.into_iter().rev().collect(), 7).unwrap();
    assert_eq!(a.info, b.info);
    assert_eq!((a.train.len(), a.validation.len()), (45, 5));
    assert_eq!(a.info.source, SplitSource::SeededRandomSplit);
}

#[test]
fn one_receipt_cannot_be_split_and_two_can() {
    assert!(matches!(split_by_seed(synthesize(1, 1, 1), 0), Err(DataError::Split(_))));
    let two = split_by_seed(synthesize(1, 2, 1), 0).unwrap();
    assert_eq!((two.train.len(), two.validation.len()), (1, 1));
}

#[test]
fn frozen_keys_hold_out_exactly_their_receipts_and_name_the_missing() {
    let receipts = synthesize(1, 10, 4);
    let keys: BTreeSet<String> = [receipts[3].key(), receipts[8].key(), "gone#00001".into()].into();
    let split = split_by_keys(receipts.clone(), &keys).unwrap();
    let held_out: Vec<String> = split.validation.iter().map(Receipt::key).collect();
    assert_eq!(held_out, [receipts[3].key(), receipts[8].key()]);
    assert_eq!(
        (split.info.missing_keys.as_slice(), split.info.random_seed),
        (&["gone#00001".to_string()][..], 0)
    );
    let none: BTreeSet<String> = ["gone#00001".to_string()].into();
    assert!(
        split_by_keys(receipts.clone(), &none)
            .unwrap_err()
            .to_string()
            .contains("none of the 1 validation keys")
    );
    let all: BTreeSet<String> = receipts.iter().map(Receipt::key).collect();
    assert!(split_by_keys(receipts, &all).is_err());
}

#[test]
fn a_merchant_grouped_split_shares_no_merchant_and_holds_out_about_a_tenth() {
    for seed in 0..20 {
        let split = split_by_merchant(synthesize(2, 200, 37), seed).unwrap();
        let names = |part: &[Receipt]| part.iter().filter_map(merchant_of).collect::<BTreeSet<_>>();
        assert!(names(&split.train).is_disjoint(&names(&split.validation)), "seed {seed}");
        assert!((20..=40).contains(&split.validation.len()), "seed {seed}: {}", split.validation.len());
    }
    assert!(split_by_merchant(synthesize(2, 20, 1), 0).unwrap_err().to_string().contains("one merchant"));
    let two = split_by_merchant(synthesize(2, 20, 2), 0).unwrap();
    assert_eq!((two.train.len(), two.validation.len()), (10, 10));
}

#[test]
fn a_given_validation_part_that_shares_a_receipt_is_refused() {
    let receipts = synthesize(1, 6, 3);
    let text = given_split(receipts[..4].to_vec(), receipts[3..].to_vec()).unwrap_err().to_string();
    assert!(text.starts_with("1 receipt(s) are both in the training and the validation set"), "{text}");
    assert!(text.contains(&receipts[3].key()));
    let split = given_split(receipts[..4].to_vec(), receipts[4..].to_vec()).unwrap();
    assert_eq!(split.info.source, SplitSource::GivenSplit);
}
