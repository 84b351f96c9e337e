//! Refusing what no run can work with, in the words of the command line.

use layoutlm_core::encoding::Granularity;

use super::{Device, PrecisionChoice, Start, TrainConfig};
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
    for (flag, value) in [
        ("--epochs", config.epochs),
        ("--batch-size", config.batch_size),
        ("--max-batch-tokens", config.max_batch_tokens.unwrap_or(1)),
        ("--gradient-accumulation-steps", config.gradient_accumulation_steps),
        ("--threads", config.threads),
        ("--keep-checkpoints", config.keep_checkpoints),
    ] {
        if value == 0 {
            return fail(flag, value, "must be at least 1");
        }
    }
    Ok(())
}

fn numbers(config: &TrainConfig) -> Checked {
    let above_zero = |v: f64| v.is_finite() && v > 0.0;
    let share = |v: f64| (0.0..1.0).contains(&v);
    let ratio = config.o_entity_ratio.unwrap_or(1.0);
    let (dropout, ema) = (config.dropout.unwrap_or(0.0), config.ema_decay.unwrap_or(0.5));
    let (low, high) = (config.class_weight_min, config.class_weight_max);
    let decay = config.layer_lr_decay;
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
        ("--max-grad-norm", config.max_grad_norm, config.max_grad_norm > 0.0, "must be above 0"),
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
    if let Err(e) = config.window.check() {
        return fail("--window-size/--window-stride", "", &e.to_string());
    }
    let Some(items) = config.item_windows else { return Ok(()) };
    if let Err(e) = items.check() {
        return fail("--item-window-size/--item-window-stride", "", &e.to_string());
    }
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

fn start(config: &TrainConfig) -> Checked {
    let Start::Scratch(s) = config.start else { return Ok(()) };
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
    fn the_defaults_need_nothing_but_a_name() {
        assert!(TrainConfig::default().check().is_err());
        assert_eq!(TrainConfig { job_name: "a".into(), ..TrainConfig::default() }.check(), Ok(()));
    }
}
