//! `predict`: labels for a file of receipts, however many, or for those of a table.

mod input;
mod part;
mod table;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use indicatif::ProgressBar;
use layoutlm_core::predict::ReceiptPrediction;
use layoutlm_core::receipt::Receipt;
use layoutlm_inference::offline::{OfflineError, label_all};

use super::fetch;
use super::model::{EngineArgs, Model};
use super::receipts::{JsonLines, read};
use crate::exit::{Interrupted, usage};
use crate::{interrupt, progress};
use input::Input;
use part::{MadeWith, Part};

/// Flags of `predict`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Checkpoint folder, run folder or bundle.
    #[arg(long)]
    model: PathBuf,
    /// Receipts, one JSON object per line; `-` is stdin.
    #[arg(long)]
    input: Option<PathBuf>,
    #[command(flatten)]
    table: table::TableArgs,
    /// Labels, one JSON object per receipt; stdout by default. Stopped or killed, the same command goes on where it was.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Add the probability of every class to every word.
    #[arg(long)]
    probabilities: bool,
    /// Add products with quantity, unit price and total, and whether they add up.
    #[arg(long)]
    line_items: bool,
    /// Count lines that can't be read and go on.
    #[arg(long)]
    skip_bad_lines: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<()> {
    let stop = interrupt::flag()?;
    if let Some(name) = &args.table.dynamo_table {
        return of_table(&args, name, &stop);
    }
    let named = |path: &&Path| path.as_os_str() != "-";
    match (can_be_read_twice(args.input()), args.output.as_deref().filter(named)) {
        (true, Some(output)) => to_part(&args, output, &stop),
        (true, None) => {
            let input = Input::check(args.input(), args.skip_bad_lines)?;
            let job = Job::new(&args, &stop, input.keys().len(), 0)?;
            to_lines(&job, input.receipts(0)?, None)
        }
        (false, output) => {
            let receipts = read(args.input(), args.skip_bad_lines)?;
            let job = Job::new(&args, &stop, receipts.len(), 0)?;
            to_lines(&job, receipts.into_iter().map(Ok), output)
        }
    }
}

/// Not stdin, a pipe or a device; what is not there is found out when it is opened.
fn can_be_read_twice(input: &Path) -> bool {
    let is_stream = |kind: std::fs::Metadata| !kind.is_file() && !kind.is_dir();
    input.as_os_str() != "-" && !std::fs::metadata(input).is_ok_and(is_stream)
}

impl Args {
    /// The file of receipts; the flags see to it that there is one where there is no table.
    fn input(&self) -> &Path {
        self.input.as_deref().unwrap_or(Path::new("-"))
    }

    /// Leaves out what was not asked for, and adds what was.
    fn finish(&self, prediction: &mut ReceiptPrediction, receipt: &Receipt) {
        if !self.probabilities {
            prediction.words.iter_mut().for_each(|w| w.probabilities = None);
        }
        if self.line_items {
            prediction.itemize(receipt);
        }
    }
}

/// Receipts of a table.
fn of_table(args: &Args, name: &str, stop: &AtomicBool) -> anyhow::Result<()> {
    let path = fetch::local(&args.model, Some(&args.table.region))?;
    let model = Model::open(&path, &args.engine)?;
    let finish = |prediction: &mut ReceiptPrediction, receipt: &Receipt| args.finish(prediction, receipt);
    table::run(&args.table, name, (&path, &model), args.output.as_deref(), stop, finish)
}

/// From a file to a file: resumable.
fn to_part(args: &Args, output: &Path, stop: &AtomicBool) -> anyhow::Result<()> {
    let input = Input::check(args.input(), args.skip_bad_lines)?;
    let total = input.keys().len();
    let mut job = Job::new(args, stop, total, 0)?;
    let made_with = MadeWith {
        model: job.model.identity.clone(),
        probabilities: args.probabilities,
        line_items: args.line_items,
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let (mut part, done) = Part::open(output, &made_with, input.keys())?;
    job.go_on_after(done);
    let finished = job.label(input.receipts(done)?, |prediction| part.push(prediction));
    part.keep()?;
    job.report(finished?)?;
    part.finish()
}

/// Anything else: a file is there when it is whole, stdout gets lines as they come.
fn to_lines(
    job: &Job<'_>,
    receipts: impl Iterator<Item = anyhow::Result<Receipt>> + Send,
    output: Option<&Path>,
) -> anyhow::Result<()> {
    let mut out = JsonLines::create(output)?;
    let finished = job.label(receipts, |prediction| out.push(prediction))?;
    if !finished {
        out.flush()?;
    }
    job.report(finished)?;
    out.finish()
}

/// What labels, and how far it has come.
struct Job<'a> {
    args: &'a Args,
    stop: &'a AtomicBool,
    model: Model,
    bar: ProgressBar,
    /// Receipts labelled by an earlier run.
    before: usize,
    begun: Instant,
}

impl<'a> Job<'a> {
    fn new(args: &'a Args, stop: &'a AtomicBool, total: usize, before: usize) -> anyhow::Result<Self> {
        let model = Model::open(&args.model, &args.engine)?;
        let bar = progress::bar(total as u64, "receipts");
        Ok(Self { args, stop, model, bar, before, begun: Instant::now() })
    }

    fn go_on_after(&mut self, done: usize) {
        if done > 0 {
            eprintln!("{done} receipts are labelled already");
        }
        self.before = done;
        self.bar.set_position(done as u64);
        self.bar.reset_eta();
        self.begun = Instant::now();
    }

    /// Labels receipts in order; false when told to stop.
    fn label(
        &self,
        receipts: impl Iterator<Item = anyhow::Result<Receipt>> + Send,
        mut push: impl FnMut(&ReceiptPrediction) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let sink = |receipt: &Receipt, mut prediction: ReceiptPrediction| {
            self.args.finish(&mut prediction, receipt);
            push(&prediction)?;
            self.bar.inc(1);
            Ok(())
        };
        let Model { encoder, classifier, .. } = &self.model;
        label_all(encoder, classifier.as_ref(), receipts, sink, self.stop).map_err(|error| match error {
            OfflineError::Outside(error) => error,
            OfflineError::Predict(error) => error.into(),
            other => anyhow::anyhow!("{other}"),
        })
    }

    /// Says how it went; an error when it was told to stop or the input was not what it was at first.
    fn report(&self, finished: bool) -> anyhow::Result<()> {
        let (all, seconds) = (self.bar.position(), self.begun.elapsed().as_secs_f64());
        let total = self.bar.length().unwrap_or(all);
        self.bar.finish_and_clear();
        if finished && all != total {
            let name = self.args.input().display();
            return Err(usage(anyhow::anyhow!(
                "{name}: changed while it was read: {all} of {total} receipts came"
            )));
        }
        if !finished {
            return Err(Interrupted(format!("interrupted after {all} of {total} receipts")).into());
        }
        let here = all.saturating_sub(self.before as u64) as f64;
        eprintln!("{here} receipts in {seconds:.1} s ({:.1} per second)", here / seconds.max(1e-9));
        Ok(())
    }
}
