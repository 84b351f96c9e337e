//! `checkpoint-<step>/` and `best/`: everything a run needs to go on as if it had never stopped.
//!
//! A checkpoint is built under a hidden name, synced, and renamed: a folder called `checkpoint-<step>` is complete.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use layoutlm_core::config::ModelConfig;
use layoutlm_core::encoder::Encoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::EpochMetrics;
use super::digest::sha256_of;
use crate::files::{FileError, write_atomic};
use crate::gpu::Counters;
use crate::model_folder::{FolderError, write_encoder};
use crate::weights::{Weights, WeightsError, read_tensor_file, write_tensor_file};

const STATE_FILE: &str = "trainer_state.json";
const WEIGHTS_FILE: &str = "model.safetensors";
const MOMENTS_FILE: &str = "trainer_state.safetensors";
const PREFIX: &str = "checkpoint-";

/// Why a run's folder could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A file is missing or unreadable.
    #[error(transparent)]
    File(#[from] FileError),
    /// Weights or moments are missing or damaged.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The folder is no checkpoint.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file's bytes are not those that were written.
    #[error("{}: its SHA-256 is not the one written beside it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Another process trains in the folder.
    #[error(
        "{}: another process is training there; wait for it, stop it, or use another --job-name",
        path.display()
    )]
    InUse {
        /// The run's folder.
        path: PathBuf,
    },
    /// The checkpoint belongs to another configuration.
    #[error(
        "{}: was trained with other settings ({difference}); use another --job-name, or the same settings",
        path.display()
    )]
    OtherRun {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        difference: String,
    },
}

/// The best checkpoint so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestCheckpoint {
    /// Folder name, `checkpoint-<step>`.
    pub checkpoint: String,
    /// Epochs done.
    pub epoch: f64,
    /// Optimiser steps done.
    pub step: u64,
    /// The deciding figure's name.
    pub metric: String,
    /// Its value.
    pub value: f64,
}

/// What a card knows beside weights and moments.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CardState {
    /// Loss scale and counts of steps.
    pub counters: Counters,
    /// Tokens of one pass, as `--auto-batch` found them.
    pub pass_tokens: Option<usize>,
}

/// Where a run stands. Together with weights and moments it decides every later number.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    /// Optimiser steps done; also the counter of the dropout generator.
    pub global_step: u64,
    /// Epoch in progress, from 0.
    pub epoch: usize,
    /// Steps of that epoch done.
    pub epoch_step: usize,
    /// Best checkpoint so far.
    pub best: Option<BestCheckpoint>,
    /// Evaluations since the best.
    pub evaluations_without_improvement: usize,
    /// Sum of step losses since the last evaluation.
    pub loss_sum: f64,
    /// Steps in that sum.
    pub loss_steps: usize,
    /// Seconds trained since the last evaluation.
    pub train_seconds: f64,
    /// Seconds of all sittings together.
    pub seconds: f64,
    /// Evaluations so far.
    pub epoch_metrics: Vec<EpochMetrics>,
    /// Entries of `epochs.json` so far.
    pub epochs: Vec<Value>,
    /// Settings that decide the numbers, by name; a run only resumes under the same.
    pub settings: BTreeMap<String, String>,
    /// What a card knows beside weights and moments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardState>,
    /// SHA-256 of weights and moments as they were written, hexadecimal, by file name; checkpoints of earlier versions
    /// have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// Complete checkpoints of a run by step, oldest first.
pub fn checkpoints(run_dir: &Path) -> Vec<(u64, PathBuf)> {
    let step = |p: &Path| p.file_name()?.to_str()?.strip_prefix(PREFIX)?.parse::<u64>().ok();
    let entries = fs::read_dir(run_dir).into_iter().flatten().flatten().map(|e| e.path());
    let complete = |p: &Path| [STATE_FILE, WEIGHTS_FILE, MOMENTS_FILE].iter().all(|f| p.join(f).is_file());
    let mut found: Vec<_> =
        entries.filter_map(|p| Some((step(&p)?, p))).filter(|(_, p)| complete(p)).collect();
    found.sort();
    found
}

/// Writes `checkpoint-<step>/` with weights, tokenizer, encoding, moments and state.
///
/// # Errors
/// [`RunError`]; an unfinished folder is removed by the next [`remove_strays`].
pub fn save(
    run_dir: &Path,
    config: &ModelConfig,
    weights: &Weights,
    encoder: &Encoder,
    moments: &Weights,
    state: &State,
) -> Result<PathBuf, RunError> {
    let target = run_dir.join(format!("{PREFIX}{}", state.global_step));
    let work = stray(&target);
    let io = FileError::at;
    if work.exists() {
        fs::remove_dir_all(&work).map_err(io(&work))?;
    }
    fs::create_dir_all(&work).map_err(io(&work))?;
    weights.save(&work, config)?;
    write_encoder(&work, encoder)?;
    let tensors = moments.iter().map(|(n, a)| (n.as_str(), a.shape.as_slice(), a.data.as_slice()));
    write_tensor_file(&work.join(MOMENTS_FILE), tensors, &[])?;
    let mut files = BTreeMap::new();
    for name in [WEIGHTS_FILE, MOMENTS_FILE] {
        files.insert(name.to_string(), sha256_of(&work.join(name))?);
    }
    write_state(&work, &State { files, ..state.clone() })?;
    // An interrupted sitting may have left this step's checkpoint: it stays until the new one is in its place.
    let old = set_aside(&target);
    if target.exists() {
        if old.exists() {
            fs::remove_dir_all(&old).map_err(io(&old))?;
        }
        fs::rename(&target, &old).map_err(io(&target))?;
    }
    fs::rename(&work, &target).map_err(io(&target))?;
    sync(run_dir)?;
    if old.exists() {
        fs::remove_dir_all(&old).map_err(io(&old))?;
    }
    Ok(target)
}

/// Makes `best/` a copy of a checkpoint, moments left out. The old `best/` stays until the new one is complete.
///
/// # Errors
/// [`RunError::File`].
pub fn save_best(run_dir: &Path, checkpoint: &Path) -> Result<(), RunError> {
    let io = FileError::at;
    let (best, work, old) = (run_dir.join("best"), run_dir.join(".best.tmp"), run_dir.join(".best.old"));
    for stray in [&work, &old] {
        if stray.exists() {
            fs::remove_dir_all(stray).map_err(io(stray))?;
        }
    }
    fs::create_dir_all(&work).map_err(io(&work))?;
    for entry in fs::read_dir(checkpoint).map_err(io(checkpoint))?.flatten() {
        let (from, to) = (entry.path(), work.join(entry.file_name()));
        if entry.file_name() != MOMENTS_FILE {
            // A link is enough: checkpoint files are never written in place.
            fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(|_| ())).map_err(io(&from))?;
        }
    }
    sync(&work)?;
    if best.exists() {
        fs::rename(&best, &old).map_err(io(&best))?;
    }
    fs::rename(&work, &best).map_err(io(&best))?;
    sync(run_dir)?;
    if old.exists() {
        fs::remove_dir_all(&old).map_err(io(&old))?;
    }
    Ok(())
}

/// The state of a checkpoint, or of `best/`.
///
/// # Errors
/// [`RunError::File`].
pub fn load_state(checkpoint: &Path) -> Result<State, RunError> {
    let path = checkpoint.join(STATE_FILE);
    let text = fs::read_to_string(&path).map_err(FileError::at(&path))?;
    Ok(serde_json::from_str(&text).map_err(|e| FileError::at(&path)(e.into()))?)
}

/// The moments of a checkpoint, once its files are known to be as they were written.
///
/// # Errors
/// [`RunError::Damaged`], [`RunError::File`], [`RunError::Weights`].
pub fn load_moments(checkpoint: &Path, state: &State) -> Result<Weights, RunError> {
    for (name, written) in &state.files {
        let path = checkpoint.join(name);
        if sha256_of(&path)? != *written {
            return Err(RunError::Damaged { path });
        }
    }
    Ok(read_tensor_file(&checkpoint.join(MOMENTS_FILE))?)
}

/// Removes all but the newest `keep` checkpoints; the best is never removed.
///
/// # Errors
/// [`RunError::File`].
pub fn prune(run_dir: &Path, keep: usize, best: Option<&BestCheckpoint>) -> Result<(), RunError> {
    let all = checkpoints(run_dir);
    let old = all.len().saturating_sub(keep.max(1));
    for (step, path) in all.into_iter().take(old) {
        if best.is_none_or(|b| b.step != step) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Under a hidden name first: what an interruption leaves of it is no checkpoint.
fn remove(checkpoint: &Path) -> Result<(), FileError> {
    let work = stray(checkpoint);
    if work.exists() {
        fs::remove_dir_all(&work).map_err(FileError::at(&work))?;
    }
    fs::rename(checkpoint, &work).map_err(FileError::at(checkpoint))?;
    fs::remove_dir_all(&work).map_err(FileError::at(&work))
}

/// Removes what an interrupted write left behind, and puts a set-aside `best/` or checkpoint back.
///
/// # Errors
/// [`RunError::File`].
pub fn remove_strays(run_dir: &Path) -> Result<(), RunError> {
    let (best, old) = (run_dir.join("best"), run_dir.join(".best.old"));
    if old.exists() && !best.exists() {
        fs::rename(&old, &best).map_err(FileError::at(&old))?;
    }
    for entry in fs::read_dir(run_dir).map_err(FileError::at(run_dir))?.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let target = name.strip_prefix('.').and_then(|n| n.strip_suffix(".old")).map(|n| run_dir.join(n));
        if let Some(target) = target.filter(|t| name.starts_with(".checkpoint-") && !t.exists()) {
            fs::rename(&path, &target).map_err(FileError::at(&path))?;
        }
    }
    for entry in fs::read_dir(run_dir).map_err(FileError::at(run_dir))?.flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        let ours = name.starts_with(".checkpoint-") || name.starts_with(".best.");
        if ours && path.is_dir() {
            fs::remove_dir_all(&path).map_err(FileError::at(&path))?;
        } else if name.starts_with('.') && name.ends_with(".tmp") && path.is_file() {
            fs::remove_file(&path).map_err(FileError::at(&path))?;
        }
    }
    Ok(())
}

fn stray(target: &Path) -> PathBuf {
    hidden(target, "tmp")
}

fn set_aside(target: &Path) -> PathBuf {
    hidden(target, "old")
}

fn hidden(target: &Path, ending: &str) -> PathBuf {
    let name = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    target.with_file_name(format!(".{name}.{ending}"))
}

fn write_state(folder: &Path, state: &State) -> Result<(), FileError> {
    write_atomic(&folder.join(STATE_FILE), |f| {
        serde_json::to_writer_pretty(&mut *f, state)?;
        f.write_all(b"\n")
    })
}

fn sync(folder: &Path) -> Result<(), FileError> {
    let at = || FileError::at(folder);
    fs::File::open(folder).map_err(at())?.sync_all().map_err(at())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(run: &Path, name: &str, complete: bool) {
        fs::create_dir_all(run.join(name)).unwrap();
        for file in [STATE_FILE, WEIGHTS_FILE, MOMENTS_FILE].iter().take(if complete { 3 } else { 2 }) {
            fs::write(run.join(name).join(file), "{}").unwrap();
        }
    }

    #[test]
    fn half_written_checkpoints_are_never_listed_and_are_cleared_away() {
        let run = tempfile::tempdir().unwrap();
        fake(run.path(), "checkpoint-20", true);
        fake(run.path(), "checkpoint-100", true);
        fake(run.path(), ".checkpoint-120.tmp", true);
        fake(run.path(), "checkpoint-130", false);
        let steps: Vec<u64> = checkpoints(run.path()).into_iter().map(|(s, _)| s).collect();
        assert_eq!(steps, [20, 100]);
        fake(run.path(), ".checkpoint-20.old", true);
        fake(run.path(), ".checkpoint-140.old", true);
        remove_strays(run.path()).unwrap();
        assert!(!run.path().join(".checkpoint-120.tmp").exists());
        assert!(!run.path().join(".checkpoint-20.old").exists());
        assert!(run.path().join("checkpoint-140").exists(), "a set-aside checkpoint did not come back");
    }

    #[test]
    fn pruning_keeps_the_newest_and_the_best() {
        let run = tempfile::tempdir().unwrap();
        for step in [1, 2, 3, 4] {
            fake(run.path(), &format!("checkpoint-{step}"), true);
        }
        let best = BestCheckpoint {
            checkpoint: "checkpoint-1".into(),
            epoch: 1.0,
            step: 1,
            metric: "f1".into(),
            value: 1.0,
        };
        prune(run.path(), 2, Some(&best)).unwrap();
        let steps: Vec<u64> = checkpoints(run.path()).into_iter().map(|(s, _)| s).collect();
        assert_eq!(steps, [1, 3, 4]);
    }

    #[test]
    fn best_is_replaced_whole_and_a_set_aside_one_comes_back() {
        let run = tempfile::tempdir().unwrap();
        for step in [1, 2] {
            fake(run.path(), &format!("checkpoint-{step}"), true);
            fs::write(run.path().join(format!("checkpoint-{step}/w")), step.to_string()).unwrap();
            save_best(run.path(), &run.path().join(format!("checkpoint-{step}"))).unwrap();
        }
        assert_eq!(fs::read_to_string(run.path().join("best/w")).unwrap(), "2");
        fs::rename(run.path().join("best"), run.path().join(".best.old")).unwrap();
        remove_strays(run.path()).unwrap();
        assert_eq!(fs::read_to_string(run.path().join("best/w")).unwrap(), "2");
    }
}
