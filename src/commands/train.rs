//! `train`: fine-tunes LayoutLM on labelled receipts.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use layoutlm_core::bbox::BoxRule;
use layoutlm_core::encoding::Decoding;
use layoutlm_core::label::{LabelScheme, Merges, core_labels, preset};
use layoutlm_core::reading_order::ReadingOrder;
use layoutlm_core::receipt::{BadLines, Receipt, ValidationStatus};
use layoutlm_core::window::WindowRule;
use layoutlm_trainer::config::{CheckpointMetric, ClassWeights, Scratch, Start, TrainConfig};
use layoutlm_trainer::data;
use layoutlm_trainer::run::RunError;
use layoutlm_trainer::train::{Outcome, TrainData, TrainError, train};

use super::evaluate::table;
use crate::exit::{Interrupted, usage};
use crate::interrupt;

mod observer;

pub use observer::Console;

/// Flags of `train`.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Args {
    /// Names the run and its folder.
    #[arg(long, env = "LAYOUTLM_JOB_NAME")]
    job_name: String,
    /// Labelled receipts: a JSONL file, or a folder with train.jsonl and, if there, validation.jsonl.
    #[arg(long, env = "LAYOUTLM_DATA")]
    data: Option<PathBuf>,
    /// DynamoDB table of receipts.
    #[arg(long, env = "DYNAMO_TABLE_NAME")]
    dynamo_table: Option<String>,
    /// AWS region of the table.
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    region: String,
    /// Folder that holds runs.
    #[arg(long, env = "LAYOUTLM_RUNS", default_value = "runs")]
    output_dir: PathBuf,
    /// Hugging Face folder to start from: LayoutLM, or a BERT whose 2-D tables start fresh.
    #[arg(long, env = "LAYOUTLM_PRETRAINED", default_value = "microsoft/layoutlm-base-uncased")]
    pretrained: String,
    /// Start from random weights of this width instead, with a vocabulary made from the training receipts.
    #[arg(long, env = "LAYOUTLM_SCRATCH_HIDDEN")]
    scratch_hidden: Option<usize>,
    /// Encoder layers of a model from random weights.
    #[arg(long, env = "LAYOUTLM_SCRATCH_LAYERS", default_value_t = 3)]
    scratch_layers: usize,
    /// Attention heads of a model from random weights.
    #[arg(long, env = "LAYOUTLM_SCRATCH_HEADS", default_value_t = 4)]
    scratch_heads: usize,
    /// Entries of the vocabulary of a model from random weights.
    #[arg(long, env = "LAYOUTLM_SCRATCH_VOCAB", default_value_t = 3000)]
    scratch_vocab: usize,
    /// Passes over the training windows.
    #[arg(long, env = "LAYOUTLM_EPOCHS", default_value_t = 10)]
    epochs: usize,
    /// Windows per batch.
    #[arg(long, env = "LAYOUTLM_BATCH_SIZE", default_value_t = 8)]
    batch_size: usize,
    /// Tokens per batch, at most.
    #[arg(long, env = "LAYOUTLM_MAX_BATCH_TOKENS")]
    max_batch_tokens: Option<usize>,
    /// Batches per optimiser step.
    #[arg(long, env = "LAYOUTLM_GRADIENT_ACCUMULATION_STEPS", default_value_t = 1)]
    gradient_accumulation_steps: usize,
    /// Peak learning rate.
    #[arg(long, env = "LAYOUTLM_LR", default_value_t = 5e-5)]
    lr: f64,
    /// Share of all steps that warm up.
    #[arg(long, env = "LAYOUTLM_WARMUP_RATIO", default_value_t = 0.1)]
    warmup_ratio: f64,
    /// AdamW's decay of weights.
    #[arg(long, env = "LAYOUTLM_WEIGHT_DECAY", default_value_t = 0.01)]
    weight_decay: f64,
    /// Gradients are scaled down to this global norm.
    #[arg(long, env = "LAYOUTLM_MAX_GRAD_NORM", default_value_t = 1.0)]
    max_grad_norm: f64,
    /// Share of each label spread over all classes.
    #[arg(long, env = "LAYOUTLM_LABEL_SMOOTHING", default_value_t = 0.0)]
    label_smoothing: f64,
    /// Weighting of classes in the loss: none or balanced.
    #[arg(long, env = "LAYOUTLM_CLASS_WEIGHTS", default_value = "none")]
    class_weights: ClassWeightsArg,
    /// Dropout rate in place of the start's.
    #[arg(long, env = "LAYOUTLM_DROPOUT")]
    dropout: Option<f64>,
    /// Evaluations without improvement before stopping; 0 never stops early.
    #[arg(long, env = "LAYOUTLM_EARLY_STOPPING_PATIENCE", default_value_t = 2)]
    early_stopping_patience: usize,
    /// Decides the best checkpoint: f1, product_detail_macro_f1, loss or accuracy.
    #[arg(long, env = "LAYOUTLM_CHECKPOINT_METRIC", default_value = "f1")]
    checkpoint_metric: CheckpointMetric,
    /// Checkpoints kept besides the best.
    #[arg(long, env = "LAYOUTLM_KEEP_CHECKPOINTS", default_value_t = 2)]
    keep_checkpoints: usize,
    /// Seed of split, shuffles, dropout and fresh weights.
    #[arg(long, env = "LAYOUTLM_SEED", default_value_t = 42)]
    seed: u64,
    /// Labels of this status train; all other words are O.
    #[arg(long, env = "LAYOUTLM_VALIDATION_STATUS", default_value = "VALID")]
    validation_status: StatusArg,
    /// Most O words kept per entity word, by leaving out O-only windows.
    #[arg(long, env = "LAYOUTLM_O_TO_ENTITY_RATIO", default_value_t = 2.0)]
    o_entity_ratio: f64,
    /// Label to learn, after merging; repeatable. All by default.
    #[arg(long = "allowed-label", env = "LAYOUTLM_ALLOWED_LABELS", value_delimiter = ',')]
    allowed_labels: Vec<String>,
    /// Merge LINE_TOTAL, SUBTOTAL, TAX and GRAND_TOTAL into AMOUNT.
    #[arg(long, env = "LAYOUTLM_MERGE_AMOUNTS")]
    merge_amounts: bool,
    /// Merge TIME into DATE.
    #[arg(long, env = "LAYOUTLM_MERGE_DATE_TIME")]
    merge_date_time: bool,
    /// Merge PHONE_NUMBER and ADDRESS_LINE into ADDRESS.
    #[arg(long, env = "LAYOUTLM_MERGE_ADDRESS_PHONE")]
    merge_address_phone: bool,
    /// Merges as a JSON object `{target: [sources]}`.
    #[arg(long, env = "LAYOUTLM_LABEL_MERGES")]
    label_merges: Option<String>,
    /// Named merges: amounts, date_time, address_phone, sroie or none.
    #[arg(long, env = "LAYOUTLM_MERGE_PRESET")]
    merge_preset: Option<String>,
    /// Words per window.
    #[arg(long, env = "LAYOUTLM_WINDOW_SIZE", default_value_t = 200)]
    window_size: usize,
    /// Words between window starts.
    #[arg(long, env = "LAYOUTLM_WINDOW_STRIDE", default_value_t = 150)]
    window_stride: usize,
    /// Order of words: line, yx or given.
    #[arg(long, env = "LAYOUTLM_READING_ORDER", default_value = "line")]
    reading_order: OrderArg,
    /// From probabilities to tags: argmax or bio.
    #[arg(long, env = "LAYOUTLM_DECODING", default_value = "argmax")]
    decoding: DecodingArg,
    /// File of validation receipt keys to hold out.
    #[arg(long, env = "LAYOUTLM_VAL_KEYS")]
    val_keys: Option<PathBuf>,
    /// Accept a random split, whose scores can't be compared with other runs'.
    #[arg(long, env = "LAYOUTLM_NO_FROZEN_VAL")]
    no_frozen_val: bool,
    /// Threads of the CPU kernels; all cores by default.
    #[arg(long, env = "LAYOUTLM_THREADS")]
    threads: Option<usize>,
    /// Count lines that can't be read and go on.
    #[arg(long)]
    skip_bad_lines: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ClassWeightsArg {
    None,
    Balanced,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
enum StatusArg {
    Valid,
    Invalid,
    NeedsReview,
    Pending,
    None,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum OrderArg {
    Line,
    Yx,
    Given,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum DecodingArg {
    Argmax,
    Bio,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<()> {
    let stop = interrupt::flag()?;
    let path = data_path(&args)?;
    let bad = if args.skip_bad_lines { BadLines::Skip } else { BadLines::Refuse };
    let dataset = data::load(&[path], bad).map_err(usage)?;
    for line in &dataset.skipped {
        eprintln!("skipped {line}");
    }
    let known = known_labels(&dataset.train);
    let config = args.config(&known)?;
    config.check().map_err(usage)?;
    let data = divide(&args, dataset)?;
    let mut console = Console::new();
    let outcome = train(config, data, &mut console, &stop).map_err(sort)?;
    finish(outcome)
}

/// What the caller can mend is exit 2; the rest is a failure.
fn sort(error: TrainError) -> anyhow::Error {
    match error {
        TrainError::Config(_)
        | TrainError::NothingToLearn(_)
        | TrainError::Vocabulary { .. }
        | TrainError::Label(_)
        | TrainError::Tokenize(_)
        | TrainError::Folder(_)
        | TrainError::Weights(_)
        | TrainError::Run(RunError::OtherRun { .. }) => usage(error),
        _ => error.into(),
    }
}

fn data_path(args: &Args) -> anyhow::Result<PathBuf> {
    match (&args.data, &args.dynamo_table) {
        (Some(path), None) => Ok(path.clone()),
        (Some(_), Some(_)) => Err(usage(anyhow!("--data and --dynamo-table exclude each other"))),
        (None, Some(table)) => Err(usage(anyhow!(
            "--dynamo-table {table} (region {}): reading from DynamoDB is not built yet; use --data",
            args.region
        ))),
        (None, None) => Err(usage(anyhow!("no data: give --data <file or folder>"))),
    }
}

/// Labels that occur in the data or that the receipt database knows.
fn known_labels(receipts: &[Receipt]) -> BTreeSet<String> {
    let used = receipts.iter().flat_map(|r| &r.words).filter_map(|w| w.label.clone());
    let mut known: BTreeSet<String> = used.chain(core_labels()).collect();
    known.remove("O");
    known
}

/// Takes the data's own validation split, or the keys given, or splits by seed.
fn divide(args: &Args, dataset: data::Dataset) -> anyhow::Result<TrainData> {
    let source = dataset.description();
    let data::Dataset { mut train, validation, .. } = dataset;
    let (validation, frozen) = match (&args.val_keys, validation) {
        (Some(file), given) => {
            train.extend(given.unwrap_or_default());
            let keys = data::read_keys(file, data::KeyFile::Validation).map_err(usage)?;
            let split = data::split_by_keys(train, &keys).map_err(usage)?;
            train = split.train;
            (split.validation, Some(file.display().to_string()))
        }
        (None, Some(validation)) => (validation, Some(format!("{source} (its own validation split)"))),
        (None, None) => {
            let split = data::split_by_seed(train, args.seed).map_err(usage)?;
            train = split.train;
            (split.validation, None)
        }
    };
    if frozen.is_none() && !args.no_frozen_val {
        eprintln!(
            "warning: no frozen validation split (--val-keys): this run's scores can't be compared with other runs'"
        );
    }
    Ok(TrainData { train, validation, source, frozen })
}

/// Tells the outcome on stderr, and the run's folder on stdout.
#[allow(clippy::print_stdout)] // The folder is the command's result.
fn finish(outcome: Outcome) -> anyhow::Result<()> {
    let dir = outcome.run_dir.display();
    if outcome.interrupted {
        let message = format!("stopped; the state is in {dir}: the same command goes on from there");
        return Err(Interrupted(message).into());
    }
    if let (Some(best), Some(evaluation)) = (&outcome.best, &outcome.best_evaluation) {
        eprintln!("\nbest: {} of epoch {}, {} {:.4}", best.checkpoint, best.epoch, best.metric, best.value);
        eprint!("{}", table(evaluation));
    }
    println!("{dir}");
    Ok(())
}

impl Args {
    fn config(&self, known: &BTreeSet<String>) -> anyhow::Result<TrainConfig> {
        let allowed = (!self.allowed_labels.is_empty()).then(|| self.allowed_labels.clone());
        let threads =
            self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        Ok(TrainConfig {
            job_name: self.job_name.clone(),
            output_dir: self.output_dir.clone(),
            start: self.start()?,
            epochs: self.epochs,
            batch_size: self.batch_size,
            max_batch_tokens: self.max_batch_tokens,
            gradient_accumulation_steps: self.gradient_accumulation_steps,
            learning_rate: self.lr,
            warmup_ratio: self.warmup_ratio,
            weight_decay: self.weight_decay,
            max_grad_norm: self.max_grad_norm,
            label_smoothing: self.label_smoothing,
            class_weights: match self.class_weights {
                ClassWeightsArg::None => ClassWeights::None,
                ClassWeightsArg::Balanced => ClassWeights::Balanced,
            },
            dropout: self.dropout,
            early_stopping_patience: (self.early_stopping_patience > 0)
                .then_some(self.early_stopping_patience),
            checkpoint_metric: self.checkpoint_metric,
            keep_checkpoints: self.keep_checkpoints,
            seed: self.seed,
            validation_status: match self.validation_status {
                StatusArg::Valid => ValidationStatus::Valid,
                StatusArg::Invalid => ValidationStatus::Invalid,
                StatusArg::NeedsReview => ValidationStatus::NeedsReview,
                StatusArg::Pending => ValidationStatus::Pending,
                StatusArg::None => ValidationStatus::None,
            },
            scheme: LabelScheme::new(self.merges()?, allowed, known).map_err(usage)?,
            box_rule: BoxRule::default(),
            reading_order: match self.reading_order {
                OrderArg::Line => ReadingOrder::Line,
                OrderArg::Yx => ReadingOrder::Yx,
                OrderArg::Given => ReadingOrder::Given,
            },
            window: WindowRule {
                size: self.window_size,
                stride: self.window_stride,
                ..WindowRule::default()
            },
            decoding: match self.decoding {
                DecodingArg::Argmax => Decoding::Argmax,
                DecodingArg::Bio => Decoding::Bio,
            },
            o_entity_ratio: Some(self.o_entity_ratio),
            threads,
        })
    }

    fn start(&self) -> anyhow::Result<Start> {
        if let Some(hidden_size) = self.scratch_hidden {
            let (layers, heads, vocab_size) = (self.scratch_layers, self.scratch_heads, self.scratch_vocab);
            return Ok(Start::Scratch(Scratch { hidden_size, layers, heads, vocab_size }));
        }
        let path = PathBuf::from(&self.pretrained);
        if path.is_dir() {
            return Ok(Start::Pretrained(path));
        }
        Err(usage(anyhow!(
            "--pretrained {}: no such folder; give a folder with config.json, model.safetensors and a tokenizer, or \
             --scratch-hidden to start from random weights",
            self.pretrained
        )))
    }

    /// Preset first, JSON over it key by key, the three flags only where neither is given; --merge-amounts always
    /// sees to AMOUNT.
    fn merges(&self) -> anyhow::Result<Merges> {
        let mut merges = Merges::new();
        if let Some(name) = &self.merge_preset {
            merges = preset(name).map_err(usage)?;
        }
        if let Some(text) = &self.label_merges {
            let given: Merges = serde_json::from_str(text)
                .context("--label-merges: expected a JSON object {\"TARGET\": [\"SOURCE\", …]}")
                .map_err(usage)?;
            merges.extend(given);
        }
        let neither = self.merge_preset.is_none() && self.label_merges.is_none();
        let flags = [(self.merge_date_time, "date_time"), (self.merge_address_phone, "address_phone")];
        for (_, name) in flags.into_iter().filter(|(set, _)| *set && neither) {
            merges.extend(preset(name).map_err(usage)?);
        }
        if self.merge_amounts && !merges.contains_key("AMOUNT") {
            merges.extend(preset("amounts").map_err(usage)?);
        }
        Ok(merges)
    }
}
