//! Refusing what no run can work with, in the words of the command line.

use layoutlm_core::encoding::Granularity;
use layoutlm_core::window::WindowRule;

use super::{Device, PrecisionChoice, Scratch, Start, TrainConfig};
use crate::data::Scope;
use crate::gpu::Precision;

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

type Checked = Result<(), InvalidConfig>;

/// Threads that a process may be given.
pub(super) const MOST_THREADS: usize = 1024;
/// Each epoch is planned before the first step, so that their number costs memory.
const MOST_EPOCHS: usize = 100_000;
/// Of whatever else is counted in windows, words, steps or checkpoints: more is a slip of the keyboard, and would
/// overflow where counts are multiplied.
const MOST: usize = 1_000_000;
const MOST_TOKENS: usize = 1_000_000_000;
/// Width of a model from random weights.
const MOST_HIDDEN: usize = 65_536;
/// Its depth.
const MOST_LAYERS: usize = 1000;

fn fail(flag: &'static str, value: impl ToString, reason: &str) -> Checked {
    Err(InvalidConfig { flag, value: value.to_string(), reason: reason.into() })
}

pub(super) fn check(config: &TrainConfig) -> Checked {
    if !valid_job_name(&config.job_name) {
        let reason = "use letters, digits, '.', '_' and '-', not starting with '.'; it names a folder";
        return fail("--job-name", format!("{:?}", config.job_name), reason);
    }
    counts(config)?;
    numbers(config)?;
    windows(config)?;
    device(config)?;
    start(config)
}

fn device(config: &TrainConfig) -> Checked {
    let reason = "the processor computes in fp32; give --device cuda, or leave it out";
    match config.precision {
        PrecisionChoice::Given(precision) if config.device == Device::Cpu && precision != Precision::Fp32 => {
            fail("--precision", precision.name(), reason)
        }
        _ => Ok(()),
    }
}

fn counts(config: &TrainConfig) -> Checked {
    for (flag, value, most) in [
        ("--epochs", config.epochs, MOST_EPOCHS),
        ("--batch-size", config.batch_size, MOST),
        ("--max-batch-tokens", config.max_batch_tokens.unwrap_or(1), MOST_TOKENS),
        ("--gradient-accumulation-steps", config.gradient_accumulation_steps, MOST),
        ("--threads", config.threads, MOST_THREADS),
        ("--keep-checkpoints", config.keep_checkpoints, MOST),
    ] {
        count(flag, value, most)?;
    }
    Ok(())
}

/// 1 to `most`.
fn count(flag: &'static str, value: usize, most: usize) -> Checked {
    match value {
        0 => fail(flag, value, "must be at least 1"),
        _ if value > most => fail(flag, value, &format!("must be at most {most}")),
        _ => Ok(()),
    }
}

fn numbers(config: &TrainConfig) -> Checked {
    let above_zero = |v: f64| v.is_finite() && v > 0.0;
    let share = |v: f64| (0.0..1.0).contains(&v);
    let ratio = config.o_entity_ratio.unwrap_or(1.0);
    let (dropout, ema) = (config.dropout.unwrap_or(0.0), config.ema_decay.unwrap_or(0.5));
    let (low, high) = (config.class_weight_min, config.class_weight_max);
    let (decay, norm) = (config.layer_lr_decay, config.max_grad_norm);
    let not_negative = |v: f64| v.is_finite() && v >= 0.0;
    for (flag, value, good, reason) in [
        ("--lr", config.learning_rate, above_zero(config.learning_rate), "must be above 0"),
        (
            "--warmup-ratio",
            config.warmup_ratio,
            (0.0..=1.0).contains(&config.warmup_ratio),
            "must be between 0 and 1",
        ),
        ("--weight-decay", config.weight_decay, not_negative(config.weight_decay), "must not be negative"),
        ("--max-grad-norm", norm, above_zero(norm), "must be above 0 and finite"),
        ("--layer-lr-decay", decay, decay > 0.0 && decay <= 1.0, "must be above 0 and at most 1"),
        ("--ema-decay", ema, ema > 0.0 && ema < 1.0, "must be above 0 and below 1"),
        (
            "--label-smoothing",
            config.label_smoothing,
            share(config.label_smoothing),
            "must be at least 0 and below 1",
        ),
        ("--o-entity-ratio", ratio, above_zero(ratio), "must be above 0"),
        ("--class-weight-min", low, above_zero(low), "must be above 0"),
        ("--class-weight-max", high, high.is_finite() && high >= low, "must be at least --class-weight-min"),
        (
            "--product-detail-loss-weight",
            config.product_detail_loss_weight,
            above_zero(config.product_detail_loss_weight),
            "must be above 0",
        ),
        ("--dropout", dropout, share(dropout), "must be at least 0 and below 1"),
        ("--r-drop", config.r_drop, not_negative(config.r_drop), "must not be negative"),
    ] {
        if !good {
            return fail(flag, value, reason);
        }
    }
    Ok(())
}

fn windows(config: &TrainConfig) -> Checked {
    check_windows("--window-size/--window-stride", &config.window)?;
    let Some(items) = config.item_windows else { return Ok(()) };
    check_windows("--item-window-size/--item-window-stride", &items)?;
    if config.scope == Scope::LineItems {
        let reason = "every window is one of the items already; use one of both options";
        return fail("--item-window-augment", "with --scope line_items", reason);
    }
    if config.granularity == Granularity::Line {
        let reason = "examples are single lines; use one of both options";
        return fail("--item-window-augment", "with --granularity line", reason);
    }
    Ok(())
}

/// Checks the size and stride, in words, that two options give.
///
/// # Errors
/// [`InvalidConfig`] with these options for a rule that would lose words, or of windows larger than any receipt.
pub fn check_windows(flags: &'static str, rule: &WindowRule) -> Result<(), InvalidConfig> {
    let value = format!("{}/{}", rule.size, rule.stride);
    match rule.check() {
        Err(e) => fail(flags, value, &e.to_string()),
        Ok(()) if rule.size > MOST => fail(flags, value, &format!("must be at most {MOST}")),
        Ok(()) => Ok(()),
    }
}

fn start(config: &TrainConfig) -> Checked {
    match config.start {
        Start::Scratch(scratch) => scratch.check(),
        Start::Pretrained(_) => Ok(()),
    }
}

impl Scratch {
    /// # Errors
    /// The first [`InvalidConfig`] found, with the option's name.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        count("--scratch-layers", self.layers, MOST_LAYERS)?;
        count("--scratch-heads", self.heads, MOST_HIDDEN)?;
        count("--scratch-hidden", self.hidden_size, MOST_HIDDEN)?;
        if !self.hidden_size.is_multiple_of(self.heads) {
            return fail("--scratch-hidden", self.hidden_size, "must be a multiple of --scratch-heads");
        }
        if self.vocab_size < 300 {
            return fail("--scratch-vocab", self.vocab_size, "must be at least 300");
        }
        count("--scratch-vocab", self.vocab_size, MOST)
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
    fn counts_and_norms_that_no_run_could_bear_are_refused() {
        let base = || TrainConfig { job_name: "a".into(), ..TrainConfig::default() };
        let flag = |config: TrainConfig| config.check().map_err(|e| e.flag);
        assert_eq!(flag(TrainConfig { epochs: MOST_EPOCHS, ..base() }), Ok(()));
        assert_eq!(flag(TrainConfig { epochs: usize::MAX, ..base() }), Err("--epochs"));
        assert_eq!(flag(TrainConfig { threads: usize::MAX, ..base() }), Err("--threads"));
        let steps = TrainConfig { gradient_accumulation_steps: usize::MAX, ..base() };
        assert_eq!(flag(steps), Err("--gradient-accumulation-steps"));
        let window = WindowRule { size: usize::MAX, ..WindowRule::default() };
        assert_eq!(flag(TrainConfig { window, ..base() }), Err("--window-size/--window-stride"));
        let scratch = Scratch { hidden_size: usize::MAX - 3, layers: 1, heads: 4, vocab_size: 300 };
        assert_eq!(flag(TrainConfig { start: Start::Scratch(scratch), ..base() }), Err("--scratch-hidden"));
        let norm = TrainConfig { max_grad_norm: f64::INFINITY, ..base() };
        assert_eq!(norm.check().unwrap_err().to_string(), "--max-grad-norm inf: must be above 0 and finite");
    }

    #[test]
    fn the_defaults_need_nothing_but_a_name() {
        assert!(TrainConfig::default().check().is_err());
        assert_eq!(TrainConfig { job_name: "a".into(), ..TrainConfig::default() }.check(), Ok(()));
    }
}
