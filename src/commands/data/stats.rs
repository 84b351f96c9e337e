//! `data stats`: what a data set holds.

use std::collections::BTreeSet;
use std::path::PathBuf;

use layoutlm_core::encoding::Encoding;
use layoutlm_core::label::{LabelScheme, LabelSet, preset};
use layoutlm_core::receipt::{BadLines, Receipt};
use layoutlm_core::tokenize::Tokenizer;
use layoutlm_core::window::WindowRule;
use layoutlm_trainer::data::{build_vocab, load};
use layoutlm_trainer::model_folder::read_tokenizer;
use layoutlm_trainer::report::{table_text, tables};
use layoutlm_trainer::stats::DataStats;

use crate::commands::train::known_labels;
use crate::exit::usage;

/// Entries of the vocabulary made from the receipts where no tokenizer is given.
const OWN_VOCABULARY: usize = 8000;

/// Flags of `data stats`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Labelled receipts: JSONL files or folders; all parts are counted together.
    #[arg(long, required = true)]
    data: Vec<PathBuf>,
    /// Folder with the tokenizer that counts tokens; without one a vocabulary is made from the receipts.
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// Label to count, after merging; repeatable. All by default.
    #[arg(long = "allowed-label", value_delimiter = ',')]
    allowed_labels: Vec<String>,
    /// Named merges: amounts, date_time, address_phone, sroie or none.
    #[arg(long, default_value = "amounts")]
    merge_preset: String,
    /// Words per window.
    #[arg(long, default_value_t = 200)]
    window_size: usize,
    /// Words between window starts.
    #[arg(long, default_value_t = 150)]
    window_stride: usize,
    /// How to print the result.
    #[arg(long, default_value = "text", value_enum)]
    output: Output,
    /// Count lines that can't be read and go on.
    #[arg(long)]
    skip_bad_lines: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Tables for people.
    Text,
    /// One JSON object.
    Json,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let bad = if args.skip_bad_lines { BadLines::Skip } else { BadLines::Refuse };
    let data = load(&args.data, bad).map_err(usage)?;
    for line in &data.skipped {
        eprintln!("skipped {line}");
    }
    let known = known_labels(&data);
    let parts = [Some(data.train), data.validation, data.test];
    let receipts: Vec<Receipt> = parts.into_iter().flatten().flatten().collect();
    let (tokenizer, counted_by) = match &args.tokenizer {
        Some(folder) => (read_tokenizer(folder).map_err(usage)?, folder.display().to_string()),
        None => {
            let vocabulary = build_vocab(&receipts, OWN_VOCABULARY);
            (Tokenizer::from_vocab(&vocabulary, true)?, "a vocabulary made from these receipts".to_string())
        }
    };
    let window = WindowRule { size: args.window_size, stride: args.window_stride, ..WindowRule::default() };
    window.check().map_err(usage)?;
    let scheme = scheme(args, &known)?;
    let labels = LabelSet::from_entities(Vec::new())?;
    let sha256 = tokenizer.sha256().to_string();
    let encoding =
        Encoding { window, ..Encoding::new(sha256, tokenizer.lower_case(), labels, scheme.clone()) };
    let all: Vec<&Receipt> = receipts.iter().collect();
    let stats = DataStats::of(&all, &scheme, &tokenizer, &encoding)?;
    print(args.output, &stats, &counted_by)
}

fn scheme(args: &Args, known: &BTreeSet<String>) -> anyhow::Result<LabelScheme> {
    let merges = preset(&args.merge_preset).map_err(usage)?;
    let allowed = (!args.allowed_labels.is_empty()).then(|| args.allowed_labels.clone());
    LabelScheme::new(merges, allowed, known).map_err(usage)
}

#[allow(clippy::print_stdout)] // The tables are the command's result.
fn print(output: Output, stats: &DataStats, counted_by: &str) -> anyhow::Result<()> {
    if output == Output::Json {
        println!("{}", serde_json::to_string(stats)?);
        return Ok(());
    }
    println!(
        "{} receipts of {} known merchants, {} words, {} of them labelled\n",
        stats.receipts, stats.merchants, stats.words, stats.labelled_words
    );
    println!("VALID words per label, merged\n{}", table_text(&tables::merged(stats)));
    println!("Label quality\n{}", table_text(&tables::quality(stats)));
    println!("Lengths (tokens by {counted_by})\n{}", table_text(&tables::lengths(stats)));
    print!("What a token limit loses\n{}", table_text(&tables::losses(stats)));
    Ok(())
}
