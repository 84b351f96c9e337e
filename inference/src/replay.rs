//! Replays the bundle's probe: does this graph answer on this machine as it did when it was proved?
//!
//! The probe's bytes and the comparison are the core crate's; here is only the way from a file through an engine.

use std::path::Path;

use layoutlm_core::bundle::Limits;
use layoutlm_core::classifier::{ClassifierError, TokenClassifier};
use layoutlm_core::probe::{self, ProbeError, ProbeWindow, Replayed};
use layoutlm_core::window::Window;

/// Why a graph is not to be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file can't be read.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The probe's file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no probe, or the graph does not fit it.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The graph could not be run.
    #[error("replaying the probe: {0}")]
    Run(ClassifierError),
    /// The graph ran, and answers differently than when it was proved.
    #[error(
        "the model does not answer on this machine as it did when it was exported: {reason} (worst in window {} of \
         {}); it is not served. Export it again with this ONNX Runtime, or use the one it was exported with",
        replayed.worst_window, replayed.windows
    )]
    Differs {
        /// Which limit was broken.
        reason: String,
        /// The comparison.
        replayed: Replayed,
    },
}

/// Reads the probe's file; `classes` is the number of labels.
///
/// # Errors
/// [`ReplayError::File`] or [`ReplayError::Probe`] with the tensor that is wrong.
pub fn read_probe(path: &Path, classes: usize) -> Result<Vec<ProbeWindow>, ReplayError> {
    let bytes =
        std::fs::read(path).map_err(|source| ReplayError::File { path: path.to_path_buf(), source })?;
    Ok(probe::from_bytes(&bytes, classes)?)
}

/// Runs every window of the probe and holds the answers against the reference.
///
/// # Errors
/// [`ReplayError`].
pub fn replay(
    probe: &[ProbeWindow],
    classifier: &dyn TokenClassifier,
    limits: &Limits,
) -> Result<Replayed, ReplayError> {
    let windows: Vec<&Window> = probe.iter().map(|p| &p.window).collect();
    judge(probe, classifier.logits(&windows), classifier.num_labels(), limits)
}

/// Holds the answers to a probe's windows, `[seq, classes]` each, against the reference.
///
/// # Errors
/// [`ReplayError`].
pub(crate) fn judge(
    probe: &[ProbeWindow],
    answers: Result<Vec<Vec<f32>>, ClassifierError>,
    classes: usize,
    limits: &Limits,
) -> Result<Replayed, ReplayError> {
    let replayed = probe::compare(probe, &answers.map_err(ReplayError::Run)?, classes)?;
    match limits.broken_by(&replayed) {
        None => Ok(replayed),
        Some(reason) => Err(ReplayError::Differs { reason, replayed }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every token with `[1 - x, x]`.
    struct Constant(f32);

    impl TokenClassifier for Constant {
        fn num_labels(&self) -> usize {
            2
        }
        fn logits(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ClassifierError> {
            Ok(windows.iter().map(|w| vec![[1.0 - self.0, self.0]; w.len()].concat()).collect())
        }
    }

    fn probe() -> Vec<ProbeWindow> {
        let window = Window {
            word_indices: vec![],
            input_ids: vec![2, 7, 3],
            bbox: vec![layoutlm_core::bbox::NormalizedBox::ZERO; 3],
            word_ids: vec![None; 3],
        };
        vec![ProbeWindow { window, logits: [[1.0, 0.0]; 3].concat(), first: vec![1] }]
    }

    #[test]
    fn the_same_answers_pass_and_others_are_refused_by_their_size() {
        assert_eq!(replay(&probe(), &Constant(1e-4), &Limits::EXACT).unwrap().label_flips, 0);
        let text = replay(&probe(), &Constant(0.01), &Limits::EXACT).unwrap_err().to_string();
        assert!(text.contains("|Δlogit| of 1.00e-2, above 1e-3"), "{text}");
    }

    #[test]
    fn a_missing_probe_is_named() {
        let text = read_probe(Path::new("/nowhere/probe.safetensors"), 2).unwrap_err().to_string();
        assert!(text.starts_with("/nowhere/probe.safetensors: "), "{text}");
    }
}
