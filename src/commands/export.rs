//! `export`: a checkpoint as an ONNX bundle with its proof.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use layoutlm_core::bundle::{Certificate, LayerProduct, Limits, Manifest, Quantization};
use layoutlm_core::classifier::{ClassifierError, TokenClassifier};
use layoutlm_core::receipt::Receipt;
use layoutlm_exporter::{
    Evidence, ExportError, ExportOptions, Progress, Signature, TableStorage, UnknownVariant, VariantKind,
    Watch, export,
};
use layoutlm_inference::{Engine, EngineOptions, Runtime};

use super::fetch::JobArgs;
use super::model::EngineArgs;
use super::receipts::read;
use crate::exit::{Interrupted, not_proven, usage};
use crate::{interrupt, progress};

/// Rows of the sensitivity table that are shown; the manifest holds all.
const SENSITIVITIES_SHOWN: usize = 12;

/// Flags of `export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Checkpoint folder, or a run folder whose best checkpoint is meant; also an s3:// address.
    #[arg(long)]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    job: JobArgs,
    /// Bundle folder to write; an older bundle there is replaced.
    #[arg(long)]
    output: PathBuf,
    /// Graphs to write: fp32, fused, int8.
    #[arg(long, alias = "precision", value_delimiter = ',', default_value = "fp32", value_parser = variant)]
    variants: Vec<VariantKind>,
    /// Which of them is model.onnx [default: the first]
    #[arg(long, value_parser = variant)]
    default_variant: Option<VariantKind>,
    /// Receipts to prove on [default: the run's validation receipts, else built-in ones]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Which file of a --data folder to use.
    #[arg(long, default_value = "validation")]
    split: String,
    /// Largest |Δlogit| of fp32 and fused graphs.
    #[arg(long, default_value_t = 1e-3)]
    max_logit_diff: f64,
    /// Largest share of labels that int8 may change, 0..1.
    #[arg(long, default_value_t = Limits::INT8.max_flip_rate)]
    max_flip_rate: f64,
    /// Largest loss of F1 by int8.
    #[arg(long, default_value_t = Limits::INT8.max_f1_drop)]
    max_f1_drop: f64,
    /// Keep attention_mask and token_type_ids in fused and int8 graphs, for programs that run them on padded batches.
    #[arg(long)]
    padding: bool,
    /// How int8 stores embedding tables: float, half, int8.
    #[arg(long, default_value = "half", value_parser = tables)]
    tables: TableStorage,
    /// Leave outlier channels of activations where they are when quantising.
    #[arg(long)]
    no_smoothing: bool,
    /// Refuse int8 beyond its limits, rather than leave the products that cost most in float.
    #[arg(long)]
    all_int8: bool,
    /// Put weights beside the graphs, as is done anyway above 2 GiB; ONNX Runtime then maps them instead of copying.
    #[arg(long)]
    external_data: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

fn tables(name: &str) -> Result<TableStorage, String> {
    match name {
        "float" => Ok(TableStorage::Float),
        "half" => Ok(TableStorage::Half),
        "int8" => Ok(TableStorage::Int8),
        _ => Err("expected float, half or int8".into()),
    }
}

fn variant(name: &str) -> Result<VariantKind, UnknownVariant> {
    name.parse()
}

/// Runs the command.
#[allow(clippy::print_stdout)] // The folder is the command's result.
pub fn run(args: Args) -> anyhow::Result<()> {
    for (flag, value) in [
        ("--max-logit-diff", args.max_logit_diff),
        ("--max-flip-rate", args.max_flip_rate),
        ("--max-f1-drop", args.max_f1_drop),
    ] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(usage(anyhow::anyhow!("{flag} {value}: must be a number, at least 0")));
        }
    }
    args.engine.limit_threads()?;
    let evidence = args.data.as_deref().map(|data| evidence(data, &args.split)).transpose()?;
    let mut options = ExportOptions {
        variants: args.variants,
        default_variant: args.default_variant,
        evidence,
        exact_limits: Limits { max_abs_logit_diff: Some(args.max_logit_diff), ..Limits::EXACT },
        int8_limits: Limits {
            max_flip_rate: args.max_flip_rate,
            max_f1_drop: args.max_f1_drop,
            ..Limits::INT8
        },
        signature: if args.padding { Signature::Padded } else { Signature::Unpadded },
        tables: args.tables,
        smoothing: !args.no_smoothing,
        fall_back: !args.all_int8,
        threads: args.engine.threads(),
        git_revision: option_env!("LAYOUTLM_GIT_REVISION").map(String::from),
        ..ExportOptions::default()
    };
    if args.external_data {
        options.external_above = 0;
    }
    let checkpoint = args.job.checkpoint(args.checkpoint.as_deref())?;
    let manifest = write_bundle(&checkpoint, &args.output, &options, &args.engine)?;
    show(&manifest);
    println!("{}", args.output.display());
    Ok(())
}

/// Receipts to prove on, from a file or a folder's split.
pub fn evidence(data: &Path, split: &str) -> anyhow::Result<Evidence> {
    let path = if data.is_dir() { data.join(format!("{split}.jsonl")) } else { data.to_path_buf() };
    Ok(Evidence { name: path.display().to_string(), receipts: read(&path, false)? })
}

/// Exports fp32 proven on `receipts`, and shows the certificate.
pub fn export_bundle(
    checkpoint: &Path,
    output: &Path,
    receipts: Vec<Receipt>,
    engine: &EngineArgs,
) -> anyhow::Result<()> {
    let evidence = Some(Evidence { name: "validation".into(), receipts });
    let options = ExportOptions { evidence, threads: engine.threads(), ..ExportOptions::default() };
    show(&write_bundle(checkpoint, output, &options, engine)?);
    Ok(())
}

fn write_bundle(
    checkpoint: &Path,
    output: &Path,
    options: &ExportOptions,
    engine: &EngineArgs,
) -> anyhow::Result<Manifest> {
    let stop = interrupt::flag()?;
    let runtime = engine.runtime()?;
    let open = opener(&runtime, engine.threads());
    watched(&stop, |watch| export(checkpoint, output, options, &open, watch))
}

/// Opens graphs for a proof: all threads in one session, as the reference has them.
pub fn opener(
    runtime: &Runtime,
    threads: usize,
) -> impl Fn(&Path, VariantKind) -> Result<Box<dyn TokenClassifier>, ClassifierError> + '_ {
    move |file, _| {
        crate::allocator::trim();
        Ok(Box::new(Engine::open(runtime, file, EngineOptions { sessions: 1, threads })?))
    }
}

/// Runs exporter work under a progress bar and sorts its errors into exit codes.
pub fn watched<T>(
    stop: &AtomicBool,
    work: impl FnOnce(Watch<'_>) -> Result<T, ExportError>,
) -> anyhow::Result<T> {
    let bar = RefCell::new(progress::bar(0, "windows"));
    let report = |step: Progress<'_>| {
        let bar = bar.borrow_mut();
        match step {
            Progress::Writing(what) => {
                // What the model before this one had; C++ keeps it otherwise.
                crate::allocator::trim();
                bar.set_message(format!("writing {what}"));
            }
            Progress::Windows { model, done, total } => {
                bar.set_message(model.to_string());
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            }
            _ => {}
        }
    };
    let result = work(Watch { progress: &report, stop });
    bar.borrow().finish_and_clear();
    result.map_err(|error| match error {
        ExportError::Proof(_) => not_proven(error),
        ExportError::Interrupted => Interrupted(error.to_string()).into(),
        ExportError::Folder(_)
        | ExportError::Weights(_)
        | ExportError::Checkpoint { .. }
        | ExportError::Output { .. }
        | ExportError::Evidence { .. }
        | ExportError::Bundle { .. }
        | ExportError::Options(_) => usage(error),
        _ => error.into(),
    })
}

fn show(manifest: &Manifest) {
    eprintln!("fingerprint {}", manifest.fingerprint);
    for (name, variant) in &manifest.variants {
        show_certificate(name, &variant.certificate);
        if let Some(quantization) = &variant.quantization {
            show_quantization(name, quantization, &variant.certificate);
        }
    }
}

/// One variant's certificate, for people.
pub fn show_certificate(name: &str, c: &Certificate) {
    let f1 = match (c.f1_reference, c.f1) {
        (Some(reference), Some(f1)) => format!(", F1 {f1:.4} (candle {reference:.4})"),
        _ => String::new(),
    };
    eprintln!(
        "{name}: {} windows, {} words of {}: max |Δlogit| {:.2e}, mean {:.2e}, {} label flips ({:.1} \
         per 10,000 words){f1}",
        c.windows,
        c.words,
        c.data,
        c.max_abs_logit_diff,
        c.mean_abs_logit_diff,
        c.label_flips,
        c.flips_per_10k_words
    );
    if let Some(l) = &c.latency_ms {
        eprintln!(
            "{name}: {:.2} ms a window (candle {:.2}), {} threads, {}",
            l.variant, l.reference, l.threads, l.cpu
        );
    }
}

/// How int8 came about, for people.
fn show_quantization(name: &str, q: &Quantization, c: &Certificate) {
    let list = |products: &[LayerProduct]| {
        let names = products.iter().map(|p| format!("{}.{}", p.layer, p.product));
        names.collect::<Vec<_>>().join(", ")
    };
    if !q.smoothed.is_empty() {
        eprintln!("{name}: outliers moved into the weights of {}", list(&q.smoothed));
    }
    let Some(all) = &q.all_int8 else { return };
    let now = c.latency_ms.as_ref().map_or(0.0, |l| l.variant);
    eprintln!(
        "{name}: with every product in int8 {}; left in float: {} ({:.2} ms a window instead of {:.2})",
        all.reason,
        list(&q.float),
        now,
        all.latency_ms
    );
    eprintln!(
        "{name}: mean |Δlogit| of each in int8 alone (of all together {:.2e}):",
        all.mean_abs_logit_diff
    );
    for s in q.sensitivity.iter().take(SENSITIVITIES_SHOWN) {
        eprintln!("{name}:   {}.{}: {:.2e}", s.product.layer, s.product.product, s.mean_abs_logit_diff);
    }
}
