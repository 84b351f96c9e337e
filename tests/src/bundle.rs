//! Bundles for tests: a checkpoint exported by the exporter and proved with the server's own engine.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use layoutlm_core::bundle::Manifest;
use layoutlm_core::classifier::ClassifierError;
use layoutlm_exporter::{ExportError, ExportOptions, VariantKind, Watch, export};
use layoutlm_inference::{Engine, EngineOptions, Runtime};
use tempfile::TempDir;

use crate::model::write_checkpoint;

/// Exports a checkpoint with the ONNX Runtime that this machine has.
///
/// # Errors
/// As the exporter.
pub fn export_checkpoint(
    checkpoint: &Path,
    output: &Path,
    variants: &[VariantKind],
) -> Result<Manifest, ExportError> {
    let options = ExportOptions { variants: variants.to_vec(), ..ExportOptions::default() };
    let stop = AtomicBool::new(false);
    let watch = Watch { progress: &|_| {}, stop: &stop };
    export(checkpoint, output, &options, &|path, _| open_graph(path), watch)
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
        let folder = tempfile::tempdir().unwrap();
        let bundle = Self { folder };
        write_checkpoint(&bundle.checkpoint());
        export_checkpoint(&bundle.checkpoint(), &bundle.path(), variants).unwrap();
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
