//! Repeats a bundle's proof on this machine.
//!
//! Without receipts the probe is replayed against the logits that the trained model gave when the bundle was made.
//! With receipts the reference runs as well: the checkpoint when it is at hand, else the bundle's own f32 graph.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use layoutlm_core::bundle::{BundleError, Certificate, MANIFEST_FILE, Manifest, PROBE_FILE, TOKENIZER_FILE};
use layoutlm_core::encoder::{Encoder, EncoderError};
use layoutlm_core::probe;
use layoutlm_core::tokenize::Tokenizer;

use crate::checkpoint::{Loaded, weights_sha256};
use crate::error::ExportError;
use crate::graph::VariantKind;
use crate::options::OpenGraph;
use crate::progress::Watch;
use crate::proof::{Answers, Evidence, Prepared, Subject, certify, replay, run_reference};
use crate::write::sha256_file;

/// Options of [`verify`].
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// Receipts to compare on; the probe when not given.
    pub evidence: Option<Evidence>,
    /// The checkpoint the bundle was made from; looked for where the manifest says when not given.
    pub checkpoint: Option<PathBuf>,
    /// Threads the engines run with, for the record.
    pub threads: usize,
}

/// Holds every variant of a bundle against the reference, under the limits in its manifest.
///
/// # Errors
/// [`ExportError::Bundle`] when a file was changed, [`ExportError::Proof`] when a variant breaks a limit here.
pub fn verify(
    bundle: &Path,
    options: &VerifyOptions,
    open: &OpenGraph<'_>,
    watch: Watch<'_>,
) -> Result<BTreeMap<String, Certificate>, ExportError> {
    let wrong = |source: BundleError| ExportError::Bundle { path: bundle.to_path_buf(), source };
    let manifest = read_manifest(bundle).map_err(wrong)?;
    let encoder = read_encoder(bundle, &manifest).map_err(wrong)?;
    let bytes = read(bundle, PROBE_FILE).map_err(wrong)?;
    let probe = probe::from_bytes(&bytes, manifest.labels.len())?;
    let prepared = options.evidence.as_ref().map(|e| Prepared::new(&encoder, e)).transpose()?;
    let reference = match &prepared {
        None => None,
        Some(prepared) => {
            let answers = reference_answers(bundle, &manifest, &encoder, prepared, options, open, &watch)?;
            Some((prepared, answers))
        }
    };
    let mut certificates = BTreeMap::new();
    for (name, variant) in &manifest.variants {
        let engine = open_variant(bundle, &manifest, name, open)?;
        let limits = variant.certificate.limits;
        let replayed = replay(name, &probe, engine.as_ref(), limits)?;
        let certificate = match &reference {
            None => replayed,
            Some((prepared, reference)) => {
                let answers = Answers::collect(&encoder, engine.as_ref(), prepared, &watch, name)?;
                let subject = Subject { variant: name, limits, threads: options.threads };
                certify(&subject, &encoder, prepared, reference, &answers)?
            }
        };
        certificates.insert(name.clone(), certificate);
    }
    Ok(certificates)
}

fn read(bundle: &Path, file: &str) -> Result<Vec<u8>, BundleError> {
    fs::read(bundle.join(file)).map_err(|e| BundleError::File { file: file.into(), reason: e.to_string() })
}

/// The manifest, after every file's hash was compared with it.
fn read_manifest(bundle: &Path) -> Result<Manifest, BundleError> {
    let text = String::from_utf8_lossy(&read(bundle, MANIFEST_FILE)?).into_owned();
    let manifest = Manifest::from_json(&text)?;
    for file in manifest.files.keys() {
        let found = sha256_file(&bundle.join(file))
            .map_err(|e| BundleError::File { file: file.clone(), reason: e.to_string() })?;
        manifest.check_hash(file, &found)?;
    }
    Ok(manifest)
}

fn read_encoder(bundle: &Path, manifest: &Manifest) -> Result<Encoder, BundleError> {
    let tokenizer = Tokenizer::from_json(&read(bundle, TOKENIZER_FILE)?);
    let encoder =
        tokenizer.map_err(EncoderError::from).and_then(|t| Encoder::new(manifest.encoding.clone(), t));
    encoder.map_err(|e| BundleError::Inconsistent(e.to_string()))
}

fn open_variant(
    bundle: &Path,
    manifest: &Manifest,
    name: &str,
    open: &OpenGraph<'_>,
) -> Result<Box<dyn layoutlm_core::classifier::TokenClassifier>, ExportError> {
    let inconsistent = |text: String| ExportError::Bundle {
        path: bundle.to_path_buf(),
        source: BundleError::Inconsistent(text),
    };
    let kind: VariantKind = name.parse().map_err(|e| inconsistent(format!("{e}")))?;
    let file = manifest.variants.get(name).map(|v| v.file.as_str());
    let file = file.ok_or_else(|| inconsistent(format!("there is no variant {name}")))?;
    open(&bundle.join(file), kind).map_err(|source| ExportError::Open { variant: name.to_string(), source })
}

fn reference_answers(
    bundle: &Path,
    manifest: &Manifest,
    encoder: &Encoder,
    prepared: &Prepared,
    options: &VerifyOptions,
    open: &OpenGraph<'_>,
    watch: &Watch<'_>,
) -> Result<Answers, ExportError> {
    if let Some(loaded) = find_checkpoint(manifest, options)? {
        return Ok(run_reference(loaded.config, loaded.weights, encoder, prepared, false, watch)?.answers);
    }
    let exact = [VariantKind::Fp32, VariantKind::Fused].map(VariantKind::name);
    let Some(name) = exact.into_iter().find(|n| manifest.variants.contains_key(*n)) else {
        let text = "the bundle holds no f32 graph to compare with: give the checkpoint it was made from";
        return Err(ExportError::Options(text.into()));
    };
    let engine = open_variant(bundle, manifest, name, open)?;
    Answers::collect(encoder, engine.as_ref(), prepared, watch, "reference")
}

/// The checkpoint given, which must be the bundle's; else the one the manifest names, if it is still the same.
fn find_checkpoint(manifest: &Manifest, options: &VerifyOptions) -> Result<Option<Loaded>, ExportError> {
    let expected = &manifest.source.checkpoint_sha256;
    if let Some(path) = &options.checkpoint {
        let loaded = Loaded::open(path)?;
        if &loaded.weights_sha256 != expected {
            let reason =
                format!("is not the checkpoint of this bundle: its weights' sha256 is not {expected}");
            return Err(ExportError::Checkpoint { path: path.clone(), reason });
        }
        return Ok(Some(loaded));
    }
    let recorded = Path::new(&manifest.source.checkpoint);
    let Ok(folder) = layoutlm_trainer::model_folder::resolve(recorded) else { return Ok(None) };
    match weights_sha256(&folder) {
        Ok(found) if &found == expected => Loaded::open(recorded).map(Some),
        _ => Ok(None),
    }
}
