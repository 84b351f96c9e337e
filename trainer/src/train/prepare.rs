//! Everything a run needs before its first step: encoder, examples, model, optimiser, state.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::Device;
use layoutlm_core::config::ModelConfig;
use layoutlm_core::encoder::Encoder;
use layoutlm_core::encoding::Encoding;
use layoutlm_core::evaluate::GoldReceipt;
use layoutlm_core::label::LabelSet;
use layoutlm_core::receipt::Receipt;
use layoutlm_core::tokenize::Tokenizer;

use super::examples::{Example, encode_examples};
use super::{TrainData, TrainError, scratch};
use crate::batching::{BatchRule, EpochPlan};
use crate::config::{ClassWeights, InvalidConfig, Scratch, Start, TrainConfig};
use crate::data::{DownsampleReport, PythonRandom, build_vocab, downsample, keys_hash};
use crate::files::{FileError, write_atomic};
use crate::loss::{LossConfig, Normalization};
use crate::model::LayoutLm;
use crate::model_folder::{read_config, read_tokenizer};
use crate::optim::{AdamW, AdamWConfig, LinearSchedule};
use crate::run::{
    Comparability, EpochsRecord, RunError, RunRecord, SplitCounts, SplitMetadata, State, checkpoints,
    legacy_configs, load_state, remove_strays, split_counts,
};
use crate::weights::{Checkpoint, LoadOptions, LoadReport, TensorOrigin};

/// A run ready to step.
pub(super) struct Prepared {
    pub(super) config: TrainConfig,
    pub(super) encoder: Encoder,
    pub(super) examples: Vec<Example>,
    pub(super) validation: Vec<GoldReceipt>,
    pub(super) plans: Vec<EpochPlan>,
    pub(super) schedule: LinearSchedule,
    pub(super) loss: LossConfig,
    pub(super) model: LayoutLm,
    pub(super) optimizer: AdamW,
    pub(super) state: State,
    pub(super) record: RunRecord,
    pub(super) epochs: EpochsRecord,
}

impl Prepared {
    pub(super) fn new(config: TrainConfig, data: TrainData) -> Result<Self, TrainError> {
        config.check()?;
        let tokenizer = start_tokenizer(&config, &data.train)?;
        let labels = label_set(&config, &data.train)?;
        let model_config = start_config(&config, &tokenizer, &labels)?;
        let encoder = encoder(&config, tokenizer, labels, &model_config)?;
        let gold = |receipts: &[Receipt]| -> Result<Vec<GoldReceipt>, TrainError> {
            receipts.iter().map(|r| Ok(GoldReceipt::new(&encoder, r, config.validation_status)?)).collect()
        };
        let examples = encode_examples(&encoder, &gold(&data.train)?);
        let mut random = PythonRandom::new(config.seed);
        let (examples, thinned) =
            downsample(examples, config.o_entity_ratio, &mut random, |e| e.tags.as_slice());
        let validation = gold(&data.validation)?;
        if examples.is_empty() {
            return Err(TrainError::NothingToLearn("the training receipts hold no word with a token".into()));
        }
        if validation.iter().all(|r| r.encoded.windows.is_empty()) {
            let text =
                "the validation receipts hold no word, so no checkpoint could be chosen; give more receipts";
            return Err(TrainError::NothingToLearn(text.into()));
        }
        let plans = plans(&config, &examples);
        let total: u64 = plans.iter().map(|p| p.steps() as u64).sum();
        let schedule = LinearSchedule::with_ratio(config.learning_rate, config.warmup_ratio, total);
        let settings = settings(&config, &encoder, &data);
        let run_dir = config.run_dir();
        std::fs::create_dir_all(&run_dir).map_err(FileError::at(&run_dir))?;
        remove_strays(&run_dir)?;
        write_receipts(&run_dir.join("validation.jsonl"), &data.validation)?;
        let (model, optimizer, state, report) = resume_or_start(&config, &model_config, &encoder, settings)?;
        let record = record(&config, &encoder, &data, &examples, &thinned, &validation, &report);
        let epochs = epochs_record(&record, &state);
        let loss = loss_config(&config, &encoder, &examples);
        Ok(Self {
            config,
            encoder,
            examples,
            validation,
            plans,
            schedule,
            loss,
            model,
            optimizer,
            state,
            record,
            epochs,
        })
    }

    pub(super) fn total_steps(&self) -> u64 {
        self.schedule.total_steps
    }
}

/// Keeps the validation receipts beside the run: the exporter proves its graphs on them.
fn write_receipts(path: &Path, receipts: &[Receipt]) -> Result<(), FileError> {
    write_atomic(path, |f| {
        receipts.iter().try_for_each(|receipt| {
            serde_json::to_writer(&mut *f, receipt)?;
            f.write_all(b"\n")
        })
    })
}

fn start_tokenizer(config: &TrainConfig, train: &[Receipt]) -> Result<Tokenizer, TrainError> {
    match &config.start {
        Start::Pretrained(folder) => Ok(read_tokenizer(folder)?),
        Start::Scratch(s) => Ok(Tokenizer::from_vocab(&build_vocab(train, s.vocab_size), true)?),
    }
}

/// `O`, then B- and I- of every entity type that the training receipts hold after merging.
fn label_set(config: &TrainConfig, train: &[Receipt]) -> Result<LabelSet, TrainError> {
    let words = || train.iter().flat_map(|r| &r.words);
    let used: BTreeSet<String> = words()
        .filter_map(|w| config.scheme.entity(w.label_with(config.validation_status)))
        .map(String::from)
        .collect();
    if used.is_empty() {
        let labels: BTreeSet<&str> =
            words().filter_map(|w| w.label.as_deref()).filter(|l| *l != "O").collect();
        let labels: Vec<&str> = labels.into_iter().collect();
        return Err(TrainError::NothingToLearn(format!(
            "no entity is left to learn: the training receipts hold the labels [{}], and none of them has status \
             {:?} and passes --allowed-label",
            labels.join(" "),
            config.validation_status
        )));
    }
    Ok(LabelSet::from_entities(used)?)
}

fn start_config(
    config: &TrainConfig,
    tokenizer: &Tokenizer,
    labels: &LabelSet,
) -> Result<ModelConfig, TrainError> {
    let mut model = match &config.start {
        Start::Pretrained(folder) => read_config(folder)?,
        Start::Scratch(s) => scratch_config(s, tokenizer)?,
    };
    if tokenizer.vocab_size() > model.vocab_size {
        return Err(TrainError::Vocabulary { tokens: tokenizer.vocab_size(), rows: model.vocab_size });
    }
    model.pad_token_id = tokenizer.pad_id();
    model.set_labels(labels);
    if let Some(rate) = config.dropout {
        model.hidden_dropout_prob = rate;
        model.attention_probs_dropout_prob = rate;
    }
    Ok(model)
}

fn scratch_config(scratch: &Scratch, tokenizer: &Tokenizer) -> Result<ModelConfig, TrainError> {
    let json = serde_json::json!({
        "model_type": "layoutlm",
        "architectures": ["LayoutLMForTokenClassification"],
        "vocab_size": tokenizer.vocab_size(),
        "hidden_size": scratch.hidden_size,
        "num_hidden_layers": scratch.layers,
        "num_attention_heads": scratch.heads,
        "intermediate_size": scratch.hidden_size * 4,
    });
    ModelConfig::from_json(&json.to_string()).map_err(|e| {
        InvalidConfig { flag: "--scratch-hidden", value: String::new(), reason: e.to_string() }.into()
    })
}

fn encoder(
    config: &TrainConfig,
    tokenizer: Tokenizer,
    labels: LabelSet,
    model: &ModelConfig,
) -> Result<Encoder, TrainError> {
    let lower_case = tokenizer.lower_case();
    let mut encoding = Encoding::new(tokenizer.sha256().into(), lower_case, labels, config.scheme.clone());
    encoding.box_rule = config.box_rule;
    encoding.reading_order = config.reading_order;
    encoding.window = config.window;
    encoding.window.max_length = config.window.max_length.min(model.max_position_embeddings);
    encoding.decoding = config.decoding;
    Ok(Encoder::new(encoding, tokenizer)?)
}

fn plans(config: &TrainConfig, examples: &[Example]) -> Vec<EpochPlan> {
    let lengths: Vec<usize> = examples.iter().map(|e| e.window.len()).collect();
    let rule = BatchRule {
        batch_size: config.batch_size,
        max_batch_tokens: config.max_batch_tokens,
        accumulation: config.gradient_accumulation_steps,
    };
    (0..config.epochs).map(|epoch| EpochPlan::new(&lengths, rule, config.seed, epoch)).collect()
}

/// Settings that decide the numbers: a checkpoint of others is not gone on from.
fn settings(config: &TrainConfig, encoder: &Encoder, data: &TrainData) -> BTreeMap<String, String> {
    let keys = |receipts: &[Receipt]| {
        let keys: Vec<String> = receipts.iter().map(Receipt::key).collect();
        keys_hash(keys.iter().map(String::as_str))
    };
    let mut map = BTreeMap::from([
        ("encoding".to_string(), encoder.encoding().fingerprint()),
        ("training receipts".to_string(), keys(&data.train)),
        ("validation receipts".to_string(), keys(&data.validation)),
    ]);
    let numbers = serde_json::json!({
        "start": config.start,
        "--epochs": config.epochs,
        "--batch-size": config.batch_size,
        "--max-batch-tokens": config.max_batch_tokens,
        "--gradient-accumulation-steps": config.gradient_accumulation_steps,
        "--lr": config.learning_rate,
        "--warmup-ratio": config.warmup_ratio,
        "--weight-decay": config.weight_decay,
        "--max-grad-norm": config.max_grad_norm,
        "--label-smoothing": config.label_smoothing,
        "--class-weights": config.class_weights,
        "--dropout": config.dropout,
        "--checkpoint-metric": config.checkpoint_metric,
        "--seed": config.seed,
        "--o-entity-ratio": config.o_entity_ratio,
    });
    let numbers = numbers.as_object().into_iter().flatten();
    map.extend(numbers.map(|(name, value)| (name.clone(), value.to_string())));
    map
}

type Started = (LayoutLm, AdamW, State, LoadReport);

fn resume_or_start(
    config: &TrainConfig,
    model_config: &ModelConfig,
    encoder: &Encoder,
    settings: BTreeMap<String, String>,
) -> Result<Started, TrainError> {
    let optimizer_config = AdamWConfig {
        weight_decay: config.weight_decay,
        max_grad_norm: Some(config.max_grad_norm),
        ..AdamWConfig::default()
    };
    let mut optimizer = AdamW::new(optimizer_config);
    if let Some((_, folder)) = checkpoints(&config.run_dir()).pop() {
        let (state, moments) = load_state(&folder)?;
        let differs = settings.iter().find(|(name, value)| state.settings.get(*name) != Some(*value));
        if let Some((name, value)) = differs {
            let before = state.settings.get(name).map_or("nothing", String::as_str);
            let difference = format!("{name}: {before} then, {value} now");
            return Err(RunError::OtherRun { path: folder, difference }.into());
        }
        let checkpoint = Checkpoint::load(&folder, LoadOptions::default())?;
        let mut config = checkpoint.config;
        config.hidden_dropout_prob = model_config.hidden_dropout_prob;
        config.attention_probs_dropout_prob = model_config.attention_probs_dropout_prob;
        let model = LayoutLm::new(config, checkpoint.weights, &Device::Cpu)?;
        optimizer.load_state(&model, moments.unwrap_or_default(), state.global_step)?;
        return Ok((model, optimizer, state, checkpoint.report));
    }
    let labels = &encoder.encoding().labels;
    let (weights, report) = match &config.start {
        Start::Pretrained(folder) => {
            let options = LoadOptions { labels: Some(labels), seed: config.seed };
            let checkpoint = Checkpoint::load(folder, options)?;
            (checkpoint.weights, checkpoint.report)
        }
        Start::Scratch(_) => {
            let weights = scratch::weights(model_config, labels.len(), config.seed);
            let origins = weights.iter().map(|(name, _)| (name.clone(), TensorOrigin::Fresh)).collect();
            (weights, LoadReport(origins))
        }
    };
    let mut model_config = model_config.clone();
    model_config.model_type = "layoutlm".into();
    model_config.architectures = vec!["LayoutLMForTokenClassification".into()];
    let model = LayoutLm::new(model_config, weights, &Device::Cpu)?;
    Ok((model, optimizer, State { settings, ..State::default() }, report))
}

fn loss_config(config: &TrainConfig, encoder: &Encoder, examples: &[Example]) -> LossConfig {
    let class_weights = (config.class_weights == ClassWeights::Balanced).then(|| {
        let classes = encoder.encoding().labels.len();
        let mut counts = vec![0usize; classes];
        for label in examples.iter().flat_map(labelled_words) {
            if let Some(count) = counts.get_mut(label.index()) {
                *count += 1;
            }
        }
        let total: usize = counts.iter().sum();
        let weight = |&n: &usize| match n {
            0 => 1.0,
            n => (total as f64 / (classes * n) as f64).clamp(0.3, 5.0) as f32,
        };
        counts.iter().map(weight).collect()
    });
    let normalization = if class_weights.is_some() { Normalization::WeightSum } else { Normalization::Items };
    LossConfig { label_smoothing: config.label_smoothing, class_weights, normalization }
}

fn labelled_words(example: &Example) -> impl Iterator<Item = layoutlm_core::label::LabelId> + '_ {
    example.window.first_subtokens().filter_map(|(_, word)| example.labels.get(word).copied().flatten())
}

fn record(
    config: &TrainConfig,
    encoder: &Encoder,
    data: &TrainData,
    examples: &[Example],
    thinned: &DownsampleReport,
    validation: &[GoldReceipt],
    report: &LoadReport,
) -> RunRecord {
    let held_out = encode_examples(encoder, validation);
    let (train_counts, val_counts) = (
        split_counts(examples.iter().map(|e| e.tags.as_slice())),
        split_counts(held_out.iter().map(|e| e.tags.as_slice())),
    );
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
        split_metadata: split_metadata(config, data, thinned, held_out.len(), &val_counts),
        dataset_counts: BTreeMap::from([("train".into(), train_counts), ("validation".into(), val_counts)]),
        label_merges: config.scheme.merges().clone(),
        resulting_labels: encoding.labels.entities().into_iter().map(String::from).collect(),
        comparability: comparability(data),
        epoch_metrics: Vec::new(),
        best: None,
        status: "running".into(),
        config: config.clone(),
        encoding_fingerprint: encoding.fingerprint(),
        encoding,
        start: origins.map(|(name, o)| (name.to_string(), report.names(o).count())).into(),
        written_by: concat!("layoutlm-toolkit ", env!("CARGO_PKG_VERSION")).into(),
        machine: format!("{} threads of {}", config.threads, crate::machine::cpu_name()),
        seconds: 0.0,
    }
}

fn split_metadata(
    config: &TrainConfig,
    data: &TrainData,
    thinned: &DownsampleReport,
    validation_windows: usize,
    validation: &SplitCounts,
) -> SplitMetadata {
    let keys = |receipts: &[Receipt]| {
        let mut keys: Vec<String> = receipts.iter().map(Receipt::key).collect();
        keys.sort();
        keys
    };
    let (train_keys, val_keys) = (keys(&data.train), keys(&data.validation));
    SplitMetadata {
        random_seed: if data.frozen.is_some() { 0 } else { config.seed },
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
    }
}

fn comparability(data: &TrainData) -> Comparability {
    match &data.frozen {
        Some(source) => Comparability {
            comparable: true,
            val_keys_s3: Some(source.clone()),
            val_split_source: "frozen_val_keys".into(),
            reason: format!("held out the frozen split {source}"),
        },
        None => Comparability {
            comparable: false,
            val_keys_s3: None,
            val_split_source: "seeded_random_split".into(),
            reason:
                "no frozen validation split: the scores hold for this run's own random split and must not be \
                     put beside those of other runs"
                    .into(),
        },
    }
}

fn epochs_record(record: &RunRecord, state: &State) -> EpochsRecord {
    EpochsRecord {
        job_name: record.job_name.clone(),
        run_s3_uri: String::new(),
        val_set_source: "persisted_val_receipt_keys".into(),
        val_receipts_hash: record.split_metadata.val_receipts_hash.clone(),
        num_val_receipts: record.split_metadata.num_val_receipts,
        label_list: record.label_list.clone(),
        label_merges: record.label_merges.clone(),
        metric: "seqeval_entity_f1".into(),
        inference_mode: "windowed".into(),
        window_size: record.split_metadata.window_size,
        window_stride: record.split_metadata.window_stride,
        epochs: state.epochs.clone(),
        best_epoch_heldout: None,
        best_checkpoint_heldout: None,
        generated_at: String::new(),
    }
}
