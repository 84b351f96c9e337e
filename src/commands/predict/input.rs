//! The receipts of a file: looked through once before anything is labelled, then read again as they are needed.

use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use layoutlm_core::receipt::{Receipt, ReceiptLines};

use crate::exit::usage;

/// A JSONL file of receipts that can be read more than once.
pub struct Input {
    path: PathBuf,
    skip_bad_lines: bool,
    /// One per receipt, in file order; see [`key`].
    keys: Vec<u64>,
}

/// What a receipt is recognised by.
pub fn key(image_id: &str, receipt_id: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (image_id, receipt_id).hash(&mut hasher);
    hasher.finish()
}

impl Input {
    /// Reads and checks every line; says on stderr what will be skipped.
    pub fn check(path: &Path, skip_bad_lines: bool) -> anyhow::Result<Self> {
        let mut keys = Vec::new();
        let mut skipped = 0;
        let mut lines = open(path)?;
        while let Some(line) = lines.next() {
            match line {
                Ok(receipt) => keys.push(key(&receipt.image_id, receipt.receipt_id)),
                Err(bad) if skip_bad_lines && !lines.has_failed() => {
                    skipped += 1;
                    eprintln!("skipped {bad}");
                }
                Err(bad) => return Err(usage(anyhow!("{bad} (--skip-bad-lines goes on without it)"))),
            }
        }
        if skipped > 0 {
            eprintln!("{skipped} bad lines skipped");
        }
        Ok(Self { path: path.into(), skip_bad_lines, keys })
    }

    /// One per receipt.
    pub fn keys(&self) -> &[u64] {
        &self.keys
    }

    /// The receipts from place `first` on.
    pub fn receipts(
        &self,
        first: usize,
    ) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Receipt>> + Send> {
        let skip_bad_lines = self.skip_bad_lines;
        let mut lines = open(&self.path)?;
        let good = std::iter::from_fn(move || {
            loop {
                match lines.next()? {
                    Err(_) if skip_bad_lines && !lines.has_failed() => {}
                    line => return Some(line.map_err(|bad| usage(anyhow!("{bad}")))),
                }
            }
        });
        Ok(good.skip(first))
    }
}

fn open(path: &Path) -> anyhow::Result<ReceiptLines<BufReader<File>>> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("{name}: can't be read")).map_err(usage)?;
    if path.is_dir() {
        return Err(usage(anyhow!("{name}: is a folder, expected a JSONL file of receipts")));
    }
    Ok(ReceiptLines::new(BufReader::with_capacity(1 << 20, file), &name))
}
