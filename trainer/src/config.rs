//! What a training run was asked to do, checked: the same value that `run.json` records.

use std::path::PathBuf;

use layoutlm_core::bbox::BoxRule;
use layoutlm_core::encoding::Decoding;
use layoutlm_core::label::LabelScheme;
use layoutlm_core::reading_order::ReadingOrder;
use layoutlm_core::receipt::ValidationStatus;
use layoutlm_core::window::WindowRule;
use serde::{Deserialize, Serialize};

/// A value no run can work with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{flag} {value}: {reason}")]
pub struct InvalidConfig {
    /// The option as typed.
    pub flag: &'static str,
    /// Its value.
    pub value: String,
    /// What is expected.
    pub reason: String,
}

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

/// The figure that decides which checkpoint is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointMetric {
    /// Micro entity F1.
    F1,
    /// Mean F1 of PRODUCT_NAME, QUANTITY, UNIT_PRICE and LINE_TOTAL.
    ProductDetailMacroF1,
    /// Validation loss; lower is better.
    Loss,
    /// Token accuracy.
    Accuracy,
}

impl CheckpointMetric {
    /// Its name in `run.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F1 => "f1",
            Self::ProductDetailMacroF1 => "product_detail_macro_f1",
            Self::Loss => "loss",
            Self::Accuracy => "accuracy",
        }
    }

    /// Whether `candidate` is strictly better than `best`.
    pub fn improves(self, candidate: f64, best: f64) -> bool {
        if self == Self::Loss { candidate < best } else { candidate > best }
    }
}

impl std::str::FromStr for CheckpointMetric {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        match name.strip_prefix("eval_").unwrap_or(name) {
            "f1" => Ok(Self::F1),
            "product_detail_macro_f1" => Ok(Self::ProductDetailMacroF1),
            "loss" => Ok(Self::Loss),
            "accuracy" => Ok(Self::Accuracy),
            _ => Err("expected f1, product_detail_macro_f1, loss or accuracy (with or without eval_)".into()),
        }
    }
}

/// How classes are weighted in the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// All alike.
    #[default]
    None,
    /// total / (classes · count), clipped to 0.3..5.
    Balanced,
}

/// Everything a run needs to know besides its data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// ε of label smoothing.
    pub label_smoothing: f64,
    /// Class weights of the loss.
    pub class_weights: ClassWeights,
    /// Replaces the start's dropout rates.
    pub dropout: Option<f64>,
    /// Evaluations without improvement before stopping; `None` never stops early.
    pub early_stopping_patience: Option<usize>,
    /// Decides the best checkpoint.
    pub checkpoint_metric: CheckpointMetric,
    /// Checkpoints kept besides the best.
    pub keep_checkpoints: usize,
    /// Seed of shuffles, dropout, fresh weights and the split.
    pub seed: u64,
    /// Which labels count.
    pub validation_status: ValidationStatus,
    /// Merges and allow list.
    pub scheme: LabelScheme,
    /// Scaling of boxes.
    pub box_rule: BoxRule,
    /// Order of words.
    pub reading_order: ReadingOrder,
    /// Cutting of receipts.
    pub window: WindowRule,
    /// From probabilities to tags.
    pub decoding: Decoding,
    /// O-only windows are thinned to this many of their words per entity word; `None` keeps all.
    pub o_entity_ratio: Option<f64>,
    /// Threads of the CPU kernels.
    pub threads: usize,
}

impl TrainConfig {
    /// # Errors
    /// The first [`InvalidConfig`] found, with the option's name.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let fail =
            |flag, value: String, reason: &str| Err(InvalidConfig { flag, value, reason: reason.into() });
        if !valid_job_name(&self.job_name) {
            let reason = "use letters, digits, '.', '_' and '-', not starting with '.'; it names a folder";
            return fail("--job-name", format!("{:?}", self.job_name), reason);
        }
        for (flag, value) in [
            ("--epochs", self.epochs),
            ("--batch-size", self.batch_size),
            ("--gradient-accumulation-steps", self.gradient_accumulation_steps),
            ("--threads", self.threads),
            ("--keep-checkpoints", self.keep_checkpoints),
        ] {
            if value == 0 {
                return fail(flag, value.to_string(), "must be at least 1");
            }
        }
        let positive = |v: f64| v.is_finite() && v > 0.0;
        for (flag, value, good, reason) in [
            ("--lr", self.learning_rate, positive(self.learning_rate), "must be above 0"),
            (
                "--warmup-ratio",
                self.warmup_ratio,
                (0.0..=1.0).contains(&self.warmup_ratio),
                "must be between 0 and 1",
            ),
            ("--weight-decay", self.weight_decay, self.weight_decay >= 0.0, "must not be negative"),
            ("--max-grad-norm", self.max_grad_norm, self.max_grad_norm > 0.0, "must be above 0"),
            (
                "--label-smoothing",
                self.label_smoothing,
                (0.0..1.0).contains(&self.label_smoothing),
                "must be at least 0 and below 1",
            ),
            (
                "--o-entity-ratio",
                self.o_entity_ratio.unwrap_or(1.0),
                self.o_entity_ratio.is_none_or(positive),
                "must be above 0",
            ),
            (
                "--dropout",
                self.dropout.unwrap_or(0.0),
                self.dropout.is_none_or(|d| (0.0..1.0).contains(&d)),
                "must be at least 0 and below 1",
            ),
        ] {
            if !good {
                return fail(flag, value.to_string(), reason);
            }
        }
        if let Err(e) = self.window.check() {
            return fail("--window-size/--window-stride", String::new(), &e.to_string());
        }
        self.check_start()
    }

    fn check_start(&self) -> Result<(), InvalidConfig> {
        let Start::Scratch(s) = self.start else { return Ok(()) };
        let fail = |flag, value: usize, reason: &str| {
            Err(InvalidConfig { flag, value: value.to_string(), reason: reason.into() })
        };
        if s.layers == 0 || s.heads == 0 {
            return fail("--scratch-layers/--scratch-heads", 0, "must be at least 1");
        }
        if s.hidden_size == 0 || s.hidden_size % s.heads != 0 {
            return fail("--scratch-hidden", s.hidden_size, "must be a multiple of --scratch-heads");
        }
        if s.vocab_size < 300 {
            return fail("--scratch-vocab", s.vocab_size, "must be at least 300");
        }
        Ok(())
    }

    /// The run's folder.
    pub fn run_dir(&self) -> PathBuf {
        self.output_dir.join(&self.job_name)
    }
}

fn valid_job_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= 128 && !name.starts_with('.') && name.chars().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_names_can_not_leave_the_output_folder() {
        for bad in ["", "../x", "a/b", ".hidden", "a b"] {
            assert!(!valid_job_name(bad), "{bad}");
        }
        assert!(valid_job_name("receipts-2025-11-13-0200-validate"));
    }

    #[test]
    fn lower_loss_and_higher_scores_improve_and_ties_do_not() {
        assert!(CheckpointMetric::Loss.improves(0.4, 0.5));
        assert!(CheckpointMetric::F1.improves(0.6, 0.5));
        assert!(!CheckpointMetric::F1.improves(0.5, 0.5));
        assert_eq!("eval_f1".parse(), Ok(CheckpointMetric::F1));
        assert!("f2".parse::<CheckpointMetric>().is_err());
    }
}
