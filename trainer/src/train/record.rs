//! The records of a run as they stand before its first step.

use std::collections::BTreeMap;

use layoutlm_core::encoder::Encoder;
use layoutlm_core::evaluate::GoldReceipt;
use layoutlm_core::receipt::Receipt;

use super::TrainData;
use super::examples::Example;
use crate::config::TrainConfig;
use crate::data::{DownsampleReport, SplitSource, keys_hash};
use crate::run::{
    Comparability, EpochsRecord, Hardware, RunRecord, SHOWCASE, SplitCounts, SplitMetadata, State,
    legacy_configs, showcase_key, split_counts,
};
use crate::weights::{LoadReport, TensorOrigin};

/// What was found out while the run was prepared.
pub(super) struct Facts<'a> {
    /// What thinning O-only windows did.
    pub(super) thinned: &'a DownsampleReport,
    /// Training windows over item bands.
    pub(super) item_windows: usize,
    /// Where the weights came from.
    pub(super) report: &'a LoadReport,
}

pub(super) fn run_record(
    config: &TrainConfig,
    encoder: &Encoder,
    data: &TrainData,
    examples: &[Example],
    validation: &[GoldReceipt],
    facts: &Facts<'_>,
) -> RunRecord {
    let train_counts = split_counts(examples.iter().map(|e| e.tags.as_slice()));
    let windows = held_out_tags(encoder, validation);
    let val_counts = split_counts(windows.iter().map(Vec::as_slice));
    let (training_config, data_config) = legacy_configs(config, &data.source);
    let encoding = encoder.encoding().clone();
    let origins = [
        ("loaded", TensorOrigin::Loaded),
        ("fresh", TensorOrigin::Fresh),
        ("ignored", TensorOrigin::Ignored),
    ];
    RunRecord {
        job_name: config.job_name.clone(),
        training_config,
        data_config,
        label_list: encoding.labels.tags().to_vec(),
        num_labels: encoding.labels.len(),
        split_metadata: split_metadata(config, data, facts, windows.len(), &val_counts),
        dataset_counts: BTreeMap::from([("train".into(), train_counts), ("validation".into(), val_counts)]),
        label_merges: config.scheme.merges().clone(),
        resulting_labels: encoding.labels.entities().into_iter().map(String::from).collect(),
        comparability: comparability(data),
        epoch_metrics: Vec::new(),
        best: None,
        status: "running".into(),
        config: config.clone(),
        loader: config.loader.describe().into(),
        left_out: data.left_out,
        leakage: data.leakage.clone(),
        encoding_fingerprint: encoding.fingerprint(),
        encoding,
        start: origins.map(|(name, o)| (name.to_string(), facts.report.names(o).count())).into(),
        written_by: concat!("layoutlm-toolkit ", env!("CARGO_PKG_VERSION")).into(),
        machine: format!("{} threads of {}", config.threads, crate::machine::cpu_name()),
        hardware: Hardware::default(),
        seconds: 0.0,
    }
}

/// Tags of the words of each validation window that has a token.
fn held_out_tags(encoder: &Encoder, validation: &[GoldReceipt]) -> Vec<Vec<String>> {
    let labels = &encoder.encoding().labels;
    let windows = validation.iter().flat_map(|r| r.encoded.windows.iter().map(move |w| (r, w)));
    windows
        .filter(|(_, window)| window.len() > 2)
        .map(|(receipt, window)| receipt.window_labels(encoder, window))
        .map(|ids| ids.into_iter().map(|id| labels.name(id).to_string()).collect())
        .collect()
}

fn split_metadata(
    config: &TrainConfig,
    data: &TrainData,
    facts: &Facts<'_>,
    validation_windows: usize,
    validation: &SplitCounts,
) -> SplitMetadata {
    let keys = |receipts: &[Receipt]| {
        let mut keys: Vec<String> = receipts.iter().map(Receipt::key).collect();
        keys.sort();
        keys
    };
    let (train_keys, val_keys) = (keys(&data.train), keys(&data.validation));
    let thinned = facts.thinned;
    let drawn = matches!(data.split, SplitSource::SeededRandomSplit | SplitSource::MerchantGroupedSplit);
    SplitMetadata {
        random_seed: if drawn { config.seed } else { 0 },
        num_train_receipts: train_keys.len(),
        num_val_receipts: val_keys.len(),
        num_train_lines: thinned.o_only_kept + thinned.entity_total,
        num_val_lines: validation_windows,
        train_receipts_hash: keys_hash(train_keys.iter().map(String::as_str)),
        val_receipts_hash: keys_hash(val_keys.iter().map(String::as_str)),
        o_entity_ratio_before_downsample: thinned.o_entity_ratio_before,
        o_entity_ratio_after_downsample: thinned.o_entity_ratio_after,
        o_entity_ratio_val: validation.o_entity_ratio,
        o_only_lines_total: thinned.o_only_total,
        o_only_lines_kept: thinned.o_only_kept,
        o_only_lines_dropped: thinned.o_only_dropped(),
        entity_lines_total: thinned.entity_total,
        target_o_entity_ratio: thinned.target_o_entity_ratio,
        val_receipt_keys: val_keys,
        window_size: config.window.size,
        window_stride: config.window.stride,
        train_receipt_keys: train_keys,
        item_window_augmentation: config.item_windows.is_some(),
        num_item_window_examples: facts.item_windows,
        item_window_size: config.item_windows.map(|w| w.size),
        item_window_stride: config.item_windows.map(|w| w.stride),
    }
}

fn comparability(data: &TrainData) -> Comparability {
    let named = serde_json::to_value(data.split).ok();
    let val_split_source = named.and_then(|v| v.as_str().map(String::from)).unwrap_or_default();
    match &data.frozen {
        Some(source) => Comparability {
            comparable: true,
            val_keys_s3: Some(source.clone()),
            val_split_source,
            reason: format!("held out the frozen split {source}"),
        },
        None => Comparability {
            comparable: false,
            val_keys_s3: None,
            val_split_source,
            reason:
                "no frozen validation split: the scores hold for this run's own random split and must not be \
                     put beside those of other runs"
                    .into(),
        },
    }
}

pub(super) fn epochs_record(record: &RunRecord, state: &State) -> EpochsRecord {
    let split = &record.split_metadata;
    let mut epochs = EpochsRecord {
        job_name: record.job_name.clone(),
        val_set_source: "persisted_val_receipt_keys".into(),
        val_receipts_hash: split.val_receipts_hash.clone(),
        val_receipts_hash_recorded: Some(split.val_receipts_hash.clone()),
        val_receipts_hash_verified: true,
        num_val_receipts: split.num_val_receipts,
        random_seed: Some(split.random_seed),
        label_list: record.label_list.clone(),
        label_merges: record.label_merges.clone(),
        metric: "seqeval_entity_f1".into(),
        inference_mode: "windowed".into(),
        window_size: split.window_size,
        window_stride: split.window_stride,
        showcase_receipt_keys: split
            .val_receipt_keys
            .iter()
            .take(SHOWCASE)
            .map(|k| showcase_key(k))
            .collect(),
        epochs: state.epochs.clone(),
        ..EpochsRecord::default()
    };
    epochs.find_best();
    epochs
}
