//! The whole export: checkpoint in, proven bundle out.
//!
//! Graphs are written, then run: nothing is published that was not held against the candle model on the same windows.
//! The weights are in memory once: they are handed to the reference model when the float graphs are on disk, are gone
//! with it before the first graph is opened, and are read again for int8.

use std::collections::BTreeMap;
use std::path::Path;

use layoutlm_core::bundle::{
    BundleError, FORMAT_VERSION, MANIFEST_FILE, MODEL_FILE, Manifest, Source, Variant,
};
use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::encoder::Encoder;

use crate::bundle_files::{Hashes, metadata, source_of, write_probe, write_texts};
use crate::checkpoint::Loaded;
use crate::error::ExportError;
use crate::graph::{Form, Signature, VariantKind, build};
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
    let job = Job {
        staging: Staging::new(output)?,
        source: source_of(checkpoint, &loaded, options)?,
        checkpoint,
        options,
        default,
        prepared,
        open,
        watch,
    };
    let mut files = write_texts(&job.staging, &loaded)?;
    for kind in options.variants.iter().copied().filter(|kind| *kind != VariantKind::Int8) {
        let form = Form::of(kind, loaded.config.num_hidden_layers, options.signature);
        files.extend(job.write(&loaded, kind, &form)?);
    }
    let Loaded { config, weights, encoder, .. } = loaded;
    let ranges_wanted = options.smoothing && options.variants.contains(&VariantKind::Int8);
    let reference =
        run_reference(config.clone(), weights, &encoder, &job.prepared, ranges_wanted, &job.watch)?;
    files.extend(write_probe(&job.staging, &reference.probe)?);

    let mut variants = BTreeMap::new();
    for &kind in &options.variants {
        let variant = match kind {
            VariantKind::Int8 => job.int8(&reference, &mut files)?,
            _ => job.float(kind, &encoder, &reference)?,
        };
        variants.insert(kind.to_string(), variant);
    }
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        encoding: encoder.encoding().clone(),
        fingerprint: encoder.encoding().fingerprint(),
        labels: encoder.encoding().labels.tags().to_vec(),
        model_config: config,
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
    checkpoint: &'a Path,
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

    fn write(&self, loaded: &Loaded, kind: VariantKind, form: &Form) -> Result<Hashes, ExportError> {
        self.watch.writing(kind.name())?;
        let metadata = metadata(loaded, kind, form.signature, &self.source);
        let labels = loaded.encoder.encoding().labels.len();
        let model = build(&loaded.config, labels, form, &loaded.weights, &metadata)?;
        let (folder, name) = (self.staging.path(), self.file(kind));
        let files = write_model(
            folder,
            &name,
            &model,
            &loaded.weights,
            self.options.external_above,
            Durability::Lasting,
        )?;
        Ok(files.into_iter().map(|f| (f.name, f.sha256)).collect())
    }

    fn opened(&self, kind: VariantKind) -> Result<Box<dyn TokenClassifier>, ExportError> {
        (self.open)(&self.staging.path().join(self.file(kind)), kind)
            .map_err(|source| ExportError::Open { variant: kind.to_string(), source })
    }

    /// Proves a float variant that has been written.
    fn float(
        &self,
        kind: VariantKind,
        encoder: &Encoder,
        reference: &Reference,
    ) -> Result<Variant, ExportError> {
        let limits = self.options.limits(kind);
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
        self.watch.writing(kind.name())?;
        let loaded = self.reload()?;
        let mut form = Form::of(kind, loaded.config.num_hidden_layers, self.options.signature);
        form.tables = self.options.tables;
        form.smoothing = reference.ranges.smoothing();
        let written = self.write(&loaded, kind, &form)?;
        // The weights go before the graph is opened.
        let Loaded { encoder, weights, .. } = loaded;
        drop(weights);
        let proven = self.judge(&encoder, reference).prove(self.opened(kind)?.as_ref())?;
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
        let loaded = self.reload()?;
        let lab = Lab {
            judge: self.judge(&loaded.encoder, reference),
            config: &loaded.config,
            weights: &loaded.weights,
            open: self.open,
            scratch: self.staging.path(),
        };
        let settled = search(&lab, form, broken)?;
        files.extend(self.write(&loaded, kind, &settled.form)?);
        // What was proved had another file.
        replay(kind.name(), &reference.probe, self.opened(kind)?.as_ref(), self.options.limits(kind))?;
        Ok(settled)
    }

    fn judge<'j>(&'j self, encoder: &'j Encoder, reference: &'j Reference) -> Judge<'j> {
        Judge {
            encoder,
            prepared: &self.prepared,
            reference: &reference.answers,
            probe: &reference.probe,
            limits: self.options.limits(VariantKind::Int8),
            threads: self.options.threads,
            watch: &self.watch,
        }
    }

    /// The checkpoint once more; a run that goes on may have replaced it meanwhile.
    fn reload(&self) -> Result<Loaded, ExportError> {
        let loaded = Loaded::open(self.checkpoint)?;
        if loaded.weights_sha256()? == self.source.checkpoint_sha256 {
            return Ok(loaded);
        }
        let reason = "changed while it was being exported; export it again, or one of its checkpoints";
        Err(ExportError::Checkpoint { path: loaded.folder, reason: reason.into() })
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
