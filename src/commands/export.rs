//! `export`: a checkpoint as an ONNX bundle with its proof.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use layoutlm_core::bundle::{Certificate, Limits, Manifest};
use layoutlm_core::classifier::{ClassifierError, TokenClassifier};
use layoutlm_core::receipt::Receipt;
use layoutlm_exporter::{
    Evidence, ExportError, ExportOptions, Progress, UnknownVariant, VariantKind, Watch, export,
};
use layoutlm_inference::{Engine, EngineOptions, Runtime};

use super::model::EngineArgs;
use super::receipts::read;
use crate::exit::{Interrupted, not_proven, usage};
use crate::{interrupt, progress};

/// Flags of `export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Checkpoint folder, or a run folder whose best checkpoint is meant.
    #[arg(long)]
    checkpoint: PathBuf,
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
    #[command(flatten)]
    engine: EngineArgs,
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
    let evidence = args.data.as_deref().map(|data| evidence(data, &args.split)).transpose()?;
    let options = ExportOptions {
        variants: args.variants,
        default_variant: args.default_variant,
        evidence,
        exact_limits: Limits { max_abs_logit_diff: Some(args.max_logit_diff), ..Limits::EXACT },
        int8_limits: Limits {
            max_flip_rate: args.max_flip_rate,
            max_f1_drop: args.max_f1_drop,
            ..Limits::INT8
        },
        threads: args.engine.threads(),
        git_revision: option_env!("LAYOUTLM_GIT_REVISION").map(String::from),
    };
    let manifest = write_bundle(&args.checkpoint, &args.output, &options, &args.engine)?;
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
    move |file, _| Ok(Box::new(Engine::open(runtime, file, EngineOptions { sessions: 1, threads })?))
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
            Progress::Writing(what) => bar.set_message(format!("writing {what}")),
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
    }
}

/// One variant's certificate, for people.
pub fn show_certificate(name: &str, c: &Certificate) {
    let f1 = match (c.f1_reference, c.f1) {
        (Some(reference), Some(f1)) => format!(", F1 {f1:.4} (candle {reference:.4})"),
        _ => String::new(),
    };
    eprintln!(
        "{name}: {} windows, {} words of {}: max |Δlogit| {:.2e}, mean {:.2e}, {} label flips{f1}",
        c.windows, c.words, c.data, c.max_abs_logit_diff, c.mean_abs_logit_diff, c.label_flips
    );
    if let Some(l) = &c.latency_ms {
        eprintln!(
            "{name}: {:.2} ms a window (candle {:.2}), {} threads, {}",
            l.variant, l.reference, l.threads, l.cpu
        );
    }
}
