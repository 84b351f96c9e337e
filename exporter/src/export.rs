//! The whole export: checkpoint in, proven bundle out.
//!
//! Graphs are written, then run: nothing is published that was not held against the candle model on the same windows.
//! The weights are in memory once; they are handed to the reference model when the graphs are on disk, and dropped
//! with it before the first graph is opened.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::Device;
use layoutlm_core::bundle::{
    BundleError, CONFIG_FILE, Certificate, FORMAT_VERSION, MANIFEST_FILE, MODEL_FILE, Manifest, PROBE_FILE,
    Source, TOKENIZER_FILE, Variant,
};
use layoutlm_core::config::ModelConfig;
use layoutlm_core::encoder::Encoder;
use layoutlm_core::encoding::sha256_hex;
use layoutlm_core::probe::{self, ProbeWindow};
use layoutlm_core::receipt::{BadLines, read_jsonl};
use layoutlm_trainer::files::FileError;
use layoutlm_trainer::machine;
use layoutlm_trainer::model::{CandleClassifier, LayoutLm};
use layoutlm_trainer::weights::Weights;

use crate::checkpoint::Loaded;
use crate::error::ExportError;
use crate::graph::{Form, VariantKind, build};
use crate::options::{ExportOptions, OpenGraph};
use crate::progress::Watch;
use crate::proof::{Answers, Evidence, Prepared, Subject, certify, make_probe, probe_receipts, replay};
use crate::staging::Staging;
use crate::write::{EXTERNAL_ABOVE, write_model};

/// Exports a checkpoint (its folder, or its run's) as a bundle into `output`, replacing an older bundle there.
///
/// `open` opens a written graph with the engine that will serve it.
///
/// # Errors
/// [`ExportError`]; [`ExportError::Proof`] when a variant does not label as the checkpoint does. `output` is then as it
/// was before, and nothing else is left behind.
pub fn export(
    checkpoint: &Path,
    output: &Path,
    options: &ExportOptions,
    open: &OpenGraph<'_>,
    watch: Watch<'_>,
) -> Result<Manifest, ExportError> {
    let default = options.default_kind()?;
    Staging::check(output)?;
    let loaded = Loaded::open(checkpoint)?;
    let evidence = choose_evidence(&loaded, options)?;
    let prepared = Prepared::new(&loaded.encoder, &evidence)?;
    let staging = Staging::new(output)?;
    let source = source_of(checkpoint, &loaded, options)?;
    let mut files = write_texts(&staging, &loaded)?;
    files.extend(write_graphs(&staging, &loaded, options, default, &source, &watch)?);

    let Loaded { config, weights, encoder, .. } = loaded;
    let (reference, probe) = run_reference(config.clone(), weights, &encoder, &prepared, &watch)?;
    files.insert(PROBE_FILE.into(), write_probe(&staging, &probe)?);

    let mut variants = BTreeMap::new();
    for &kind in &options.variants {
        let file = graph_file(kind, default);
        let limits = options.limits(kind);
        let engine = open(&staging.path().join(&file), kind)
            .map_err(|source| ExportError::Open { variant: kind.to_string(), source })?;
        let answers = Answers::collect(&encoder, engine.as_ref(), &prepared, &watch, kind.name())?;
        let subject = Subject { variant: kind.name(), limits, threads: options.threads };
        let certificate: Certificate = certify(&subject, &encoder, &prepared, &reference, &answers)?;
        // The server replays the probe when it starts; a bundle that would not pass is not shipped.
        replay(kind.name(), &probe, engine.as_ref(), limits)?;
        variants.insert(kind.to_string(), Variant { file, certificate });
    }
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        encoding: encoder.encoding().clone(),
        fingerprint: encoder.encoding().fingerprint(),
        labels: encoder.encoding().labels.tags().to_vec(),
        model_config: config,
        files,
        source,
        default_variant: default.to_string(),
        variants,
    };
    write_manifest(&staging, &manifest)?;
    staging.publish()?;
    Ok(manifest)
}

/// File of a variant: the default one is `model.onnx`, others carry their name.
fn graph_file(kind: VariantKind, default: VariantKind) -> String {
    if kind == default { MODEL_FILE.to_string() } else { format!("model.{kind}.onnx") }
}

fn choose_evidence(loaded: &Loaded, options: &ExportOptions) -> Result<Evidence, ExportError> {
    if let Some(evidence) = &options.evidence {
        return Ok(evidence.clone());
    }
    let Some(path) = loaded.validation_file() else { return Ok(probe_receipts()) };
    let name = path.display().to_string();
    let reader = BufReader::new(File::open(&path).map_err(FileError::at(&path))?);
    let read = read_jsonl(reader, &name, BadLines::Refuse);
    let receipts = read.map_err(|e| ExportError::Evidence { name, reason: e.to_string() })?.receipts;
    Ok(Evidence { name: "validation".into(), receipts })
}

fn source_of(checkpoint: &Path, loaded: &Loaded, options: &ExportOptions) -> Result<Source, ExportError> {
    let run = loaded.run();
    Ok(Source {
        job_name: run.job_name,
        checkpoint: checkpoint.display().to_string(),
        checkpoint_sha256: loaded.weights_sha256()?,
        metrics: run.metrics,
        written_by: format!("layoutlm-exporter {}", env!("CARGO_PKG_VERSION")),
        git_revision: options.git_revision.clone(),
        created_at: machine::now(),
    })
}

/// Files of the bundle with their SHA-256.
type Hashes = BTreeMap<String, String>;

fn write_texts(staging: &Staging, loaded: &Loaded) -> Result<Hashes, ExportError> {
    let config = pretty(&loaded.config)?;
    let texts = [(CONFIG_FILE, config), (TOKENIZER_FILE, loaded.encoder.tokenizer().to_json().to_string())];
    let mut hashes = Hashes::new();
    for (name, text) in texts {
        staging.write(name, text.as_bytes())?;
        hashes.insert(name.to_string(), sha256_hex(text.as_bytes()));
    }
    Ok(hashes)
}

fn write_graphs(
    staging: &Staging,
    loaded: &Loaded,
    options: &ExportOptions,
    default: VariantKind,
    source: &Source,
    watch: &Watch<'_>,
) -> Result<Hashes, ExportError> {
    let mut hashes = Hashes::new();
    for &kind in &options.variants {
        watch.writing(kind.name())?;
        let (config, weights) = (&loaded.config, &loaded.weights);
        let form = Form::of(kind, config.num_hidden_layers);
        let metadata = metadata(loaded, kind, source);
        let model = build(config, loaded.encoder.encoding().labels.len(), &form, weights, &metadata)?;
        let files = write_model(staging.path(), &graph_file(kind, default), &model, weights, EXTERNAL_ABOVE)?;
        hashes.extend(files.into_iter().map(|f| (f.name, f.sha256)));
    }
    Ok(hashes)
}

/// What a graph says of itself to whoever meets it outside its bundle. No date: equal weights give equal bytes.
fn metadata(loaded: &Loaded, kind: VariantKind, source: &Source) -> Vec<(String, String)> {
    let encoding = loaded.encoder.encoding();
    let json = |value: serde_json::Result<String>| value.unwrap_or_default();
    let mut entries = vec![
        ("layoutlm.variant", kind.to_string()),
        ("layoutlm.fingerprint", encoding.fingerprint()),
        ("layoutlm.labels", json(serde_json::to_string(encoding.labels.tags()))),
        ("layoutlm.encoding", json(serde_json::to_string(encoding))),
        ("layoutlm.checkpoint_sha256", source.checkpoint_sha256.clone()),
    ];
    entries.extend(source.job_name.clone().map(|name| ("layoutlm.job", name)));
    entries.extend(source.git_revision.clone().map(|revision| ("layoutlm.git_revision", revision)));
    entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

/// Answers of the candle model to the evidence and to the probe. The model is gone when this returns.
pub(crate) fn run_reference(
    config: ModelConfig,
    weights: Weights,
    encoder: &Encoder,
    prepared: &Prepared,
    watch: &Watch<'_>,
) -> Result<(Answers, Vec<ProbeWindow>), ExportError> {
    let model = LayoutLm::new(config, weights, &Device::Cpu).map_err(ExportError::Reference)?;
    let classifier = CandleClassifier::new(&model);
    let answers = Answers::collect(encoder, &classifier, prepared, watch, "reference")?;
    Ok((answers, make_probe(encoder, &classifier)?))
}

fn write_probe(staging: &Staging, windows: &[ProbeWindow]) -> Result<String, ExportError> {
    let bytes = probe::to_bytes(windows)?;
    staging.write(PROBE_FILE, &bytes)?;
    Ok(sha256_hex(&bytes))
}

fn write_manifest(staging: &Staging, manifest: &Manifest) -> Result<(), ExportError> {
    let text = pretty(manifest)?;
    // What is written is what a server would accept.
    let wrong = |source: BundleError| ExportError::Bundle { path: staging.path().to_path_buf(), source };
    Manifest::from_json(&text).map_err(wrong)?;
    Ok(staging.write(MANIFEST_FILE, text.as_bytes())?)
}

fn pretty(value: &impl serde::Serialize) -> Result<String, ExportError> {
    let text = serde_json::to_string_pretty(value);
    Ok(text.map_err(|e| ExportError::Options(format!("can't be written as JSON: {e}")))? + "\n")
}
