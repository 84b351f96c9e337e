//! Opening whatever `--model` names: a checkpoint folder, a run folder or a bundle.

use std::path::{Path, PathBuf};

use layoutlm_core::bundle::MANIFEST_FILE;
use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::encoder::Encoder;
use layoutlm_inference::{Bundle, Engine, EngineOptions, Runtime};
use layoutlm_trainer::model::CandleClassifier;
use layoutlm_trainer::model_folder;

use super::fetch;
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

    /// Gives the candle model as many threads as the engine, so that both sides of a comparison have the same. To be
    /// called before the first model runs.
    pub fn limit_threads(&self) -> anyhow::Result<()> {
        let Some(threads) = self.threads else { return Ok(()) };
        Ok(rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global()?)
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
    /// Tells it from every other model: answers of two models with one identity are the same.
    pub identity: String,
}

impl Model {
    /// Opens a checkpoint with candle or a bundle with ONNX Runtime.
    pub fn open(path: &Path, args: &EngineArgs) -> anyhow::Result<Self> {
        let path = &fetch::local(path, None)?;
        if is_bundle(path) {
            let bundle = Bundle::open(path).map_err(usage)?;
            let engine: Engine = bundle.engine(&args.runtime()?, args.variant.as_deref(), args.options())?;
            let (name, _, _) = bundle.variant(args.variant.as_deref())?;
            let identity = format!("{name} {}", bundle_identity(&bundle, name));
            return Ok(Self { encoder: bundle.encoder().clone(), classifier: Box::new(engine), identity });
        }
        let folder = model_folder::resolve(path).map_err(usage)?;
        let encoder = model_folder::read_encoder(&folder).map_err(usage)?;
        let classifier = Box::new(CandleClassifier::open(&folder).map_err(usage)?);
        let identity =
            format!("checkpoint {} {}", encoder.encoding().fingerprint(), weights_identity(&folder));
        Ok(Self { encoder, classifier, identity })
    }

    /// Opens only the encoding and tokenizer.
    pub fn encoder(path: &Path) -> anyhow::Result<Encoder> {
        let path = &fetch::local(path, None)?;
        if is_bundle(path) {
            return Ok(Bundle::open(path).map_err(usage)?.encoder().clone());
        }
        let folder = model_folder::resolve(path).map_err(usage)?;
        model_folder::read_encoder(&folder).map_err(usage)
    }
}

/// Encoding and graph.
fn bundle_identity(bundle: &Bundle, variant: &str) -> String {
    let manifest = bundle.manifest();
    let graph = manifest.variants.get(variant).and_then(|v| manifest.files.get(&v.file));
    format!("{} {}", manifest.fingerprint, graph.map_or("", String::as_str))
}

/// Size and time of a checkpoint's weights: hashing them would take as long as reading them.
fn weights_identity(folder: &Path) -> String {
    let entry = |name: &str| std::fs::metadata(folder.join(name)).ok();
    let Some(file) = entry("model.safetensors").or_else(|| entry("pytorch_model.bin")) else {
        return String::new();
    };
    let written = file.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    format!("{} {}", file.len(), written.unwrap_or_default().as_nanos())
}

/// Whether a folder is a bundle.
pub fn is_bundle(path: &Path) -> bool {
    path.join(MANIFEST_FILE).is_file()
}
