//! What a training run was asked to do, checked: the same value that `run.json` records.

mod check;
mod device;
mod metric;

pub use check::{InvalidConfig, check_windows};
pub use device::{Device, PrecisionChoice};
pub use metric::{CheckpointMetric, PRODUCT_DETAIL};

use std::collections::BTreeMap;
use std::path::PathBuf;

use layoutlm_core::bbox::{BoxRule, BoxScale, Origin};
use layoutlm_core::encoding::{Decoding, Granularity};
use layoutlm_core::label::LabelScheme;
use layoutlm_core::reading_order::ReadingOrder;
use layoutlm_core::receipt::ValidationStatus;
use layoutlm_core::window::WindowRule;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::{DEFAULT_O_ENTITY_RATIO, ExampleRules, Loader, Scope};

/// Where the first weights come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// A Hugging Face folder: LayoutLM, or a BERT whose 2-D tables start fresh.
    Pretrained(PathBuf),
    /// Random weights of these dimensions and a vocabulary made from the training receipts.
    Scratch(Scratch),
}

/// Dimensions of a model trained from nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scratch {
    /// Width; a multiple of `heads`.
    pub hidden_size: usize,
    /// Encoder layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Entries of the vocabulary, at most.
    pub vocab_size: usize,
}

/// How classes are weighted in the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// All alike.
    #[default]
    None,
    /// total / (classes · count), clipped.
    Balanced,
}

/// Everything a run needs to know besides its data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainConfig {
    /// Names the run and its folder.
    pub job_name: String,
    /// Folder that holds runs.
    pub output_dir: PathBuf,
    /// First weights.
    pub start: Start,
    /// Passes over the training windows.
    pub epochs: usize,
    /// Windows per micro-batch.
    pub batch_size: usize,
    /// Tokens per micro-batch, at most.
    pub max_batch_tokens: Option<usize>,
    /// Whether windows of similar length share a batch.
    pub group_by_length: bool,
    /// Whether every window is filled up to its greatest length, as padded trainers do. Costs time, changes nothing
    /// but the dropout masks.
    pub pad_to_max_length: bool,
    /// Tokens of one forward pass, at most; a longer window gets one of its own. Larger micro-batches are computed in
    /// several passes whose gradients add up to the same, so that memory stays bounded and a request to stop is
    /// noticed within seconds.
    pub max_pass_tokens: usize,
    /// Micro-batches per optimiser step.
    pub gradient_accumulation_steps: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Share of all steps that warm up.
    pub warmup_ratio: f64,
    /// AdamW's decoupled decay, not applied to biases and layer norms.
    pub weight_decay: f64,
    /// Global gradient norm above which gradients are scaled down.
    pub max_grad_norm: f64,
    /// Each encoder layer learns at this share of the rate of the one above it; 1 is the same rate for all.
    pub layer_lr_decay: f64,
    /// Whether the embeddings keep their first values.
    pub freeze_embeddings: bool,
    /// Lowest encoder layers that keep their first values.
    pub freeze_layers: usize,
    /// Decay of the moving average of weights that is evaluated and kept; `None` evaluates the weights themselves.
    pub ema_decay: Option<f64>,
    /// ε of label smoothing.
    pub label_smoothing: f64,
    /// Class weights of the loss.
    pub class_weights: ClassWeights,
    /// Least class weight.
    pub class_weight_min: f64,
    /// Greatest class weight.
    pub class_weight_max: f64,
    /// Factor on the weights of the [`PRODUCT_DETAIL`] classes.
    pub product_detail_loss_weight: f64,
    /// Replaces the start's dropout rates.
    pub dropout: Option<f64>,
    /// Weight of R-Drop's divergence between two dropout passes; 0 is one pass.
    pub r_drop: f64,
    /// Evaluations without improvement before stopping; `None` never stops early.
    pub early_stopping_patience: Option<usize>,
    /// Decides the best checkpoint.
    pub checkpoint_metric: CheckpointMetric,
    /// Whether each epoch's evaluation goes to `epochs.json`.
    pub eval_heldout_windowed: bool,
    /// Checkpoints kept besides the best.
    pub keep_checkpoints: usize,
    /// Seed of shuffles, dropout, fresh weights and the split.
    pub seed: u64,
    /// Which labels count.
    pub validation_status: ValidationStatus,
    /// Merges and allow list.
    pub scheme: LabelScheme,
    /// Whose rules make the numbers; decides `box_rule` unless that is set.
    pub loader: Loader,
    /// Scaling of boxes.
    pub box_rule: BoxRule,
    /// Order of words.
    pub reading_order: ReadingOrder,
    /// Cutting of receipts.
    pub window: WindowRule,
    /// What windows are cut from.
    pub granularity: Granularity,
    /// Which part of each receipt is used; the receipts given are already cropped to it.
    pub scope: Scope,
    /// Extra training windows over the item band.
    pub item_windows: Option<WindowRule>,
    /// From probabilities to tags.
    pub decoding: Decoding,
    /// O-only windows are thinned to this many of their words per entity word; `None` keeps all.
    pub o_entity_ratio: Option<f64>,
    /// Folder under which the encoded data set is frozen.
    pub dataset_snapshot_save: Option<PathBuf>,
    /// What computes.
    pub device: Device,
    /// Number format on a card.
    pub precision: PrecisionChoice,
    /// Whether a card keeps only each layer's input and computes the rest again, which saves memory.
    pub gradient_checkpointing: bool,
    /// Whether passes are made as large as a card's memory allows, instead of `max_pass_tokens`.
    pub auto_batch: bool,
    /// Threads of the CPU kernels.
    pub threads: usize,
    /// The options behind all this by flag name, as `--config` takes them back. Empty where there were none.
    pub asked: BTreeMap<String, Value>,
}

impl Default for TrainConfig {
    /// What `train` does when told nothing but a name.
    fn default() -> Self {
        Self {
            job_name: String::new(),
            output_dir: "runs".into(),
            start: Start::Pretrained("microsoft/layoutlm-base-uncased".into()),
            epochs: 10,
            batch_size: 8,
            max_batch_tokens: None,
            group_by_length: true,
            pad_to_max_length: false,
            max_pass_tokens: 4096,
            gradient_accumulation_steps: 1,
            learning_rate: 5e-5,
            warmup_ratio: 0.1,
            weight_decay: 0.01,
            max_grad_norm: 1.0,
            layer_lr_decay: 1.0,
            freeze_embeddings: false,
            freeze_layers: 0,
            ema_decay: None,
            label_smoothing: 0.0,
            class_weights: ClassWeights::None,
            class_weight_min: 0.3,
            class_weight_max: 5.0,
            product_detail_loss_weight: 1.0,
            dropout: None,
            r_drop: 0.0,
            early_stopping_patience: Some(2),
            checkpoint_metric: CheckpointMetric::default(),
            eval_heldout_windowed: true,
            keep_checkpoints: 2,
            seed: 42,
            validation_status: ValidationStatus::Valid,
            scheme: LabelScheme::default(),
            loader: Loader::Toolkit,
            box_rule: BoxRule::default(),
            reading_order: ReadingOrder::default(),
            window: WindowRule::default(),
            granularity: Granularity::Receipt,
            scope: Scope::Full,
            item_windows: None,
            decoding: Decoding::Argmax,
            o_entity_ratio: Some(DEFAULT_O_ENTITY_RATIO),
            dataset_snapshot_save: None,
            device: Device::Auto,
            precision: PrecisionChoice::Auto,
            gradient_checkpointing: false,
            auto_batch: false,
            threads: std::thread::available_parallelism().map_or(1, usize::from).min(check::MOST_THREADS),
            asked: BTreeMap::new(),
        }
    }
}

impl TrainConfig {
    /// # Errors
    /// The first [`InvalidConfig`] found, with the option's name.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        check::check(self)
    }

    /// The run's folder.
    pub fn run_dir(&self) -> PathBuf {
        self.output_dir.join(&self.job_name)
    }

    /// Takes another loader's geometry and order of words.
    #[must_use]
    pub fn with_loader(mut self, loader: Loader) -> Self {
        self.loader = loader;
        if loader == Loader::Upstream {
            self.box_rule = BoxRule { scale: BoxScale::PageSize, origin: Origin::BottomLeft };
            self.reading_order = ReadingOrder::Yx;
        }
        self
    }

    /// How receipts become examples, in windows of at most `max_length` tokens.
    ///
    /// The scope is the whole receipt: receipts were cropped when they were divided.
    pub fn example_rules(&self, max_length: usize) -> ExampleRules {
        let fitted = |rule: WindowRule| WindowRule { max_length: rule.max_length.min(max_length), ..rule };
        ExampleRules {
            box_rule: self.box_rule,
            reading_order: self.reading_order,
            window: fitted(self.window),
            scheme: self.scheme.clone(),
            granularity: self.granularity,
            scope: Scope::Full,
            item_windows: self.item_windows.map(fitted),
        }
    }
}
