//! The newest complete checkpoint of the same settings, or a fresh start; in every process of a run the same.

use std::collections::BTreeMap;
use std::path::Path;

use layoutlm_core::config::ModelConfig;
use layoutlm_core::label::LabelSet;

use super::TrainError;
use super::engine::{Engine, Opener, Parts};
use super::persist::RAW_WEIGHTS;
use super::settings::{difference, other_contents, without_contents};
use super::start::first_weights;
use crate::parallel::{Communicator, ParallelError, broadcast_weights};
use crate::run::{RunError, State, checkpoints, load_moments, load_state};
use crate::weights::{Checkpoint, LoadOptions, LoadReport, Weights};

/// Everything that changes from step to step.
pub(super) struct Standing {
    pub(super) engine: Box<dyn Engine>,
    pub(super) state: State,
    /// Where the weights came from.
    pub(super) report: LoadReport,
}

/// Where a run begins.
#[derive(Clone, Copy)]
pub(super) struct Beginning<'a> {
    pub(super) opener: Opener<'a>,
    pub(super) dimensions: &'a ModelConfig,
    pub(super) labels: &'a LabelSet,
    pub(super) settings: &'a BTreeMap<String, String>,
}

impl Beginning<'_> {
    /// Goes on from the newest checkpoint that can be read, or starts; with others, where rank 0 stands.
    pub(super) fn stand(&self, others: Option<&dyn Communicator>) -> Result<Standing, TrainError> {
        let Some(others) = others else { return self.resume_or_start() };
        self.agree(others)?;
        if others.rank() == 0 {
            let standing = self.resume_or_start()?;
            let snapshot = standing.engine.snapshot()?;
            others.broadcast(serde_json::to_vec(&standing.state).unwrap_or_default())?;
            broadcast_weights(others, snapshot.weights)?;
            broadcast_weights(others, snapshot.state)?;
            return Ok(standing);
        }
        let state: State = serde_json::from_slice(&others.broadcast(Vec::new())?)
            .map_err(|e| ParallelError::Differs { rank: 0, what: format!("sent another state ({e})") })?;
        let weights = broadcast_weights(others, Weights::default())?;
        let tensors = broadcast_weights(others, Weights::default())?;
        let parts = self.parts(self.dimensions.clone(), weights, tensors, &state);
        Ok(Standing { engine: self.opener.open(parts)?, state, report: LoadReport::default() })
    }

    /// Refuses when another process was given other settings or data than rank 0.
    fn agree(&self, others: &dyn Communicator) -> Result<(), TrainError> {
        let own = serde_json::to_vec(self.settings).unwrap_or_default();
        let first: BTreeMap<String, String> =
            serde_json::from_slice(&others.broadcast(own)?).unwrap_or_default();
        let found = difference(self.settings, &first);
        let what = found.as_ref().map(|found| {
            format!("has other settings or data than rank {}: {found} (then: rank 0)", others.rank())
        });
        // All hear of it, so that all stop for the same reason.
        let mut differing = [f64::from(u8::from(found.is_some()))];
        others.sum_f64(&mut differing)?;
        match (what, differing) {
            (Some(what), _) => Err(ParallelError::Differs { rank: 0, what }.into()),
            (None, [count]) if count > 0.0 => {
                let reason = "another process has other settings or data than rank 0, and says which".into();
                Err(ParallelError::Launch(reason).into())
            }
            _ => Ok(()),
        }
    }

    /// A checkpoint that a failing disk has damaged is passed over, with a warning, for the one before it.
    fn resume_or_start(&self) -> Result<Standing, TrainError> {
        let mut damaged = None;
        for (_, folder) in checkpoints(&self.opener.config.run_dir()).into_iter().rev() {
            match self.load(&folder) {
                Ok(standing) => return Ok(standing),
                Err(error @ (TrainError::Run(RunError::OtherRun { .. }) | TrainError::Gpu(_))) => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!("{}: can't be read and is passed over: {error}", folder.display());
                    damaged.get_or_insert(error);
                }
            }
        }
        if let Some(error) = damaged {
            return Err(error);
        }
        let (config, weights, report) = first_weights(self.opener.config, self.dimensions, self.labels)?;
        let parts = Parts { config, weights, average: None, moments: None, card: None };
        let state = State { settings: self.settings.clone(), ..State::default() };
        Ok(Standing { engine: self.opener.open(parts)?, state, report })
    }

    fn load(&self, folder: &Path) -> Result<Standing, TrainError> {
        let state = load_state(folder)?;
        let (now, then) = (without_contents(self.settings), without_contents(&state.settings));
        if let Some(difference) = difference(&now, &then) {
            return Err(RunError::OtherRun { path: folder.into(), difference }.into());
        }
        let tensors = load_moments(folder, &state)?;
        if let Some(which) = other_contents(self.settings, &state.settings) {
            tracing::warn!(
                "{}: the {which} are the same receipts, but their words, labels or order have changed since; the run \
                 goes on with what they are now, and ends elsewhere than it would have",
                folder.display()
            );
        }
        let checkpoint = Checkpoint::load(folder, LoadOptions::default())?;
        let mut with_dropout = checkpoint.config;
        with_dropout.hidden_dropout_prob = self.dimensions.hidden_dropout_prob;
        with_dropout.attention_probs_dropout_prob = self.dimensions.attention_probs_dropout_prob;
        let parts = self.parts(with_dropout, checkpoint.weights, tensors, &state);
        Ok(Standing { engine: self.opener.open(parts)?, state, report: checkpoint.report })
    }

    /// What a checkpoint holds, as an engine starts from it.
    fn parts(&self, config: ModelConfig, weights: Weights, tensors: Weights, state: &State) -> Parts {
        let (moments, raw) = apart(tensors);
        let (weights, average) = match self.opener.config.ema_decay {
            None => (weights, None),
            Some(_) => (raw, Some(weights)),
        };
        Parts { config, weights, average, moments: Some((moments, state.global_step)), card: state.card }
    }
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
