//! The small files of a bundle, and what its graphs say of themselves.

use std::collections::BTreeMap;
use std::path::Path;

use layoutlm_core::bundle::{CONFIG_FILE, PROBE_FILE, Source, TOKENIZER_FILE};
use layoutlm_core::config::ModelConfig;
use layoutlm_core::encoder::Encoder;
use layoutlm_core::encoding::{Encoding, sha256_hex};
use layoutlm_core::probe::{self, ProbeWindow};
use layoutlm_trainer::machine;

use crate::checkpoint::Loaded;
use crate::error::ExportError;
use crate::graph::{Signature, VariantKind};
use crate::options::ExportOptions;
use crate::staging::Staging;

/// Files of the bundle with their SHA-256.
pub(crate) type Hashes = BTreeMap<String, String>;

/// Where the weights came from.
pub(crate) fn source_of(checkpoint: &Path, loaded: &Loaded, options: &ExportOptions) -> Source {
    let run = loaded.run();
    Source {
        job_name: run.job_name,
        checkpoint: checkpoint.display().to_string(),
        checkpoint_sha256: loaded.weights_sha256.clone(),
        metrics: run.metrics,
        written_by: format!("layoutlm-exporter {}", env!("CARGO_PKG_VERSION")),
        git_revision: options.git_revision.clone(),
        created_at: machine::now(),
    }
}

/// Writes the configuration and the tokenizer.
///
/// # Errors
/// When the folder can't be written.
pub(crate) fn write_texts(
    staging: &Staging,
    config: &ModelConfig,
    encoder: &Encoder,
) -> Result<Hashes, ExportError> {
    let config = serde_json::to_string_pretty(config)
        .map_err(|e| ExportError::Options(format!("config.json can't be written as JSON: {e}")))?;
    let tokenizer = encoder.tokenizer().to_json().to_string();
    let texts = [(CONFIG_FILE, config + "\n"), (TOKENIZER_FILE, tokenizer)];
    let mut hashes = Hashes::new();
    for (name, text) in texts {
        staging.write(name, text.as_bytes())?;
        hashes.insert(name.to_string(), sha256_hex(text.as_bytes()));
    }
    Ok(hashes)
}

/// Writes the probe.
///
/// # Errors
/// When the folder can't be written.
pub(crate) fn write_probe(staging: &Staging, windows: &[ProbeWindow]) -> Result<Hashes, ExportError> {
    let bytes = probe::to_bytes(windows)?;
    staging.write(PROBE_FILE, &bytes)?;
    Ok([(PROBE_FILE.to_string(), sha256_hex(&bytes))].into())
}

/// What a graph says of itself to whoever meets it outside its bundle. No date: equal weights give equal bytes.
pub(crate) fn metadata(
    encoding: &Encoding,
    kind: VariantKind,
    signature: Signature,
    source: &Source,
) -> Vec<(String, String)> {
    let json = |value: serde_json::Result<String>| value.unwrap_or_default();
    let padding = kind == VariantKind::Fp32 || signature == Signature::Padded;
    let mut entries = vec![
        ("layoutlm.variant", kind.to_string()),
        ("layoutlm.padding", padding.to_string()),
        ("layoutlm.fingerprint", encoding.fingerprint()),
        ("layoutlm.labels", json(serde_json::to_string(encoding.labels.tags()))),
        ("layoutlm.temperature", encoding.temperature.to_string()),
        ("layoutlm.encoding", json(serde_json::to_string(encoding))),
        ("layoutlm.metrics", json(serde_json::to_string(&source.metrics))),
        ("layoutlm.checkpoint_sha256", source.checkpoint_sha256.clone()),
        ("layoutlm.written_by", source.written_by.clone()),
    ];
    entries.extend(source.job_name.clone().map(|name| ("layoutlm.job", name)));
    entries.extend(source.git_revision.clone().map(|revision| ("layoutlm.git_revision", revision)));
    entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}
