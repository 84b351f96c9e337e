//! `encode`: exactly what the network is fed.

use std::path::PathBuf;

use layoutlm_core::bbox::NormalizedBox;
use serde::Serialize;

use super::model::Model;
use super::receipts::{JsonLines, read};

/// Flags of `encode`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Checkpoint folder, run folder or bundle whose encoding to use.
    #[arg(long)]
    model: PathBuf,
    /// Receipts, one JSON object per line; `-` is stdin.
    #[arg(long)]
    input: PathBuf,
    /// Windows, one JSON object per line; stdout by default.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Count lines that can't be read and go on.
    #[arg(long)]
    skip_bad_lines: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    image_id: &'a str,
    receipt_id: u32,
    window: usize,
    word_indices: &'a [usize],
    input_ids: &'a [u32],
    bbox: &'a [NormalizedBox],
    attention_mask: Vec<u8>,
    word_ids: &'a [Option<u32>],
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<()> {
    let encoder = Model::encoder(&args.model)?;
    let mut out = JsonLines::create(args.output.as_deref())?;
    for receipt in read(&args.input, args.skip_bad_lines)? {
        for (window, w) in encoder.encode(&receipt)?.windows.iter().enumerate() {
            out.push(&Row {
                image_id: &receipt.image_id,
                receipt_id: receipt.receipt_id,
                window,
                word_indices: &w.word_indices,
                input_ids: &w.input_ids,
                bbox: &w.bbox,
                attention_mask: vec![1; w.len()],
                word_ids: &w.word_ids,
            })?;
        }
    }
    out.finish()
}
