//! Opening whatever `--model` names: a checkpoint folder, a run folder or a bundle.

use std::path::{Path, PathBuf};

use anyhow::Context;
use layoutlm_core::bundle::MANIFEST_FILE;
use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::encoder::Encoder;
use layoutlm_inference::bundle::Bundle;
use layoutlm_inference::engine::{EngineOptions, OrtEngine};
use layoutlm_inference::runtime;
use layoutlm_trainer::model::CandleClassifier;
use layoutlm_trainer::model_folder;
use layoutlm_trainer::weights::{Checkpoint, LoadOptions};

use crate::exit::usage;

/// How models are run, shared by all commands that run one.
#[derive(Debug, Clone, clap::Args)]
pub struct Engine {
    /// Threads per model run; all cores by default.
    #[arg(long, env = "LAYOUTLM_THREADS")]
    pub threads: Option<usize>,
    /// ONNX Runtime library; searched in the usual places by default.
    #[arg(long, env = "ORT_DYLIB_PATH")]
    pub ort_dylib: Option<PathBuf>,
}

impl Engine {
    /// Threads to use.
    pub fn threads(&self) -> anyhow::Result<usize> {
        match self.threads {
            Some(0) => Err(usage(anyhow::anyhow!("--threads 0: must be at least 1"))),
            Some(n) => Ok(n),
            None => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
        }
    }

    /// Opens one graph.
    pub fn open_onnx(&self, file: &Path) -> anyhow::Result<OrtEngine> {
        let runtime = runtime::load(self.ort_dylib.as_deref())?;
        Ok(OrtEngine::open(&runtime, file, &EngineOptions { threads: self.threads()? })?)
    }
}

/// A model ready to label receipts.
pub struct Model {
    /// Its encoding and tokenizer.
    pub encoder: Encoder,
    /// What runs it.
    pub classifier: Box<dyn TokenClassifier>,
}

impl Model {
    /// Opens a checkpoint with candle or a bundle with ONNX Runtime.
    pub fn open(path: &Path, engine: &Engine) -> anyhow::Result<Self> {
        if is_bundle(path) {
            let bundle = Bundle::open(path).map_err(usage)?;
            let classifier = Box::new(engine.open_onnx(&bundle.model_path())?);
            return Ok(Self { encoder: bundle.encoder, classifier });
        }
        let folder = model_folder::resolve(path).map_err(usage)?;
        let encoder = model_folder::read_encoder(&folder).map_err(usage)?;
        Ok(Self { encoder, classifier: Box::new(candle(&folder)?) })
    }

    /// Opens only the encoding and tokenizer.
    pub fn encoder(path: &Path) -> anyhow::Result<Encoder> {
        if is_bundle(path) {
            return Ok(Bundle::open(path).map_err(usage)?.encoder);
        }
        let folder = model_folder::resolve(path).map_err(usage)?;
        model_folder::read_encoder(&folder).map_err(usage)
    }
}

/// Opens a checkpoint folder with candle.
pub fn candle(folder: &Path) -> anyhow::Result<CandleClassifier> {
    let checkpoint = Checkpoint::load(folder, LoadOptions::default()).map_err(usage)?;
    CandleClassifier::new(checkpoint).with_context(|| folder.display().to_string())
}

fn is_bundle(path: &Path) -> bool {
    path.join(MANIFEST_FILE).is_file()
}
