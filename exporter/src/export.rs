//! The whole export: checkpoint in, proven bundle out.
//!
//! Graphs are written, then run: nothing is published that was not held against the candle model on the same windows.
//! The weights are in memory once: they are handed to the reference model when the float graphs are on disk, are gone
//! with it before the first graph is opened, and are read again for int8.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layoutlm_core::bundle::{
    BundleError, FORMAT_VERSION, MANIFEST_FILE, MODEL_FILE, Manifest, Source, Variant,
};
use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::config::ModelConfig;
use layoutlm_core::encoder::Encoder;
use layoutlm_trainer::weights::Weights;
use rayon::prelude::*;

use crate::bundle_files::{Hashes, metadata, source_of, write_probe, write_texts};
use crate::checkpoint::{Loaded, read_again};
use crate::error::ExportError;
use crate::graph::{Form, Model, Signature, VariantKind, build};
use crate::int8::{Judge, Lab, Settled, search};
use crate::options::{ExportOptions, OpenGraph};
use crate::progress::Watch;
use crate::proof::{
    Answers, BrokenProof, Prepared, Reference, Subject, certify, evidence_of, replay, replay_proven,
    run_reference,
};
use crate::staging::Staging;
use crate::write::{Durability, write_model};

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
    let prepared = Prepared::new(&loaded.encoder, &evidence_of(&loaded, options)?)?;
    let source = source_of(checkpoint, &loaded, options);
    let Loaded { folder, config, weights, encoder, .. } = loaded;
    let staging = Staging::new(output)?;
    let job = Job { staging, source, folder, config, encoder, options, default, prepared, open, watch };

    let mut files = write_texts(&job.staging, &job.config, &job.encoder)?;
    files.extend(job.write_floats(&weights)?);
    let ranges_wanted = options.smoothing && options.variants.contains(&VariantKind::Int8);
    let reference =
        run_reference(job.config.clone(), weights, &job.encoder, &job.prepared, ranges_wanted, &job.watch)?;
    files.extend(write_probe(&job.staging, &reference.probe)?);

    let mut variants = BTreeMap::new();
    for &kind in &options.variants {
        let variant = match kind {
            VariantKind::Int8 => job.int8(&reference, &mut files)?,
            _ => job.float(kind, &reference)?,
        };
        variants.insert(kind.to_string(), variant);
    }
    let encoding = job.encoder.encoding();
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        encoding: encoding.clone(),
        fingerprint: encoding.fingerprint(),
        labels: encoding.labels.tags().to_vec(),
        model_config: job.config,
        files,
        source: job.source,
        default_variant: default.to_string(),
        variants,
        manifest_sha256: String::new(),
    };
    let manifest = write_manifest(&job.staging, &manifest)?;
    job.staging.publish()?;
    Ok(manifest)
}

/// One export under way.
struct Job<'a> {
    staging: Staging,
    source: Source,
    /// Where the weights are.
    folder: PathBuf,
    config: ModelConfig,
    encoder: Encoder,
    options: &'a ExportOptions,
    default: VariantKind,
    prepared: Prepared,
    open: &'a OpenGraph<'a>,
    watch: Watch<'a>,
}

impl Job<'_> {
    /// File of a variant: the default one is `model.onnx`, others carry their name.
    fn file(&self, kind: VariantKind) -> String {
        if kind == self.default { MODEL_FILE.to_string() } else { format!("model.{kind}.onnx") }
    }

    /// Writes the float variants side by side.
    fn write_floats(&self, weights: &Weights) -> Result<Hashes, ExportError> {
        let floats = self.options.variants.iter().copied().filter(|kind| *kind != VariantKind::Int8);
        let form = |kind| Form::of(kind, self.config.num_hidden_layers, self.options.signature);
        let graphs = floats.map(|kind| {
            self.watch.writing(kind.name())?;
            self.graph(weights, kind, &form(kind))
        });
        let graphs = graphs.collect::<Result<Vec<_>, _>>()?;
        let written = graphs.par_iter().map(|graph| graph.write(weights)).collect::<Result<Vec<_>, _>>();
        Ok(written?.into_iter().flatten().collect())
    }

    fn graph(&self, weights: &Weights, kind: VariantKind, form: &Form) -> Result<Graph<'_>, ExportError> {
        let encoding = self.encoder.encoding();
        let metadata = metadata(encoding, kind, form.signature, &self.source);
        let model = build(&self.config, encoding.labels.len(), form, weights, &metadata)?;
        let (folder, external_above) = (self.staging.path(), self.options.external_above);
        Ok(Graph { folder, name: self.file(kind), model, external_above })
    }

    /// Reads the weights, writes an int8 graph, and forgets them.
    fn write_int8(&self, form: &Form) -> Result<Hashes, ExportError> {
        let kind = VariantKind::Int8;
        // Frees what the model before this one had.
        self.watch.writing(kind.name())?;
        let weights = self.reload()?;
        self.graph(&weights, kind, form)?.write(&weights)
    }

    fn opened(&self, kind: VariantKind) -> Result<Box<dyn TokenClassifier>, ExportError> {
        (self.open)(&self.staging.path().join(self.file(kind)), kind)
            .map_err(|source| ExportError::Open { variant: kind.to_string(), source })
    }

    /// Proves a float variant that has been written.
    fn float(&self, kind: VariantKind, reference: &Reference) -> Result<Variant, ExportError> {
        let (encoder, limits) = (&self.encoder, self.options.limits(kind));
        let engine = self.opened(kind)?;
        let answers = Answers::collect(encoder, engine.as_ref(), &self.prepared, &self.watch, kind.name())?;
        let subject = Subject { variant: kind.name(), limits, threads: self.options.threads };
        let certificate = certify(&subject, encoder, &self.prepared, &reference.answers, &answers)?;
        // The server replays the probe when it starts; a bundle that would not pass is not shipped.
        let proven = (&self.prepared, &answers);
        replay_proven(kind.name(), &reference.probe, engine.as_ref(), limits, proven)?;
        let padding = kind == VariantKind::Fp32 || self.options.signature == Signature::Padded;
        Ok(Variant { file: self.file(kind), padding, certificate, quantization: None })
    }

    /// Writes int8 with every product in it, and with some left in float where that does not hold.
    fn int8(&self, reference: &Reference, files: &mut Hashes) -> Result<Variant, ExportError> {
        let kind = VariantKind::Int8;
        let mut form = Form::of(kind, self.config.num_hidden_layers, self.options.signature);
        form.tables = self.options.tables;
        form.smoothing = reference.ranges.smoothing();
        let written = self.write_int8(&form)?;
        let proven = self.judge(reference).prove(self.opened(kind)?.as_ref())?;
        let settled = match proven {
            Ok(certificate) => {
                files.extend(written);
                Settled::at_once(form, certificate)
            }
            Err(broken) if !self.options.fall_back => return Err(broken.into()),
            Err(broken) => {
                written.keys().try_for_each(|name| self.staging.remove(name))?;
                self.int8_with_floats(reference, form, broken, files)?
            }
        };
        let Settled { form, certificate, quantization } = settled;
        let padding = form.signature == Signature::Padded;
        Ok(Variant { file: self.file(kind), padding, certificate, quantization: Some(quantization) })
    }

    /// Finds the form with the most int8 that holds and writes it.
    fn int8_with_floats(
        &self,
        reference: &Reference,
        form: Form,
        broken: Box<BrokenProof>,
        files: &mut Hashes,
    ) -> Result<Settled, ExportError> {
        let kind = VariantKind::Int8;
        let lab = Lab {
            judge: self.judge(reference),
            config: &self.config,
            reload: &|| self.reload(),
            open: self.open,
            scratch: self.staging.path(),
        };
        let settled = search(&lab, form, broken)?;
        files.extend(self.write_int8(&settled.form)?);
        // What was proved had another file.
        replay(kind.name(), &reference.probe, self.opened(kind)?.as_ref(), self.options.limits(kind))?;
        Ok(settled)
    }

    fn judge<'j>(&'j self, reference: &'j Reference) -> Judge<'j> {
        Judge {
            encoder: &self.encoder,
            prepared: &self.prepared,
            reference: &reference.answers,
            probe: &reference.probe,
            limits: self.options.limits(VariantKind::Int8),
            threads: self.options.threads,
            watch: &self.watch,
        }
    }

    fn reload(&self) -> Result<Weights, ExportError> {
        read_again(&self.folder, &self.source.checkpoint_sha256)
    }
}

/// A graph that is ready to be written.
struct Graph<'a> {
    folder: &'a Path,
    name: String,
    model: Model,
    external_above: u64,
}

impl Graph<'_> {
    fn write(&self, weights: &Weights) -> Result<Hashes, ExportError> {
        let Self { folder, name, model, external_above } = self;
        let files = write_model(folder, name, model, weights, *external_above, Durability::Lasting)?;
        Ok(files.into_iter().map(|f| (f.name, f.sha256)).collect())
    }
}

/// Writes the manifest and returns it as a server will read it.
fn write_manifest(staging: &Staging, manifest: &Manifest) -> Result<Manifest, ExportError> {
    let wrong = |source: BundleError| ExportError::Bundle { path: staging.path().to_path_buf(), source };
    let text = manifest.to_json().map_err(wrong)?;
    let manifest = Manifest::from_json(&text).map_err(wrong)?;
    staging.write(MANIFEST_FILE, text.as_bytes())?;
    Ok(manifest)
}
