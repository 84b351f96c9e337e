//! Labels on their way to a file: `<output>.part` grows line by line and becomes `<output>` when it is whole.
//!
//! A run that was killed leaves the part behind. The next one keeps the lines that are complete and belong to the
//! input's receipts, cuts off what is behind them, and goes on. `<output>.part.json` says what the lines were made with;
//! lines of another model or other options are never mixed.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};

use super::input::key;
use crate::exit::usage;

/// Most work that a power cut may cost.
const SYNC_EVERY: Duration = Duration::from_secs(5);

/// What makes two runs' lines interchangeable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeWith {
    /// [`Model::identity`](crate::commands::model::Model::identity).
    pub model: String,
    /// `--probabilities`.
    pub probabilities: bool,
    /// `--line-items`.
    pub line_items: bool,
    /// Version of the program.
    pub version: String,
}

/// A file of labels that is being written.
pub struct Part {
    writer: BufWriter<File>,
    path: PathBuf,
    made_with: PathBuf,
    target: PathBuf,
    synced: Instant,
}

/// Of a line, what says whose it is.
#[derive(Deserialize)]
struct Owner {
    image_id: String,
    receipt_id: u32,
}

impl Part {
    /// Opens the part of `target`, new or as an earlier run left it, and says how many receipts it holds already.
    pub fn open(target: &Path, made_with: &MadeWith, keys: &[u64]) -> anyhow::Result<(Self, usize)> {
        let path = beside(target, ".part");
        let note = beside(target, ".part.json");
        let failed = || format!("{}: can't be written", target.display());
        if target.is_dir() {
            return Err(usage(anyhow!("{}: is a folder, expected a file name", target.display())));
        }
        if path.is_file() {
            expect_same(&path, &note, made_with)?;
        } else {
            write_note(&note, made_with).with_context(failed).map_err(usage)?;
        }
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.as_mut().map_err(|e| usage(anyhow!("{}: {e}", failed())))?;
        let (done, length) = complete(file, keys).with_context(|| path.display().to_string())?;
        file.set_len(length)?;
        file.seek(SeekFrom::Start(length))?;
        let writer = BufWriter::with_capacity(1 << 18, file.try_clone()?);
        let part = Self { writer, path, made_with: note, target: target.into(), synced: Instant::now() };
        Ok((part, done))
    }

    /// Appends one line.
    pub fn push(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.writer, value).map_err(std::io::Error::from)?;
        self.writer.write_all(b"\n")?;
        if self.synced.elapsed() >= SYNC_EVERY {
            self.keep()?;
        }
        Ok(())
    }

    /// Brings everything so far to the disk.
    pub fn keep(&mut self) -> anyhow::Result<()> {
        self.writer.flush()?;
        self.writer.get_ref().sync_data()?;
        self.synced = Instant::now();
        Ok(())
    }

    /// Gives the whole file its name.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.keep()?;
        fs::rename(&self.path, &self.target).with_context(|| self.target.display().to_string())?;
        fs::remove_file(&self.made_with).with_context(|| self.made_with.display().to_string())?;
        let folder = self.target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(File::open(folder)?.sync_all()?)
    }
}

fn beside(target: &Path, ending: &str) -> PathBuf {
    let mut name = target.as_os_str().to_os_string();
    name.push(ending);
    name.into()
}

fn write_note(note: &Path, made_with: &MadeWith) -> anyhow::Result<()> {
    let folder = note.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(&mut file, made_with)?;
    file.as_file().sync_all()?;
    file.persist(note)?;
    Ok(())
}

fn expect_same(path: &Path, note: &Path, made_with: &MadeWith) -> anyhow::Result<()> {
    let found: Option<MadeWith> =
        fs::read_to_string(note).ok().and_then(|text| serde_json::from_str(&text).ok());
    if found.as_ref() == Some(made_with) {
        return Ok(());
    }
    let text =
        "was begun with another model, other options or another version; go on with those, or remove it";
    Err(usage(anyhow!("{} {text}", path.display())))
}

/// How many lines from the start are whole and belong to the input's receipts, and where the last of them ends.
fn complete(file: &mut File, keys: &[u64]) -> anyhow::Result<(usize, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut done, mut length) = (0, 0);
    let mut line = Vec::new();
    for expected in keys {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        let Ok(owner) = serde_json::from_slice::<Owner>(&line) else { break };
        if line.last() != Some(&b'\n') || key(&owner.image_id, owner.receipt_id) != *expected {
            break;
        }
        done += 1;
        length += line.len() as u64;
    }
    Ok((done, length))
}
