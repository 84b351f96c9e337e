//! Bundles for tests: a checkpoint exported by the exporter and proved with the server's own engine.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use layoutlm_core::bundle::{Limits, Manifest};
use layoutlm_core::classifier::ClassifierError;
use layoutlm_exporter::{ExportError, ExportOptions, VariantKind, Watch, export};
use layoutlm_inference::{Engine, EngineOptions, Runtime};
use tempfile::TempDir;

use crate::model::{Shape, write_checkpoint_of};

/// Exports a checkpoint with the ONNX Runtime that this machine has.
///
/// # Errors
/// As the exporter.
pub fn export_checkpoint(
    checkpoint: &Path,
    output: &Path,
    variants: &[VariantKind],
) -> Result<Manifest, ExportError> {
    let variants = variants.to_vec();
    export_with(checkpoint, output, &ExportOptions { variants, ..ExportOptions::default() })
}

/// The same for models without margins, whose graphs may answer as they like.
///
/// # Errors
/// As the exporter.
pub fn export_unproved(
    checkpoint: &Path,
    output: &Path,
    variants: &[VariantKind],
) -> Result<Manifest, ExportError> {
    let anything = Limits { max_abs_logit_diff: None, max_flip_rate: 1.0, max_f1_drop: 1.0 };
    let options = ExportOptions {
        variants: variants.to_vec(),
        exact_limits: anything,
        int8_limits: anything,
        ..ExportOptions::default()
    };
    export_with(checkpoint, output, &options)
}

fn export_with(checkpoint: &Path, output: &Path, options: &ExportOptions) -> Result<Manifest, ExportError> {
    let stop = AtomicBool::new(false);
    let watch = Watch { progress: &|_| {}, stop: &stop };
    export(checkpoint, output, options, &|path, _| open_graph(path), watch)
}

fn open_graph(path: &Path) -> Result<Box<dyn layoutlm_core::classifier::TokenClassifier>, ClassifierError> {
    let runtime = Runtime::load(None)?;
    Ok(Box::new(Engine::open(&runtime, path, EngineOptions::single())?))
}

/// The small model's bundle in a folder of its own, removed with the value.
pub struct TestBundle {
    folder: TempDir,
}

impl TestBundle {
    /// Exports the small model as fp32.
    pub fn small() -> Self {
        Self::with(&[VariantKind::Fp32])
    }

    /// Exports the small model in some variants.
    pub fn with(variants: &[VariantKind]) -> Self {
        Self::of(Shape::SMALL, &ExportOptions { variants: variants.to_vec(), ..ExportOptions::default() })
    }

    /// Exports a base-size model in some variants. Random weights label at random, so int8 may label otherwise than
    /// fp32: only sizes and times mean something here.
    pub fn base(variants: &[VariantKind]) -> Self {
        let anything = Limits { max_abs_logit_diff: None, max_flip_rate: 1.0, max_f1_drop: 1.0 };
        let options = ExportOptions {
            variants: variants.to_vec(),
            int8_limits: anything,
            exact_limits: anything,
            ..ExportOptions::default()
        };
        Self::of(Shape::BASE, &options)
    }

    fn of(shape: Shape, options: &ExportOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bundle = Self { folder };
        write_checkpoint_of(&bundle.checkpoint(), shape);
        export_with(&bundle.checkpoint(), &bundle.path(), options).unwrap();
        bundle
    }

    /// The bundle's folder.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("bundle")
    }

    /// The checkpoint it was made from.
    pub fn checkpoint(&self) -> PathBuf {
        self.folder.path().join("checkpoint")
    }
}
