//! Reading and writing receipts and JSON lines for the commands.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use layoutlm_core::receipt::{BadLines, Receipt, read_jsonl};
use serde::Serialize;

use crate::exit::usage;

/// Reads receipts from a file or, for `-`, from stdin; says on stderr what was skipped.
pub fn read(path: &Path, skip_bad_lines: bool) -> anyhow::Result<Vec<Receipt>> {
    let bad = if skip_bad_lines { BadLines::Skip } else { BadLines::Refuse };
    let name = path.display().to_string();
    let read = if name == "-" {
        read_jsonl(io::stdin().lock(), "stdin", bad)
    } else {
        let file = File::open(path).with_context(|| format!("{name}: can't be read")).map_err(usage)?;
        if path.is_dir() {
            return Err(usage(anyhow::anyhow!("{name}: is a folder, expected a JSONL file of receipts")));
        }
        read_jsonl(BufReader::new(file), &name, bad)
    };
    let read = read.map_err(|e| usage(anyhow::anyhow!("{e} (--skip-bad-lines goes on without it)")))?;
    for line in &read.skipped {
        eprintln!("skipped {line}");
    }
    if !read.skipped.is_empty() {
        eprintln!("{} bad lines skipped", read.skipped.len());
    }
    Ok(read.receipts)
}

/// JSON lines to a file, complete or not there at all, or to stdout as they come.
pub enum JsonLines {
    /// Written to a temporary name next to the target.
    File {
        /// The unfinished file.
        writer: BufWriter<tempfile::NamedTempFile>,
        /// Its final name.
        path: PathBuf,
    },
    /// Straight to stdout.
    Stdout(BufWriter<io::Stdout>),
}

impl JsonLines {
    /// Opens a file (or `-` for stdout).
    pub fn create(path: Option<&Path>) -> anyhow::Result<Self> {
        match path.filter(|p| p.as_os_str() != "-") {
            None => Ok(Self::Stdout(BufWriter::new(io::stdout()))),
            Some(path) => {
                let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let file = tempfile::NamedTempFile::new_in(folder)
                    .with_context(|| format!("{}: can't be written", path.display()))
                    .map_err(usage)?;
                Ok(Self::File { writer: BufWriter::new(file), path: path.into() })
            }
        }
    }

    /// Appends one line.
    pub fn push(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let writer: &mut dyn Write = match self {
            Self::File { writer, .. } => writer,
            Self::Stdout(writer) => writer,
        };
        serde_json::to_writer(&mut *writer, value).map_err(io::Error::from)?;
        writer.write_all(b"\n")?;
        Ok(())
    }

    /// Brings lines on stdout to whoever reads them.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        match self {
            Self::File { writer, .. } => writer.flush()?,
            Self::Stdout(writer) => writer.flush()?,
        }
        Ok(())
    }

    /// Flushes, syncs and renames.
    pub fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Stdout(mut writer) => writer.flush()?,
            Self::File { writer, path } => {
                let file = writer.into_inner().map_err(|e| e.into_error())?;
                file.as_file().sync_all()?;
                file.persist(&path).with_context(|| format!("{}: can't be written", path.display()))?;
            }
        }
        Ok(())
    }
}
