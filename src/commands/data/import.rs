//! `data import`: from whatever `--data` takes to one folder of JSONL files.

use std::path::PathBuf;

use anyhow::anyhow;
use layoutlm_core::receipt::BadLines;
use layoutlm_trainer::data::load;

use crate::exit::usage;

/// Flags of `data import`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Receipts: a folder in SROIE's, CORD's or FUNSD's published layout, a folder of JSONL files, or a file;
    /// repeatable.
    #[arg(long, required = true, value_name = "PATH")]
    data: Vec<PathBuf>,
    /// Folder for train.jsonl and, where there are such parts, validation.jsonl and test.jsonl; must not exist.
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
    /// Count files and lines that can't be read and go on.
    #[arg(long)]
    skip_bad_lines: bool,
}

/// Runs the command.
#[allow(clippy::print_stdout)] // The folder is the command's result.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let output = args.output.display();
    if args.output.exists() {
        return Err(usage(anyhow!("--output {output}: exists already; name a new folder")));
    }
    let bad = if args.skip_bad_lines { BadLines::Skip } else { BadLines::Refuse };
    let data = load(&args.data, bad).map_err(usage)?;
    for line in &data.skipped {
        eprintln!("skipped {line}");
    }
    eprintln!("{}", data.description());
    let parent = args.output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(".".as_ref());
    let unwritable = |e: std::io::Error| usage(anyhow!("--output {output}: {e}"));
    std::fs::create_dir_all(parent).map_err(unwritable)?;
    // The folder appears when all of its files are complete.
    let staging = tempfile::Builder::new().prefix(".import-").tempdir_in(parent).map_err(unwritable)?;
    let parts = [
        ("train", Some(&data.train)),
        ("validation", data.validation.as_ref()),
        ("test", data.test.as_ref()),
    ];
    for (name, receipts) in parts.into_iter().filter_map(|(name, part)| Some((name, part?))) {
        super::write(&staging.path().join(format!("{name}.jsonl")), receipts)?;
    }
    layoutlm_trainer::files::publish_folder(staging, &args.output)?;
    println!("{output}");
    Ok(())
}
