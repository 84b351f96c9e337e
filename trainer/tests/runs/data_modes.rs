//! The same receipts as windows, lines, item bands, padded, grouped, frozen: each does what it says.

use layoutlm_core::encoding::Granularity;
use layoutlm_core::receipt::{Receipt, ValidationStatus};
use layoutlm_core::window::WindowRule;
use layoutlm_trainer::config::{ClassWeights, Start, TrainConfig};
use layoutlm_trainer::data::{
    Dataset, DivisionRules, Loader, Scope, SplitBy, SplitSource, divide, load, merchants_by_side,
};
use layoutlm_trainer::model_folder::read_encoder;
use layoutlm_trainer::train::{Outcome, TrainData, TrainError, freeze};
use layoutlm_trainer::weights::read_tensor_file;

use crate::shared::{config, data, newest, receipts, record, run, run_on};

fn rules(config: &TrainConfig) -> DivisionRules {
    DivisionRules {
        status: config.validation_status,
        allowed: None,
        frozen: None,
        split: SplitBy::Receipt,
        seed: config.seed,
        scope: config.scope,
        box_rule: config.box_rule,
        loader: config.loader,
    }
}

fn divided(config: &TrainConfig) -> TrainData {
    divide(Dataset { train: receipts(), ..Dataset::default() }, &rules(config)).unwrap().into()
}

/// Both runs ended with the same weights, up to the order of sums.
fn assert_close(one: &Outcome, other: &Outcome) {
    let read = |outcome: &Outcome| {
        let folder = outcome.run_dir.join(format!("checkpoint-{}", outcome.steps));
        read_tensor_file(&folder.join("model.safetensors")).unwrap()
    };
    let (a, b) = (read(one), read(other));
    for (name, array) in a.iter() {
        let other = b.get(name).unwrap();
        let far = array.data.iter().zip(&other.data).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(far < 2e-4, "{name}: {far}");
    }
}

#[test]
fn a_batch_computed_in_several_passes_is_the_same_step() {
    let runs = tempfile::tempdir().unwrap();
    let still = |name: &str, tokens: usize| TrainConfig {
        dropout: Some(0.0),
        class_weights: ClassWeights::Balanced,
        r_drop: 1.0,
        epochs: 1,
        max_pass_tokens: tokens,
        ..config(runs.path(), name)
    };
    let (whole, cut) = (run(still("whole", 100_000)), run(still("cut", 150)));
    assert_eq!(whole.steps, cut.steps);
    assert_close(&whole, &cut);
}

#[test]
fn padding_costs_tokens_and_changes_no_result() {
    let runs = tempfile::tempdir().unwrap();
    // Windows of one padded length can't be grouped by it, so batches would differ.
    let still = |name: &str| TrainConfig {
        dropout: Some(0.0),
        group_by_length: false,
        epochs: 1,
        ..config(runs.path(), name)
    };
    let plain = run(still("plain"));
    let mut padded = still("padded");
    padded.pad_to_max_length = true;
    padded.window = WindowRule { max_length: 300, ..WindowRule::default() };
    let mut same_windows = still("same");
    same_windows.window = padded.window;
    let (padded, same_windows) = (run(padded), run(same_windows));
    assert_close(&padded, &same_windows);
    assert_eq!(plain.steps, padded.steps);
}

#[test]
fn a_frozen_data_set_trains_to_the_same_bytes_and_other_rules_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let original = config(folder.path(), "original");
    let expected = run_on(original.clone(), data()).unwrap();
    let frozen = freeze(&original, &data(), &folder.path().join("frozen")).unwrap();
    let loaded = load(std::slice::from_ref(&frozen), layoutlm_core::receipt::BadLines::Refuse).unwrap();
    let mut from_snapshot = TrainData::given(loaded.train, loaded.validation.unwrap(), "frozen".into());
    from_snapshot.snapshot = Some(frozen);
    let again = run_on(config(folder.path(), "again"), from_snapshot.clone()).unwrap();
    assert_eq!(newest(&expected, "model.safetensors"), newest(&again, "model.safetensors"));
    assert_eq!(record(&expected).best, record(&again).best);

    for change in [(|c| c.window.stride = 100) as fn(&mut TrainConfig), |c| c.scope = Scope::LineItems] {
        let mut other = config(folder.path(), "other");
        change(&mut other);
        let error = run_on(other, from_snapshot.clone()).unwrap_err();
        assert!(matches!(error, TrainError::Data(_)) && error.is_usage(), "{error}");
        assert!(error.to_string().contains("encoded with fingerprint"), "{error}");
        assert!(!folder.path().join("other").exists());
    }
}

#[test]
fn a_run_that_is_refused_freezes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let refused: [fn(&mut TrainConfig); 2] =
        [|c| c.freeze_layers = 99, |c| c.checkpoint_metric = "label_WEBSITE_f1".parse().unwrap()];
    for change in refused {
        let mut refused = config(folder.path(), "refused");
        refused.dataset_snapshot_save = Some(folder.path().join("frozen"));
        change(&mut refused);
        assert!(run_on(refused, data()).unwrap_err().is_usage());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn merchants_stay_apart_when_the_band_leaves_their_names_out_or_labels_await_review() {
    let (mut twice, mut pending) = (receipts(), receipts());
    twice.extend(receipts().into_iter().map(|r| Receipt { image_id: format!("{}-again", r.image_id), ..r }));
    pending.clone_from(&twice);
    for receipt in twice.iter_mut().chain(&mut pending) {
        receipt.merchant = None;
    }
    pending
        .iter_mut()
        .flat_map(|r| &mut r.words)
        .for_each(|w| w.validation_status = ValidationStatus::Pending);
    for (receipts, status, scope) in [
        (&twice, ValidationStatus::Valid, Scope::LineItems),
        (&pending, ValidationStatus::Pending, Scope::Full),
    ] {
        let config = config(std::path::Path::new("nowhere"), "a");
        let rules = DivisionRules { status, scope, split: SplitBy::Merchant, ..rules(&config) };
        let divided = divide(Dataset { train: receipts.clone(), ..Dataset::default() }, &rules).unwrap();
        let sides = merchants_by_side(&divided.split);
        assert!(sides.len() > 1 && sides.keys().all(|name| !name.starts_with('#')), "{sides:?}");
        assert!(sides.values().all(|(train, validation)| *train == 0 || *validation == 0), "{sides:?}");
    }
}

#[test]
fn lines_are_examples_of_their_own_in_training_evaluation_and_the_encoding() {
    let runs = tempfile::tempdir().unwrap();
    let mut lines = config(runs.path(), "lines");
    lines.granularity = Granularity::Line;
    let outcome = run(lines);
    let record = record(&outcome);
    let count = |receipts: &[layoutlm_core::receipt::Receipt]| -> usize {
        receipts.iter().map(|r| r.lines(&r.line_order()).count()).sum()
    };
    assert_eq!(record.dataset_counts["train"].num_lines, count(&data().train));
    assert_eq!(record.dataset_counts["validation"].num_lines, count(&data().validation));
    let encoder = read_encoder(&outcome.run_dir.join("best")).unwrap();
    assert_eq!(encoder.encoding().granularity, Granularity::Line);
    let receipt = &data().validation[0];
    assert_eq!(encoder.encode(receipt).unwrap().windows.len(), count(std::slice::from_ref(receipt)));
}

#[test]
fn item_windows_are_added_to_training_alone() {
    let runs = tempfile::tempdir().unwrap();
    let plain = record(&run(config(runs.path(), "plain")));
    let mut more = config(runs.path(), "more");
    more.item_windows = Some(WindowRule { size: 40, stride: 30, ..WindowRule::default() });
    let more = record(&run(more));
    let extra = more.split_metadata.num_item_window_examples;
    assert!(extra >= data().train.len(), "{extra}");
    let windows = |r: &layoutlm_trainer::run::RunRecord, part: &str| r.dataset_counts[part].num_lines;
    assert_eq!(windows(&more, "train"), windows(&plain, "train") + extra);
    assert_eq!(windows(&more, "validation"), windows(&plain, "validation"));
    assert_eq!(
        (more.split_metadata.item_window_size, plain.split_metadata.item_window_size),
        (Some(40), None)
    );
}

#[test]
fn the_scope_of_items_trains_and_scores_on_the_band() {
    let runs = tempfile::tempdir().unwrap();
    let mut items = config(runs.path(), "items");
    items.scope = Scope::LineItems;
    let data = divided(&items);
    let record = record(&run_on(items, data).unwrap());
    assert!(record.resulting_labels.contains(&"PRODUCT_NAME".to_string()));
    assert!(!record.resulting_labels.contains(&"GRAND_TOTAL".to_string()), "{:?}", record.resulting_labels);
}

#[test]
fn the_reproducing_loader_says_so_and_takes_its_classes_from_the_windows() {
    let runs = tempfile::tempdir().unwrap();
    let upstream = config(runs.path(), "upstream").with_loader(Loader::Upstream);
    let data = divided(&upstream);
    let outcome = run_on(upstream, data).unwrap();
    let record = record(&outcome);
    assert!(record.loader.contains("bottom-left"), "{}", record.loader);
    assert_eq!(record.comparability.val_split_source, "seeded_random_split");
    assert!(!record.comparability.comparable);
    assert!(record.label_list[1..].is_sorted(), "{:?}", record.label_list);
    let observed = &record.dataset_counts["train"].label_counts;
    assert!(record.label_list[1..].iter().all(|l| observed.contains_key(l)), "{:?}", record.label_list);
    let toolkit = config(runs.path(), "toolkit");
    let data = divided(&toolkit);
    assert_eq!(data.split, SplitSource::SeededRandomSplit);
    assert!(crate::shared::record(&run_on(toolkit, data).unwrap()).loader.contains("top-left"));
}

#[test]
fn frozen_weights_stay_and_the_rest_moves() {
    let runs = tempfile::tempdir().unwrap();
    let before = run(TrainConfig { learning_rate: 1e-12, epochs: 1, ..config(runs.path(), "start") });
    let mut frozen = config(runs.path(), "frozen");
    (frozen.freeze_embeddings, frozen.freeze_layers, frozen.weight_decay) = (true, 1, 0.0);
    frozen.start = Start::Pretrained(before.run_dir.join("best"));
    let after = run(frozen);
    let read = |folder: std::path::PathBuf| read_tensor_file(&folder.join("model.safetensors")).unwrap();
    let a = read(before.run_dir.join("best"));
    let b = read(after.run_dir.join(format!("checkpoint-{}", after.steps)));
    for (name, array) in a.iter() {
        let stays = name.contains("embeddings") || name.contains("layer.0.");
        assert_eq!(array == b.get(name).unwrap(), stays, "{name}");
    }
}
