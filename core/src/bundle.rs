//! The bundle's manifest: what is in a folder that can be served, where it came from, and what was proved of it.
//!
//! Pure data and checks; reading and writing the files is the exporter's and the server's business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::encoding::Encoding;

/// The manifest's own file name.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The graph served by default.
pub const MODEL_FILE: &str = "model.onnx";
/// The canonical tokenizer.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// The model's dimensions.
pub const CONFIG_FILE: &str = "config.json";
/// Encoded receipts with their reference logits.
pub const PROBE_FILE: &str = "probe.safetensors";
/// The format this code writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Which numbers reach the network.
    pub encoding: Encoding,
    /// [`Encoding::fingerprint`] when written.
    pub fingerprint: String,
    /// Tags in class-id order, for people and other programs.
    pub labels: Vec<String>,
    /// The model's dimensions.
    pub model_config: ModelConfig,
    /// SHA-256 (hex) of every other file, by name.
    pub files: BTreeMap<String, String>,
    /// Where the weights came from.
    pub source: Source,
    /// Name (`fp32`, `fused`, `int8`) of the variant that is [`MODEL_FILE`].
    pub default_variant: String,
    /// Every graph in the folder with its proof, by name.
    pub variants: BTreeMap<String, Variant>,
}

/// Where a bundle's weights came from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Source {
    /// Job that trained them.
    pub job_name: Option<String>,
    /// Checkpoint folder as given to the exporter.
    pub checkpoint: String,
    /// SHA-256 of the checkpoint's weight file.
    pub checkpoint_sha256: String,
    /// The checkpoint's scores, as the run recorded them.
    pub metrics: BTreeMap<String, f64>,
    /// Version of the program that wrote the bundle.
    pub written_by: String,
    /// Revision of its sources, when known at build time.
    pub git_revision: Option<String>,
    /// When, UTC, RFC 3339.
    pub created_at: String,
}

/// One graph of a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// File name in the bundle.
    pub file: String,
    /// What it was held against, and how it did.
    pub certificate: Certificate,
}

/// The parity proof of one variant: its logits and labels beside candle's in fp32 on the same windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Where the windows came from: a data file, `validation` or `probe`.
    pub data: String,
    /// Receipts compared.
    pub receipts: usize,
    /// Windows compared.
    pub windows: usize,
    /// Words compared.
    pub words: usize,
    /// Largest |Δlogit| over first sub-tokens.
    pub max_abs_logit_diff: f64,
    /// Mean |Δlogit| over first sub-tokens.
    pub mean_abs_logit_diff: f64,
    /// Words whose label differs.
    pub label_flips: usize,
    /// Micro F1 of the candle model, where the receipts are labelled.
    pub f1_reference: Option<f64>,
    /// Micro F1 of the variant, where the receipts are labelled.
    pub f1: Option<f64>,
    /// The limits it was held to.
    pub limits: Limits,
    /// Milliseconds per window of the candle model and of the variant on the machine that exported, if measured.
    pub latency_ms: Option<Latency>,
}

/// What a certificate may not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest allowed |Δlogit|; `None` is no limit (int8).
    pub max_abs_logit_diff: Option<f64>,
    /// Largest allowed share of flipped labels, 0..1.
    pub max_flip_rate: f64,
    /// Largest allowed loss of F1.
    pub max_f1_drop: f64,
}

impl Limits {
    /// fp32 and fused graphs: no flip, |Δlogit| at most 1e-3.
    pub const EXACT: Self = Self { max_abs_logit_diff: Some(1e-3), max_flip_rate: 0.0, max_f1_drop: 0.0 };
    /// int8 graphs: F1 drop at most 0.005, flips at most 1 %.
    pub const INT8: Self = Self { max_abs_logit_diff: None, max_flip_rate: 0.01, max_f1_drop: 0.005 };
}

/// Time per window of both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Candle, milliseconds per window.
    pub reference: f64,
    /// The variant, milliseconds per window.
    pub variant: f64,
    /// Threads used by both.
    pub threads: usize,
    /// The processor's name.
    pub cpu: String,
}

impl Certificate {
    /// Which limit was broken, as a sentence; `None` when all hold.
    pub fn broken_limit(&self) -> Option<String> {
        // Written so that a NaN breaks the limit.
        let within = |value: f64, limit: f64| value <= limit;
        if let Some(limit) = self.limits.max_abs_logit_diff.filter(|l| !within(self.max_abs_logit_diff, *l)) {
            return Some(format!("max |Δlogit| {:.3e} is above {limit:.3e}", self.max_abs_logit_diff));
        }
        let rate = self.label_flips as f64 / self.words.max(1) as f64;
        if !within(rate, self.limits.max_flip_rate) {
            let (flips, words) = (self.label_flips, self.words);
            return Some(format!(
                "{flips} of {words} labels flip, above {:.2} %",
                self.limits.max_flip_rate * 100.0
            ));
        }
        if let (Some(reference), Some(f1)) = (self.f1_reference, self.f1)
            && !within(reference - f1, self.limits.max_f1_drop)
        {
            return Some(format!(
                "F1 falls from {reference:.4} to {f1:.4}, more than {}",
                self.limits.max_f1_drop
            ));
        }
        None
    }
}

/// Why a bundle is not to be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Not a manifest.
    #[error("manifest.json: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by a program of another time.
    #[error("manifest.json: format_version {0}, but this program reads {FORMAT_VERSION}")]
    Version(u32),
    /// The encoding in the manifest is not the one that was fingerprinted.
    #[error(
        "manifest.json: the encoding's fingerprint is {found}, but {expected} is recorded: it was changed by hand"
    )]
    Fingerprint {
        /// Recorded.
        expected: String,
        /// Recomputed.
        found: String,
    },
    /// Two places of the manifest contradict each other.
    #[error("manifest.json: {0}")]
    Inconsistent(String),
    /// A file is missing or unreadable.
    #[error("{file}: {reason}")]
    File {
        /// Its name in the bundle.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// A file was changed after the bundle was written.
    #[error("{file}: sha256 is {found}, but the manifest says {expected}: the file was changed or damaged")]
    Hash {
        /// Its name in the bundle.
        file: String,
        /// Hash in the manifest.
        expected: String,
        /// Hash of the bytes.
        found: String,
    },
}

impl Manifest {
    /// Parses a manifest and checks it against itself: version, fingerprint, labels, files of the variants.
    ///
    /// # Errors
    /// [`BundleError`]; says nothing yet about the other files.
    pub fn from_json(text: &str) -> Result<Self, BundleError> {
        let value: serde_json::Value = serde_json::from_str(text)?;
        let version = value.get("format_version").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if version != u64::from(FORMAT_VERSION) {
            return Err(BundleError::Version(u32::try_from(version).unwrap_or(u32::MAX)));
        }
        let manifest: Self = serde_json::from_value(value)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), BundleError> {
        let found = self.encoding.fingerprint();
        if found != self.fingerprint {
            return Err(BundleError::Fingerprint { expected: self.fingerprint.clone(), found });
        }
        let wrong = |text: String| Err(BundleError::Inconsistent(text));
        if let Err(e) = self.encoding.check() {
            return wrong(e.to_string());
        }
        if self.encoding.window.max_length > self.model_config.max_position_embeddings {
            return wrong("encoding.window.max_length is above model_config.max_position_embeddings".into());
        }
        if self.labels != self.encoding.labels.tags() {
            return wrong("labels differ from encoding.labels".into());
        }
        for name in self.files.keys() {
            if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
                return wrong(format!("file name {name:?} would leave the bundle"));
            }
        }
        let variant_files = self.variants.values().map(|v| v.file.as_str());
        for file in variant_files.chain([MODEL_FILE, TOKENIZER_FILE, CONFIG_FILE, PROBE_FILE]) {
            if !self.files.contains_key(file) {
                return wrong(format!("no hash for {file}"));
            }
        }
        if !self.variants.contains_key(&self.default_variant) {
            return wrong(format!("default_variant {:?} is not among the variants", self.default_variant));
        }
        Ok(())
    }

    /// Compares the hash of a file's bytes with the recorded one.
    ///
    /// # Errors
    /// [`BundleError::Hash`], or [`BundleError::File`] for a file the manifest does not know.
    pub fn check_hash(&self, file: &str, sha256: &str) -> Result<(), BundleError> {
        match self.files.get(file) {
            None => Err(BundleError::File { file: file.into(), reason: "not in the manifest".into() }),
            Some(expected) if expected == sha256 => Ok(()),
            Some(expected) => {
                Err(BundleError::Hash { file: file.into(), expected: expected.clone(), found: sha256.into() })
            }
        }
    }
}
