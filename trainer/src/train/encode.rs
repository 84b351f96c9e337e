//! Receipts as token windows: taken from a frozen data set, or made anew and on request frozen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layoutlm_core::bbox::NormalizedBox;
use layoutlm_core::encoder::{EncodedReceipt, Encoder};
use layoutlm_core::evaluate::GoldReceipt;
use layoutlm_core::receipt::Receipt;
use layoutlm_core::tokenize::Tokenizer;

use super::prepare::{label_set, model_for};
use super::start::{dimensions, start_tokenizer};
use super::{TrainData, TrainError};
use crate::config::TrainConfig;
use crate::data::{
    EncodedExample, ExampleEncoder, ExampleRules, Snapshot, SnapshotPart, SplitInfo, keys_hash,
    load_snapshot, save_snapshot,
};

/// Encodes divided receipts as a run of `config` would and freezes them under `root`; gives the snapshot's folder.
///
/// # Errors
/// What such a run would be refused for, with nothing written; [`TrainError::Data`], and what is wrong with the start's tokenizer or dimensions.
pub fn freeze(config: &TrainConfig, data: &TrainData, root: &Path) -> Result<PathBuf, TrainError> {
    let tokenizer = start_tokenizer(&config.start, &data.train)?;
    let start = dimensions(&config.start, &tokenizer)?;
    model_for(config, &start, &tokenizer, &label_set(config, &data.train)?)?;
    let rules = config.example_rules(start.max_position_embeddings);
    let encoder = example_encoder(config, &rules, &tokenizer);
    let encoded = Encoded::new(&encoder, data)?;
    Ok(save_snapshot(root, &snapshot(data, &encoded, encoder.fingerprint()))?)
}

/// Both sides as token windows with tags.
pub(super) struct Encoded {
    pub(super) train: Vec<EncodedExample>,
    pub(super) validation: Vec<EncodedExample>,
}

impl Encoded {
    fn new(encoder: &ExampleEncoder<'_>, data: &TrainData) -> Result<Self, TrainError> {
        let mut train = encoder.encode(&data.train)?;
        train.extend(encoder.encode_item_windows(&data.train)?);
        Ok(Self { train, validation: encoder.encode(&data.validation)? })
    }
}

fn example_encoder<'a>(
    config: &TrainConfig,
    rules: &'a ExampleRules,
    tokenizer: &'a Tokenizer,
) -> ExampleEncoder<'a> {
    let (special_token_box, status) = (NormalizedBox::ZERO, config.validation_status);
    ExampleEncoder { rules, tokenizer, special_token_box, status, scope: config.scope }
}

/// Takes the windows from a frozen data set, or makes (and on request freezes) them.
pub(super) fn encode(
    config: &TrainConfig,
    data: &TrainData,
    tokenizer: &Tokenizer,
    max_positions: usize,
) -> Result<Encoded, TrainError> {
    let rules = config.example_rules(max_positions);
    let encoder = example_encoder(config, &rules, tokenizer);
    let fingerprint = encoder.fingerprint();
    let encoded = match &data.snapshot {
        Some(folder) => {
            let mut parts = load_snapshot(folder, &fingerprint)?.parts;
            let mut part = |name: &str| parts.remove(name).unwrap_or_default().examples;
            Encoded { train: part("train"), validation: part("validation") }
        }
        None => Encoded::new(&encoder, data)?,
    };
    if let Some(root) = &config.dataset_snapshot_save {
        let folder = save_snapshot(root, &snapshot(data, &encoded, fingerprint))?;
        tracing::info!("the encoded data set is frozen in {}", folder.display());
    }
    Ok(encoded)
}

fn snapshot(data: &TrainData, encoded: &Encoded, fingerprint: String) -> Snapshot {
    let part = |receipts: &[Receipt], examples: &[EncodedExample]| SnapshotPart {
        receipts: receipts.to_vec(),
        examples: examples.to_vec(),
    };
    let keys = |receipts: &[Receipt]| {
        let mut keys: Vec<String> = receipts.iter().map(Receipt::key).collect();
        keys.sort();
        keys
    };
    let (train, validation) = (keys(&data.train), keys(&data.validation));
    Snapshot {
        parts: [
            ("train".to_string(), part(&data.train, &encoded.train)),
            ("validation".to_string(), part(&data.validation, &encoded.validation)),
        ]
        .into(),
        fingerprint,
        source: data.source.clone(),
        split: Some(SplitInfo {
            source: data.split,
            random_seed: 0,
            train_receipts_hash: keys_hash(train.iter().map(String::as_str)),
            val_receipts_hash: keys_hash(validation.iter().map(String::as_str)),
            val_receipt_keys: validation,
            missing_keys: Vec::new(),
        }),
    }
}

/// The validation receipts with their windows; those encoded before are not tokenised again.
pub(super) fn gold(
    config: &TrainConfig,
    encoder: &Encoder,
    receipts: &[Receipt],
    examples: Vec<EncodedExample>,
) -> Result<Vec<GoldReceipt>, TrainError> {
    let mut windows: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for example in examples {
        windows.entry(example.key).or_default().push(example.window);
    }
    let one = |receipt: &Receipt| {
        let windows = windows.remove(&receipt.key()).unwrap_or_default();
        let encoded =
            EncodedReceipt { num_words: receipt.words.len(), order: encoder.order(receipt), windows };
        GoldReceipt::from_encoded(encoder, receipt, config.validation_status, encoded)
    };
    let validation: Vec<GoldReceipt> = receipts.iter().map(one).collect();
    if validation.iter().all(|r| r.encoded.windows.is_empty()) {
        let text =
            "the validation receipts hold no word, so no checkpoint could be chosen; give more receipts";
        return Err(TrainError::NothingToLearn(text.into()));
    }
    Ok(validation)
}
