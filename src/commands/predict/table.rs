//! `predict --dynamo-table`: receipts of the table labelled, and the labels proposed to it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use layoutlm_aws::dynamo::{ReceiptKey, Table};
use layoutlm_aws::load::ReceiptDetails;
use layoutlm_aws::propose::{Guess, LeftOut, plan, write};
use layoutlm_core::bundle::{MANIFEST_FILE, Manifest};
use layoutlm_core::predict::{ReceiptPrediction, predict};
use layoutlm_core::receipt::Receipt;

use crate::cloud::Cloud;
use crate::commands::model::Model;
use crate::commands::receipts::JsonLines;
use crate::exit::{Interrupted, usage};
use crate::progress;

/// Receipts read at once.
const CHUNK: usize = 64;

/// Flags about a table.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "DynamoDB")]
pub struct TableArgs {
    /// DynamoDB table whose receipts are labelled.
    #[arg(long, value_name = "TABLE", conflicts_with = "input", required_unless_present = "input")]
    pub dynamo_table: Option<String>,
    /// AWS region of the table.
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    pub region: String,
    /// Only this receipt, <image_id>#<receipt_id>; repeatable.
    #[arg(long = "receipt", value_name = "KEY", requires = "dynamo_table")]
    pub receipts: Vec<String>,
    /// Propose the labels to the table as PENDING, or only say what would be written until --apply is given too.
    #[arg(long, requires = "dynamo_table")]
    pub write_labels: bool,
    /// Really write.
    #[arg(long, requires = "write_labels")]
    pub apply: bool,
    /// Who is named as proposer [default: the model's job]
    #[arg(long, value_name = "NAME", requires = "write_labels")]
    pub proposed_by: Option<String>,
    /// Least confidence of a proposed label, 0..1.
    #[arg(long, value_name = "P", default_value_t = 0.0, requires = "write_labels")]
    pub min_confidence: f32,
}

/// What was proposed, over all receipts.
#[derive(Default)]
struct Tally {
    proposed: usize,
    left_out: BTreeMap<LeftOut, usize>,
}

/// Labels the table's receipts.
pub fn run(
    args: &TableArgs,
    name: &str,
    model: (&Path, &Model),
    out: Option<&Path>,
    stop: &AtomicBool,
    finish: impl Fn(&mut ReceiptPrediction, &Receipt),
) -> anyhow::Result<()> {
    let (path, model) = model;
    let cloud = Cloud::connect(Some(&args.region))?;
    let table = cloud.aws.table(name);
    let keys = keys(args, &cloud, &table)?;
    let proposer = args.proposed_by.clone().unwrap_or_else(|| model_name(path));
    let mut out = JsonLines::create(out)?;
    let bar = progress::bar(keys.len() as u64, "receipts");
    let (mut tally, mut done) = (Tally::default(), 0);
    for chunk in keys.chunks(CHUNK) {
        for details in cloud.wait(ReceiptDetails::read_all(&table, chunk))? {
            if stop.load(Ordering::Relaxed) {
                out.finish()?;
                return Err(
                    Interrupted(format!("interrupted after {done} of {} receipts", keys.len())).into()
                );
            }
            details.malformed.iter().for_each(|e| eprintln!("left out: {e}"));
            let receipt = details.receipt();
            receipt.check().map_err(|e| usage(anyhow!("{}: {e}", details.head.key)))?;
            let mut prediction = predict(&model.encoder, model.classifier.as_ref(), &receipt)?;
            if args.write_labels {
                tally.propose(args, &cloud, &table, &details, &prediction, &proposer)?;
            }
            finish(&mut prediction, &receipt);
            out.push(&prediction)?;
            done += 1;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    if args.write_labels {
        tally.tell(args.apply, name, &proposer);
    }
    out.finish()
}

fn keys(args: &TableArgs, cloud: &Cloud, table: &Table) -> anyhow::Result<Vec<ReceiptKey>> {
    if args.receipts.is_empty() {
        let (keys, malformed) = cloud.wait(ReceiptDetails::keys(table))?;
        malformed.iter().for_each(|e| eprintln!("left out: {e}"));
        return Ok(keys);
    }
    let key = |text: &String| {
        ReceiptKey::from_name(text)
            .ok_or_else(|| usage(anyhow!("--receipt {text}: expected <image_id>#<receipt_id>")))
    };
    args.receipts.iter().map(key).collect()
}

impl Tally {
    fn propose(
        &mut self,
        args: &TableArgs,
        cloud: &Cloud,
        table: &Table,
        details: &ReceiptDetails,
        prediction: &ReceiptPrediction,
        proposer: &str,
    ) -> anyhow::Result<()> {
        let sure = prediction.words.iter().filter(|word| word.confidence >= args.min_confidence);
        let guess = |word: &layoutlm_core::predict::WordPrediction| {
            let entity = word.entity.clone()?;
            let confidence = f64::from(word.confidence);
            Some(Guess { line_id: word.line_id, word_id: word.word_id, entity, confidence })
        };
        let guesses: Vec<Guess> = sure.filter_map(guess).collect();
        let mut plan = plan(details, &guesses, proposer);
        if args.apply {
            cloud.wait(write(table, &mut plan))?;
        }
        self.proposed += plan.labels.len();
        for (reason, count) in plan.left_out {
            *self.left_out.entry(reason).or_default() += count;
        }
        Ok(())
    }

    fn tell(&self, applied: bool, table: &str, proposer: &str) {
        let Self { proposed, left_out } = self;
        if applied {
            eprintln!("{proposed} labels proposed to {table} as PENDING by {proposer}");
        } else {
            eprintln!(
                "{proposed} labels would be proposed to {table} by {proposer}; nothing was written (--apply writes)"
            );
        }
        for (reason, count) in left_out {
            let reason = serde_json::to_value(reason).unwrap_or_default();
            eprintln!("left out, {}: {count}", reason.as_str().unwrap_or_default().replace('_', " "));
        }
    }
}

/// The job that trained a model, else its folder's name.
fn model_name(path: &Path) -> String {
    let read = |file: &Path| std::fs::read_to_string(file).ok();
    let from_manifest = || Manifest::from_json(&read(&path.join(MANIFEST_FILE))?).ok()?.source.job_name;
    let from_run = |folder: &Path| {
        let run: serde_json::Value = serde_json::from_str(&read(&folder.join("run.json"))?).ok()?;
        run.get("job_name")?.as_str().map(String::from)
    };
    let folder = || path.file_name().map(|n| n.to_string_lossy().into_owned());
    from_manifest()
        .or_else(|| from_run(path))
        .or_else(|| from_run(path.parent()?))
        .or_else(folder)
        .unwrap_or_else(|| "layoutlm".into())
}
