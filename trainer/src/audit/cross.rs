//! Cross-validation: every receipt is labelled by a model that was trained on others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use layoutlm_core::encoder::Encoder;
use layoutlm_core::evaluate::{EvaluateError, GoldReceipt, score_receipts, summarize};
use layoutlm_core::receipt::{Receipt, ValidationStatus, Word};
use serde::{Deserialize, Serialize};

use super::doubt::{Seen, doubts, see};
use super::{AuditReport, Doubt};
use crate::config::TrainConfig;
use crate::data::PythonRandom;
use crate::model::{CandleClassifier, ModelError};
use crate::model_folder::{FolderError, read_encoder, resolve};
use crate::train::{Observer, TrainData, TrainError, train};

/// How an audit is done.
#[derive(Debug, Clone)]
pub struct AuditConfig {
    /// Models trained; each labels the receipts of one fold.
    pub folds: usize,
    /// How each is trained. Its folder holds `fold-<n>/` runs, so that an audit that was stopped goes on.
    pub train: TrainConfig,
    /// Doubts below this score are left out; labels that wait for review never are.
    pub min_score: f64,
}

/// One fold's model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldResult {
    /// Its run's folder.
    pub run_dir: PathBuf,
    /// Receipts it labelled.
    pub receipts: usize,
    /// Micro F1 against the labels as given.
    pub f1: f64,
}

/// Why an audit was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Too few receipts or folds.
    #[error("{receipts} receipts in {folds} folds: an audit needs at least 2 folds and a receipt for each")]
    Folds {
        /// Receipts given.
        receipts: usize,
        /// Folds asked for.
        folds: usize,
    },
    /// A fold's training.
    #[error("fold {fold}: {source}")]
    Train {
        /// From 1.
        fold: usize,
        /// What went wrong.
        source: TrainError,
    },
    /// A fold's model could not be read back.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A fold's model could not be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Labelling a fold.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// Stopped; the folds done are kept.
    #[error("stopped in fold {0}; the same command goes on from there")]
    Interrupted(usize),
}

/// Trains a model per fold and lists what they contradict, the most doubtful first.
///
/// # Errors
/// [`AuditError`]; [`AuditError::Interrupted`] when `stop` was set.
pub fn audit(
    config: &AuditConfig,
    receipts: &[Receipt],
    observer: &mut (dyn Observer + Send),
    stop: &AtomicBool,
) -> Result<AuditReport, AuditError> {
    if config.folds < 2 || receipts.len() < config.folds {
        return Err(AuditError::Folds { receipts: receipts.len(), folds: config.folds });
    }
    let assigned = folds(receipts, config.folds, config.train.seed);
    let (mut results, mut seen) = (Vec::new(), Vec::new());
    for fold in 0..config.folds {
        let held_out = |wanted: bool| -> Vec<Receipt> {
            let all = receipts.iter().zip(&assigned);
            all.filter(|(_, f)| (**f == fold) == wanted).map(|(r, _)| r.clone()).collect()
        };
        let judged = held_out(false).into_iter().map(without_open_words).collect();
        let (run_dir, interrupted) = train_fold(config, fold, judged, held_out(true), observer, stop)?;
        if interrupted || stop.load(Ordering::Relaxed) {
            return Err(AuditError::Interrupted(fold + 1));
        }
        let threads = rayon::ThreadPoolBuilder::new().num_threads(config.train.threads).build();
        let label = || label_fold(run_dir, &held_out(true), config);
        let (result, mut words) = match threads {
            Ok(pool) => pool.install(label)?,
            Err(_) => label()?,
        };
        results.push(result);
        seen.append(&mut words);
    }
    let keep = |d: &Doubt| d.score >= config.min_score || d.waits();
    let by_key: BTreeMap<String, &Receipt> = receipts.iter().map(|r| (r.key(), r)).collect();
    let seen: Vec<(&Receipt, Vec<Seen>)> =
        seen.into_iter().filter_map(|(key, words)| Some((*by_key.get(&key)?, words))).collect();
    let doubts = doubts(&seen).into_iter().filter(keep).collect();
    let words = || receipts.iter().flat_map(|r| &r.words);
    let labelled =
        words().filter(|w| w.label.as_deref().is_some_and(|l| config.train.scheme.entity(l).is_some()));
    Ok(AuditReport { receipts: receipts.len(), labelled_words: labelled.count(), folds: results, doubts })
}

/// A receipt without the words whose label nobody has confirmed yet: to train on them as `O` would teach the very
/// mistakes that an audit is to find.
fn without_open_words(mut receipt: Receipt) -> Receipt {
    let open = |w: &Word| {
        w.label.as_deref().is_some_and(|l| l != "O") && w.validation_status != ValidationStatus::Valid
    };
    receipt.words.retain(|w| !open(w));
    receipt
}

/// A receipt's key and what its fold's model says of its words.
type Answered = (String, Vec<Seen>);

/// The fold of each receipt: shuffled by the seed, then dealt out.
fn folds(receipts: &[Receipt], folds: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..receipts.len()).collect();
    PythonRandom::new(seed).shuffle(&mut order);
    let mut assigned = vec![0; receipts.len()];
    for (place, index) in order.into_iter().enumerate() {
        assigned.get_mut(index).into_iter().for_each(|f| *f = place % folds);
    }
    assigned
}

fn train_fold(
    config: &AuditConfig,
    fold: usize,
    train_receipts: Vec<Receipt>,
    validation: Vec<Receipt>,
    observer: &mut (dyn Observer + Send),
    stop: &AtomicBool,
) -> Result<(PathBuf, bool), AuditError> {
    let name = format!("fold {} of {} of an audit", fold + 1, config.folds);
    let run = TrainConfig { job_name: format!("fold-{}", fold + 1), ..config.train.clone() };
    let data = TrainData::given(train_receipts, validation, name);
    let outcome =
        train(run, data, observer, stop).map_err(|source| AuditError::Train { fold: fold + 1, source })?;
    Ok((outcome.run_dir, outcome.interrupted))
}

fn label_fold(
    run_dir: PathBuf,
    receipts: &[Receipt],
    config: &AuditConfig,
) -> Result<(FoldResult, Vec<Answered>), AuditError> {
    let folder = resolve(&run_dir)?;
    let encoder: Encoder = read_encoder(&folder)?;
    let classifier = CandleClassifier::open(&folder)?;
    let gold: Vec<GoldReceipt> = receipts
        .iter()
        .map(|r| GoldReceipt::new(&encoder, r, config.train.validation_status))
        .collect::<Result<_, _>>()
        .map_err(EvaluateError::from)?;
    let scored = score_receipts(&encoder, &classifier, &gold, &|_| {}).map_err(EvaluateError::from)?;
    let f1 = summarize(&encoder, &scored)?.f1;
    let (labels, scheme) = (&encoder.encoding().labels, &config.train.scheme);
    let seen = receipts
        .iter()
        .zip(gold.iter().zip(&scored))
        .map(|(receipt, (gold, scored))| (receipt.key(), see(receipt, gold, scored, labels, scheme)))
        .collect();
    Ok((FoldResult { run_dir, receipts: receipts.len(), f1 }, seen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::synthesize;

    #[test]
    fn words_that_wait_for_review_are_not_trained_on() {
        let word = |i: usize, rest: &str| {
            format!(r#"{{"line_id":0,"word_id":{i},"text":"x","box":[0,0,1,1]{rest}}}"#)
        };
        let words = [
            word(0, ""),
            word(1, r#","label":"O","validation_status":"PENDING""#),
            word(2, r#","label":"DATE""#),
            word(3, r#","label":"DATE","validation_status":"NEEDS_REVIEW""#),
            word(4, r#","label":"DATE","validation_status":"INVALID""#),
        ];
        let receipt =
            Receipt::from_json(&format!(r#"{{"image_id":"r","words":[{}]}}"#, words.join(","))).unwrap();
        let kept: Vec<u32> = without_open_words(receipt).words.iter().map(|w| w.word_id).collect();
        assert_eq!(kept, [0, 1, 2]);
    }

    #[test]
    fn every_receipt_is_in_one_fold_and_folds_are_of_one_size() {
        let receipts = synthesize(1, 10, 3);
        let assigned = folds(&receipts, 3, 42);
        let mut sizes: Vec<usize> = (0..3).map(|f| assigned.iter().filter(|a| **a == f).count()).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [3, 3, 4]);
        assert_eq!(assigned, folds(&receipts, 3, 42));
        assert_ne!(assigned, folds(&receipts, 3, 43));
    }
}
