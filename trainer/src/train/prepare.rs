//! Everything a run needs before its first step: encoder, examples, model, optimiser, state.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use layoutlm_core::config::ModelConfig;
use layoutlm_core::encoder::Encoder;
use layoutlm_core::encoding::Encoding;
use layoutlm_core::evaluate::GoldReceipt;
use layoutlm_core::label::LabelSet;
use layoutlm_core::receipt::Receipt;
use layoutlm_core::tokenize::Tokenizer;

use super::class_weights::loss_config;
use super::encode::{encode, gold};
use super::engine::{Engine, Opener};
use super::examples::Example;
use super::held_out::HeldOutSet;
use super::record::{Facts, epochs_record, run_record};
use super::resume::{Beginning, Standing};
use super::settings::settings;
use super::start::{dimensions, finish_dimensions, start_tokenizer};
use super::{Setup, TrainData, TrainError};
use crate::batching::{BatchRule, EpochPlan};
use crate::config::{InvalidConfig, TrainConfig};
use crate::data::{ExampleKind, Loader, PythonRandom, downsample, observed_labels};
use crate::files::{FileError, write_atomic};
use crate::loss::LossConfig;
use crate::optim::LinearSchedule;
use crate::parallel::Communicator;
use crate::run::{EpochsRecord, RunLock, RunRecord, State, remove_strays};

/// A run ready to step.
pub(super) struct Prepared {
    pub(super) config: TrainConfig,
    pub(super) encoder: Encoder,
    pub(super) examples: Vec<Example>,
    /// Tokens of each example as it is computed, padding counted.
    pub(super) lengths: Vec<usize>,
    pub(super) validation: Vec<GoldReceipt>,
    pub(super) held_out: HeldOutSet,
    pub(super) plans: Vec<EpochPlan>,
    pub(super) schedule: LinearSchedule,
    pub(super) loss: LossConfig,
    pub(super) engine: Box<dyn Engine>,
    /// Tokens of one pass, at most.
    pub(super) pass_tokens: usize,
    pub(super) communicator: Option<Arc<dyn Communicator>>,
    pub(super) state: State,
    pub(super) record: RunRecord,
    pub(super) epochs: EpochsRecord,
    /// Of the process that writes.
    _lock: Option<RunLock>,
}

impl Prepared {
    pub(super) fn new(mut config: TrainConfig, data: TrainData, setup: &Setup) -> Result<Self, TrainError> {
        config.check()?;
        if !setup.leads() {
            config.dataset_snapshot_save = None;
        }
        let tokenizer = start_tokenizer(&config.start, &data.train)?;
        let start = dimensions(&config.start, &tokenizer)?;
        let all_labels = label_set(&config, &data.train)?;
        // Before anything is written.
        model_for(&config, &start, &tokenizer, &all_labels)?;
        let encoded = encode(&config, &data, &tokenizer, start.max_position_embeddings)?;
        let mut random = match config.loader {
            Loader::Toolkit => PythonRandom::new(config.seed),
            Loader::Upstream => data.random.clone(),
        };
        let (train, thinned) =
            downsample(encoded.train, config.o_entity_ratio, &mut random, |e| e.tags.as_slice());
        if train.is_empty() {
            return Err(TrainError::NothingToLearn("the training receipts hold no word with a token".into()));
        }
        let labels = match config.loader {
            Loader::Toolkit => all_labels,
            Loader::Upstream => observed_labels(train.iter().map(|e| e.tags.as_slice()))?,
        };
        let dimensions = model_for(&config, &start, &tokenizer, &labels)?;
        let encoder = encoder(&config, tokenizer, labels, dimensions.max_position_embeddings)?;
        let validation = gold(&config, &encoder, &data.validation, encoded.validation)?;
        let item_windows = train.iter().filter(|e| e.kind == ExampleKind::ItemWindow).count();
        let examples: Vec<Example> =
            train.into_iter().map(|e| Example::new(e, &encoder.encoding().labels)).collect();
        let lengths = lengths(&config, &encoder, &examples);
        let plans = plans(&config, &lengths, setup.world_size());
        let total: u64 = plans.iter().map(|p| p.steps() as u64).sum();
        let schedule = LinearSchedule::with_ratio(config.learning_rate, config.warmup_ratio, total);
        let run_dir = config.run_dir();
        let mut lock = None;
        if run_dir.is_dir() && setup.leads() {
            lock = Some(RunLock::take(&run_dir)?);
            remove_strays(&run_dir)?;
        }
        let labels = &encoder.encoding().labels;
        let loss = loss_config(&config, labels, &examples);
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let communicator = setup.communicator();
        let opener = Opener { config: &config, setup, loss: &loss, longest };
        let settings = settings(&config, &encoder, &data, setup);
        let beginning = Beginning { opener, dimensions: &dimensions, labels, settings: &settings };
        let Standing { mut engine, state, report } = beginning.stand(communicator.as_deref())?;
        let pass_tokens = settle_pass_tokens(engine.as_mut(), communicator.as_deref())?;
        let pass_tokens = pass_tokens.unwrap_or(config.max_pass_tokens);
        if setup.leads() {
            std::fs::create_dir_all(&run_dir).map_err(FileError::at(&run_dir))?;
            lock = lock.map_or_else(|| RunLock::take(&run_dir).map(Some), |held| Ok(Some(held)))?;
            write_receipts(&run_dir.join("validation.jsonl"), &data.validation)?;
        }
        let facts = Facts { thinned: &thinned, item_windows, report: &report };
        let mut record = run_record(&config, &encoder, &data, &examples, &validation, &facts);
        if let Some(earlier) = RunRecord::read(&run_dir).ok().filter(|_| state.global_step > 0) {
            record.start = earlier.start;
        }
        let epochs = epochs_record(&record, &state);
        let to = setup.leads().then_some(run_dir.as_path());
        let held_out = HeldOutSet::new(&encoder, &validation, data, config.validation_status, to)?;
        Ok(Self {
            config,
            encoder,
            examples,
            lengths,
            validation,
            held_out,
            plans,
            schedule,
            loss,
            engine,
            pass_tokens,
            communicator,
            state,
            record,
            epochs,
            _lock: lock,
        })
    }

    pub(super) fn total_steps(&self) -> u64 {
        self.schedule.total_steps
    }

    pub(super) fn rank(&self) -> usize {
        self.communicator.as_ref().map_or(0, |c| c.rank())
    }

    pub(super) fn world_size(&self) -> usize {
        self.communicator.as_ref().map_or(1, |c| c.world_size())
    }

    /// True for the process that evaluates and writes.
    pub(super) fn leads(&self) -> bool {
        self.rank() == 0
    }
}

/// The tokens of a pass that every process's memory holds; nothing: as configured.
fn settle_pass_tokens(
    engine: &mut dyn Engine,
    others: Option<&dyn Communicator>,
) -> Result<Option<usize>, TrainError> {
    let (Some(own), Some(others)) = (engine.pass_tokens(), others) else { return Ok(engine.pass_tokens()) };
    let mut of_rank: Vec<f64> = (0..others.world_size()).map(|_| 0.0).collect();
    of_rank.iter_mut().skip(others.rank()).take(1).for_each(|tokens| *tokens = own as f64);
    others.sum_f64(&mut of_rank)?;
    let least = of_rank.into_iter().fold(f64::INFINITY, f64::min) as usize;
    engine.settle_pass_tokens(least);
    Ok(Some(least))
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

/// `O`, then B- and I- of every entity type that the training receipts hold after merging.
pub(super) fn label_set(config: &TrainConfig, train: &[Receipt]) -> Result<LabelSet, TrainError> {
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

/// The model that learns `labels` from a start of dimensions `start`, once that and the metric are known to go together.
pub(super) fn model_for(
    config: &TrainConfig,
    start: &ModelConfig,
    tokenizer: &Tokenizer,
    labels: &LabelSet,
) -> Result<ModelConfig, TrainError> {
    check_metric(config, labels)?;
    finish_dimensions(start.clone(), config, tokenizer, labels)
}

/// A metric of a label that the model does not learn would never move.
fn check_metric(config: &TrainConfig, labels: &LabelSet) -> Result<(), InvalidConfig> {
    let metric = &config.checkpoint_metric;
    let entities = labels.entities();
    match metric.label().filter(|label| !entities.contains(label)) {
        None => Ok(()),
        Some(_) => Err(InvalidConfig {
            flag: "--checkpoint-metric",
            value: metric.to_string(),
            reason: format!("the model learns no such label, only {}", entities.join(", ")),
        }),
    }
}

fn encoder(
    config: &TrainConfig,
    tokenizer: Tokenizer,
    labels: LabelSet,
    max_positions: usize,
) -> Result<Encoder, TrainError> {
    let rules = config.example_rules(max_positions);
    let lower_case = tokenizer.lower_case();
    let mut encoding = Encoding::new(tokenizer.sha256().into(), lower_case, labels, config.scheme.clone());
    encoding.box_rule = rules.box_rule;
    encoding.reading_order = rules.reading_order;
    encoding.window = rules.window;
    encoding.granularity = rules.granularity;
    encoding.decoding = config.decoding;
    Ok(Encoder::new(encoding, tokenizer)?)
}

fn lengths(config: &TrainConfig, encoder: &Encoder, examples: &[Example]) -> Vec<usize> {
    let full = encoder.encoding().window.max_length;
    let length = |e: &Example| if config.pad_to_max_length { full } else { e.window.len() };
    examples.iter().map(length).collect()
}

/// Each process takes as many micro-batches of a step as one alone would.
fn plans(config: &TrainConfig, lengths: &[usize], world_size: usize) -> Vec<EpochPlan> {
    let rule = BatchRule {
        batch_size: config.batch_size,
        max_batch_tokens: config.max_batch_tokens,
        group_by_length: config.group_by_length,
        accumulation: config.gradient_accumulation_steps.saturating_mul(world_size),
    };
    (0..config.epochs).map(|epoch| EpochPlan::new(lengths, rule, config.seed, epoch)).collect()
}
