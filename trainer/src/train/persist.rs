//! What a run leaves on the disk while it goes on: checkpoints, `best/`, `run.json`, `epochs.json`.

use std::path::{Path, PathBuf};

use layoutlm_core::encoder::{Encoder, EncoderError};

use super::engine::Snapshot;
use super::prepare::Prepared;
use super::{BestChanged, CheckpointSaved, Observer, TrainError};
use crate::run::{EpochMetrics, Hardware, RunError, checkpoints, prune, save, save_best};

/// Prefix of the weights themselves among a checkpoint's state, where `model.safetensors` holds their average.
pub(super) const RAW_WEIGHTS: &str = "weight.";

impl Prepared {
    /// Writes a complete checkpoint, then `best/` where this is the best, then removes old ones.
    pub(super) fn save(&mut self) -> Result<PathBuf, TrainError> {
        let dir = self.config.run_dir();
        let Snapshot { weights, state, card } = self.engine.snapshot()?;
        self.state.card = card;
        let calibrated = self.calibrated(self.state.epoch_metrics.last())?;
        let folder = save(&dir, self.engine.config(), &weights, &calibrated, &state, &self.state)?;
        if self.is_best() {
            save_best(&dir, &folder)?;
        }
        prune(&dir, self.config.keep_checkpoints, self.state.best.as_ref())?;
        Ok(folder)
    }

    /// The encoder with the temperature that an evaluation fitted on the validation receipts.
    fn calibrated(&self, evaluation: Option<&EpochMetrics>) -> Result<Encoder, TrainError> {
        let fitted = evaluation.and_then(|m| m.get("temperature")).unwrap_or(1.0);
        Ok(self.encoder.with_temperature(fitted as f32).map_err(EncoderError::from)?)
    }

    /// Keeps where an interrupted run stands, unless a checkpoint of this step is there already.
    pub(super) fn save_interrupted(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        if !self.leads() {
            return Ok(());
        }
        let step = self.state.global_step;
        let saved = checkpoints(&self.config.run_dir()).into_iter().find(|(s, _)| *s == step);
        let new = match saved {
            Some(_) => None,
            None => Some(self.save()?),
        };
        self.write_records("interrupted")?;
        if let Some(folder) = new {
            self.tell_saved(observer, &folder, false);
        }
        Ok(())
    }

    pub(super) fn tell_saved(&self, observer: &mut dyn Observer, folder: &Path, evaluated: bool) {
        let run_dir = &self.config.run_dir();
        let (step, epoch) = (self.state.global_step, self.state.epoch);
        observer.checkpoint_saved(&CheckpointSaved { run_dir, folder, step, epoch, evaluated });
        if let Some(best) = self.state.best.as_ref().filter(|_| self.is_best()) {
            observer.best_changed(&BestChanged { run_dir, folder: &run_dir.join("best"), best });
        }
    }

    fn is_best(&self) -> bool {
        self.state.best.as_ref().is_some_and(|b| b.step == self.state.global_step)
    }

    /// Puts `best/` right when a crash came between a checkpoint and its copy.
    pub(super) fn repair_best(&self) -> Result<(), RunError> {
        let Some(best) = &self.state.best else { return Ok(()) };
        let dir = self.config.run_dir();
        let current = crate::run::load_state(&dir.join("best")).map(|s| s.global_step).ok();
        if current == Some(best.step) {
            return Ok(());
        }
        match checkpoints(&dir).into_iter().find(|(step, _)| *step == best.step) {
            Some((_, folder)) => save_best(&dir, &folder),
            None => Ok(()),
        }
    }

    pub(super) fn write_records(&mut self, status: &str) -> Result<(), TrainError> {
        if !self.leads() {
            return Ok(());
        }
        let dir = self.config.run_dir();
        let best_step = self.state.best.as_ref().map(|b| b.step);
        let best = self.state.epoch_metrics.iter().find(|m| Some(m.global_step) == best_step);
        self.record.encoding = self.calibrated(best)?.encoding().clone();
        self.record.encoding_fingerprint = self.record.encoding.fingerprint();
        self.record.status = status.into();
        self.record.epoch_metrics = self.state.epoch_metrics.clone();
        self.record.best = self.state.best.clone();
        self.record.seconds = self.state.seconds;
        self.record.hardware = Hardware { world_size: self.world_size(), ..self.engine.hardware() };
        self.record.write(&dir)?;
        if !self.config.eval_heldout_windowed {
            return Ok(());
        }
        self.epochs.generated_at = crate::machine::now();
        Ok(self.epochs.write(&dir)?)
    }
}
