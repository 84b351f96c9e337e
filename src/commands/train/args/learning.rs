//! How the weights are changed, and which are kept.

use layoutlm_trainer::config::{CheckpointMetric, ClassWeights, TrainConfig};

/// Flags about learning.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Learning")]
pub struct LearningArgs {
    /// Passes over the training windows, those of earlier sittings counted.
    #[arg(long, env = "LAYOUTLM_EPOCHS", default_value_t = 10)]
    pub epochs: usize,
    /// Windows per batch.
    #[arg(long, env = "LAYOUTLM_BATCH_SIZE", default_value_t = 8)]
    pub batch_size: usize,
    /// Tokens per batch, at most; a longer window gets a batch of its own.
    #[arg(long, env = "LAYOUTLM_MAX_BATCH_TOKENS", value_name = "TOKENS")]
    pub max_batch_tokens: Option<usize>,
    /// Put windows of similar length into one batch.
    #[arg(
        long, env = "LAYOUTLM_GROUP_BY_LENGTH", default_value_t = true, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_name = "BOOL", hide_possible_values = true,
        action = clap::ArgAction::Set, value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub group_by_length: bool,
    /// Fill every window up to its greatest length, as padded trainers do; only costs time.
    #[arg(long, env = "LAYOUTLM_PAD_TO_MAX_LENGTH")]
    pub pad_to_max_length: bool,
    /// Batches per optimiser step.
    #[arg(long, env = "LAYOUTLM_GRADIENT_ACCUMULATION_STEPS", default_value_t = 1, value_name = "STEPS")]
    pub gradient_accumulation_steps: usize,
    /// Peak learning rate.
    #[arg(long, env = "LAYOUTLM_LR", default_value_t = 5e-5)]
    pub lr: f64,
    /// Share of all steps that warm up.
    #[arg(long, env = "LAYOUTLM_WARMUP_RATIO", default_value_t = 0.1)]
    pub warmup_ratio: f64,
    /// AdamW's decay of weights.
    #[arg(long, env = "LAYOUTLM_WEIGHT_DECAY", default_value_t = 0.01)]
    pub weight_decay: f64,
    /// Gradients are scaled down to this global norm.
    #[arg(long, env = "LAYOUTLM_MAX_GRAD_NORM", default_value_t = 1.0)]
    pub max_grad_norm: f64,
    /// Each encoder layer learns at this share of the rate of the one above it, the embeddings at one step less.
    #[arg(long, env = "LAYOUTLM_LAYER_LR_DECAY", default_value_t = 1.0)]
    pub layer_lr_decay: f64,
    /// Evaluate and keep a moving average of the weights with this decay, e.g. 0.999.
    #[arg(long, env = "LAYOUTLM_EMA_DECAY")]
    pub ema_decay: Option<f64>,
    /// Share of each label spread over all classes.
    #[arg(long, env = "LAYOUTLM_LABEL_SMOOTHING", default_value_t = 0.0)]
    pub label_smoothing: f64,
    /// Weighting of classes in the loss: none, or balanced by their counts.
    #[arg(long, env = "LAYOUTLM_CLASS_WEIGHTS", default_value = "none")]
    pub class_weights: ClassWeightsArg,
    /// Least weight of a class.
    #[arg(long, env = "LAYOUTLM_CLASS_WEIGHT_MIN", default_value_t = 0.3)]
    pub class_weight_min: f64,
    /// Greatest weight of a class.
    #[arg(long, env = "LAYOUTLM_CLASS_WEIGHT_MAX", default_value_t = 5.0)]
    pub class_weight_max: f64,
    /// Factor on the weights of PRODUCT_NAME, QUANTITY, UNIT_PRICE and LINE_TOTAL.
    #[arg(long, env = "LAYOUTLM_PRODUCT_DETAIL_LOSS_WEIGHT", default_value_t = 1.0, value_name = "FACTOR")]
    pub product_detail_loss_weight: f64,
    /// Weight of R-Drop: two dropout passes per batch are held to agree. 0 is one pass.
    #[arg(long, env = "LAYOUTLM_R_DROP", default_value_t = 0.0)]
    pub r_drop: f64,
    /// Evaluations without improvement before stopping; 0 never stops early.
    #[arg(long, env = "LAYOUTLM_EARLY_STOPPING_PATIENCE", default_value_t = 2, value_name = "EVALUATIONS")]
    pub early_stopping_patience: usize,
    /// Decides the best checkpoint: f1, precision, recall, accuracy, loss, macro_f1, weighted_f1,
    /// product_detail_macro_f1, o_token_accuracy, or of one label, e.g. label_DATE_f1, _precision or _recall.
    #[arg(long, env = "LAYOUTLM_CHECKPOINT_METRIC", default_value = "f1", value_name = "METRIC")]
    pub checkpoint_metric: CheckpointMetric,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum ClassWeightsArg {
    None,
    Balanced,
}

impl LearningArgs {
    /// Sets everything these flags decide.
    pub fn apply(&self, config: TrainConfig) -> TrainConfig {
        TrainConfig {
            epochs: self.epochs,
            batch_size: self.batch_size,
            max_batch_tokens: self.max_batch_tokens,
            group_by_length: self.group_by_length,
            pad_to_max_length: self.pad_to_max_length,
            gradient_accumulation_steps: self.gradient_accumulation_steps,
            learning_rate: self.lr,
            warmup_ratio: self.warmup_ratio,
            weight_decay: self.weight_decay,
            max_grad_norm: self.max_grad_norm,
            layer_lr_decay: self.layer_lr_decay,
            ema_decay: self.ema_decay,
            label_smoothing: self.label_smoothing,
            class_weights: match self.class_weights {
                ClassWeightsArg::None => ClassWeights::None,
                ClassWeightsArg::Balanced => ClassWeights::Balanced,
            },
            class_weight_min: self.class_weight_min,
            class_weight_max: self.class_weight_max,
            product_detail_loss_weight: self.product_detail_loss_weight,
            r_drop: self.r_drop,
            early_stopping_patience: (self.early_stopping_patience > 0)
                .then_some(self.early_stopping_patience),
            checkpoint_metric: self.checkpoint_metric.clone(),
            ..config
        }
    }
}
