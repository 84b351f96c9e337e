//! The bundle's manifest: what is in a folder that can be served, where it came from, and what was proved of it.
//!
//! Pure data and checks; reading and writing the files is the exporter's and the server's business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::encoding::{Encoding, sha256_hex};

pub use crate::certificate::{
    AllInt8, Certificate, Latency, LayerProduct, Limits, Quantization, Sensitivity,
};

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
    /// SHA-256 (hex) of the manifest's own text with this hash written as zeros, so that no byte of it can change
    /// unnoticed. [`Manifest::to_json`] fills it in.
    pub manifest_sha256: String,
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
    /// Whether it takes `attention_mask` and so batches of windows that differ in length. Without, it takes `input_ids`
    /// and `bbox` alone: windows of one length, every token of type 0.
    #[serde(default = "yes")]
    pub padding: bool,
    /// What it was held against, and how it did.
    pub certificate: Certificate,
    /// How it was quantised; `None` in float.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
}

/// Graphs took a mask before manifests said so.
fn yes() -> bool {
    true
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
    /// The manifest as text, sealed with its own hash.
    ///
    /// # Errors
    /// [`BundleError::Json`] for numbers that JSON can't hold.
    pub fn to_json(&self) -> Result<String, BundleError> {
        Ok(seal(&(serde_json::to_string_pretty(self)? + "\n")))
    }

    /// Parses a manifest and checks it against itself: version, fingerprint, labels, files of the variants, own hash.
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
        let found = own_hash(text);
        if found != manifest.manifest_sha256 {
            return Err(BundleError::Hash {
                file: MANIFEST_FILE.into(),
                expected: manifest.manifest_sha256,
                found,
            });
        }
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

const SEAL: &str = "\"manifest_sha256\"";
const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Puts the hash of a manifest's text into it, whatever hash stood there; text without a place for one stays as it is.
pub fn seal(text: &str) -> String {
    match split_at_seal(text) {
        Some((before, after)) => format!("{before}{}{after}", own_hash(text)),
        None => text.to_string(),
    }
}

/// The text up to the hash's first digit, and from behind its last.
fn split_at_seal(text: &str) -> Option<(&str, &str)> {
    let (before, rest) = text.rsplit_once(SEAL)?;
    let (colon, rest) = rest.split_once('"')?;
    let (hash, _) = rest.split_once('"')?;
    let start = before.len() + SEAL.len() + colon.len() + 1;
    Some((text.get(..start)?, text.get(start + hash.len()..)?))
}

fn own_hash(text: &str) -> String {
    let zeroed = split_at_seal(text).map(|(before, after)| format!("{before}{ZEROS}{after}"));
    sha256_hex(zeroed.as_deref().unwrap_or(text).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_text_changes_its_hash_with_any_byte() {
        let text = "{\"a\": 1, \"manifest_sha256\": \"\"}\n";
        let sealed = seal(text);
        assert_eq!(sealed.len(), text.len() + 64);
        assert_eq!(seal(&sealed), sealed);
        let hash = |text: &str| text.rsplit('"').nth(1).unwrap().to_string();
        for at in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(changed.len() != sealed.len() || own_hash(&changed) != hash(&changed), "byte {at}");
            }
        }
    }
}
