//! Opening whatever `--model` names: a checkpoint folder, a run folder or a bundle.

use std::path::{Path, PathBuf};

use layoutlm_core::bundle::MANIFEST_FILE;
use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::encoder::Encoder;
use layoutlm_inference::{Bundle, Engine, EngineOptions, Runtime};
use layoutlm_trainer::model::CandleClassifier;
use layoutlm_trainer::model_folder;

use crate::exit::usage;

/// How models are run, shared by all commands that run one.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct EngineArgs {
    /// Windows labelled side by side [default: one per core]
    #[arg(long, env = "LAYOUTLM_THREADS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// ONNX Runtime library, or the folder it is in [default: searched]
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    pub onnxruntime: Option<PathBuf>,
    /// Variant of a bundle (fp32, fused, int8) [default: the bundle's own default]
    #[arg(long, env = "LAYOUTLM_VARIANT", value_name = "NAME")]
    pub variant: Option<String>,
}

impl EngineArgs {
    /// Threads to use.
    pub fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(all, usize::from)
    }

    /// One single-threaded session per thread: the fastest way through many windows.
    pub fn options(&self) -> EngineOptions {
        EngineOptions { sessions: self.threads(), threads: 1 }
    }

    /// The library.
    pub fn runtime(&self) -> anyhow::Result<Runtime> {
        Ok(Runtime::load(self.onnxruntime.as_deref())?)
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
    pub fn open(path: &Path, args: &EngineArgs) -> anyhow::Result<Self> {
        if is_bundle(path) {
            let bundle = Bundle::open(path).map_err(usage)?;
            let engine: Engine = bundle.engine(&args.runtime()?, args.variant.as_deref(), args.options())?;
            return Ok(Self { encoder: bundle.encoder().clone(), classifier: Box::new(engine) });
        }
        let folder = model_folder::resolve(path).map_err(usage)?;
        let encoder = model_folder::read_encoder(&folder).map_err(usage)?;
        Ok(Self { encoder, classifier: Box::new(CandleClassifier::open(&folder).map_err(usage)?) })
    }

    /// Opens only the encoding and tokenizer.
    pub fn encoder(path: &Path) -> anyhow::Result<Encoder> {
        if is_bundle(path) {
            return Ok(Bundle::open(path).map_err(usage)?.encoder().clone());
        }
        let folder = model_folder::resolve(path).map_err(usage)?;
        model_folder::read_encoder(&folder).map_err(usage)
    }
}

/// Whether a folder is a bundle.
pub fn is_bundle(path: &Path) -> bool {
    path.join(MANIFEST_FILE).is_file()
}
