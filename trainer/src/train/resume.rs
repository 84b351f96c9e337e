//! The newest complete checkpoint of the same settings, or a fresh start.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use layoutlm_core::config::ModelConfig;
use layoutlm_core::label::LabelSet;

use super::TrainError;
use super::persist::RAW_WEIGHTS;
use super::settings::difference;
use super::start::{first_model, scale_learning_rates};
use crate::config::TrainConfig;
use crate::model::LayoutLm;
use crate::optim::{AdamW, AdamWConfig, WeightAverage};
use crate::run::{RunError, State, checkpoints, load_state};
use crate::weights::{Checkpoint, LoadOptions, LoadReport, Weights};

/// Everything that changes from step to step.
pub(super) struct Standing {
    pub(super) model: LayoutLm,
    pub(super) average: Option<WeightAverage>,
    pub(super) optimizer: AdamW,
    pub(super) state: State,
    /// Where the weights came from.
    pub(super) report: LoadReport,
}

/// Goes on from the newest checkpoint that can be read, or starts.
///
/// A checkpoint that a failing disk has damaged is passed over, with a warning, for the one before it.
pub(super) fn resume_or_start(
    config: &TrainConfig,
    dimensions: &ModelConfig,
    labels: &LabelSet,
    settings: BTreeMap<String, String>,
) -> Result<Standing, TrainError> {
    let mut damaged = None;
    for (_, folder) in checkpoints(&config.run_dir()).into_iter().rev() {
        match load(config, dimensions, &settings, &folder) {
            Ok(standing) => return Ok(standing),
            Err(error @ TrainError::Run(RunError::OtherRun { .. })) => return Err(error),
            Err(error) => {
                tracing::warn!("{}: can't be read and is passed over: {error}", folder.display());
                damaged.get_or_insert(error);
            }
        }
    }
    if let Some(error) = damaged {
        return Err(error);
    }
    let (mut model, report) = first_model(config, dimensions, labels)?;
    scale_learning_rates(&mut model, config);
    let average = config.ema_decay.map(|decay| WeightAverage::new(&model, decay)).transpose()?;
    let state = State { settings, ..State::default() };
    Ok(Standing { model, average, optimizer: optimizer(config), state, report })
}

fn optimizer(config: &TrainConfig) -> AdamW {
    AdamW::new(AdamWConfig {
        weight_decay: config.weight_decay,
        max_grad_norm: Some(config.max_grad_norm),
        ..AdamWConfig::default()
    })
}

fn load(
    config: &TrainConfig,
    dimensions: &ModelConfig,
    settings: &BTreeMap<String, String>,
    folder: &Path,
) -> Result<Standing, TrainError> {
    let (state, tensors) = load_state(folder)?;
    if let Some(difference) = difference(settings, &state.settings) {
        return Err(RunError::OtherRun { path: folder.into(), difference }.into());
    }
    let (moments, raw) = apart(tensors.unwrap_or_default());
    let checkpoint = Checkpoint::load(folder, LoadOptions::default())?;
    let mut with_dropout = checkpoint.config;
    with_dropout.hidden_dropout_prob = dimensions.hidden_dropout_prob;
    with_dropout.attention_probs_dropout_prob = dimensions.attention_probs_dropout_prob;
    let kept = LayoutLm::new(with_dropout.clone(), checkpoint.weights, &Device::Cpu)?;
    let (mut model, average) = match config.ema_decay {
        None => (kept, None),
        Some(decay) => {
            let average = WeightAverage::new(&kept, decay)?;
            (LayoutLm::new(with_dropout, raw, &Device::Cpu)?, Some(average))
        }
    };
    scale_learning_rates(&mut model, config);
    let mut optimizer = optimizer(config);
    optimizer.load_state(&model, moments, state.global_step)?;
    Ok(Standing { model, average, optimizer, state, report: checkpoint.report })
}

/// Moments, and the weights that `model.safetensors` holds only the average of.
fn apart(tensors: Weights) -> (Weights, Weights) {
    let (mut moments, mut raw) = (Weights::default(), Weights::default());
    for (name, array) in tensors {
        match name.strip_prefix(RAW_WEIGHTS) {
            Some(plain) => raw.insert(plain, array),
            None => moments.insert(name, array),
        };
    }
    (moments, raw)
}
