//! A run's folder kept in step with its prefix in S3.
//!
//! Files that are there already are not sent again, not even after a restart; a big file that was half way goes on
//! with its next part.

use std::fs;
use std::path::{Path, PathBuf};

use super::bucket::Bucket;
use super::sync_state::{FileStamp, SyncState};
use super::uri::RunPlace;
use crate::connect::Aws;
use crate::error::AwsError;

/// Where checkpoints wait to be sent.
const ASIDE: &str = ".upload";
/// Files that say that a folder is whole go last: a run that is cut off leaves no checkpoint or bundle that seems so.
const MARKS: [&str; 2] = ["manifest.json", "trainer_state.json"];
/// Records on their way to the table, which are nobody else's business.
const JOURNAL: &str = "job-records.jsonl";

/// One run on its way to S3.
#[derive(Debug)]
pub struct RunSync {
    bucket: Bucket,
    place: RunPlace,
    run_dir: PathBuf,
    state: SyncState,
}

/// What one upload did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyncReport {
    /// Files sent.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were there already.
    pub unchanged: usize,
}

impl RunSync {
    /// Of a run's folder and its place, which is remembered in the folder.
    ///
    /// # Errors
    /// [`AwsError::File`].
    pub fn new(aws: &Aws, place: RunPlace, run_dir: &Path) -> Result<Self, AwsError> {
        let state = SyncState::open(run_dir, &place.root, aws.region());
        state.save()?;
        Ok(Self { bucket: aws.bucket(&place.root.bucket), place, run_dir: run_dir.into(), state })
    }

    /// Where a run was last sent to, and in which region; `None` when it never was.
    pub fn destination(run_dir: &Path) -> Option<(RunPlace, String)> {
        SyncState::destination(run_dir).map(|(root, region)| (RunPlace { root }, region))
    }

    /// Sets a complete checkpoint aside for sending, so that it may be pruned meanwhile. Costs no space: its files are
    /// never written in place, so links are enough.
    ///
    /// # Errors
    /// [`AwsError::File`].
    pub fn set_aside(run_dir: &Path, checkpoint: &Path) -> Result<(), AwsError> {
        let name = file_name(checkpoint);
        let aside = run_dir.join(ASIDE);
        let (work, target) = (aside.join(format!(".{name}.tmp")), aside.join(&name));
        for old in [&work, &target] {
            if old.exists() {
                fs::remove_dir_all(old).map_err(AwsError::file(old))?;
            }
        }
        fs::create_dir_all(&work).map_err(AwsError::file(&work))?;
        for path in files_in(checkpoint)? {
            let link = work.join(file_name(&path));
            fs::hard_link(&path, &link)
                .or_else(|_| fs::copy(&path, &link).map(|_| ()))
                .map_err(AwsError::file(&path))?;
        }
        fs::rename(&work, &target).map_err(AwsError::file(&target))
    }

    /// How many checkpoints wait to be sent.
    ///
    /// # Errors
    /// [`AwsError::File`].
    pub fn waiting(run_dir: &Path) -> Result<usize, AwsError> {
        waiting(run_dir).map(|names| names.len())
    }

    /// Gives up the oldest checkpoint that waits to be sent.
    ///
    /// # Errors
    /// [`AwsError::File`].
    pub fn give_up_oldest(run_dir: &Path) -> Result<(), AwsError> {
        let Some(oldest) = waiting(run_dir)?.into_iter().next() else { return Ok(()) };
        let oldest = run_dir.join(ASIDE).join(oldest);
        fs::remove_dir_all(&oldest).map_err(AwsError::file(&oldest))
    }

    /// Sends every checkpoint that was set aside to `checkpoints/`, and removes it here.
    ///
    /// # Errors
    /// [`AwsError`]; what is not sent stays set aside.
    pub async fn checkpoints(&mut self) -> Result<SyncReport, AwsError> {
        let mut report = SyncReport::default();
        for name in waiting(&self.run_dir)? {
            report.add(self.folder(&format!("{ASIDE}/{name}"), &format!("checkpoints/{name}/")).await?);
            let sent = self.run_dir.join(ASIDE).join(&name);
            fs::remove_dir_all(&sent).map_err(AwsError::file(&sent))?;
        }
        Ok(report)
    }

    /// Where the run lies.
    pub fn place(&self) -> &RunPlace {
        &self.place
    }

    /// Sends the records at the run's root (`run.json`, `epochs.json`, reports) and `receipts/`.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn records(&mut self) -> Result<SyncReport, AwsError> {
        let mut report = SyncReport::default();
        for path in files_in(&self.run_dir)? {
            let name = file_name(&path);
            if !name.starts_with('.') && !name.ends_with(".tmp") && name != JOURNAL {
                self.file(&path, &name, &mut report).await?;
            }
        }
        if self.run_dir.join("receipts").is_dir() {
            report.add(self.folder("receipts", "receipts/").await?);
        }
        Ok(report)
    }

    /// Sends what a finished run leaves: `best/`, the checkpoints kept, and the records last, because readers take
    /// `best/model.safetensors` as the sign of a model.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn finish(&mut self) -> Result<SyncReport, AwsError> {
        let mut report = self.checkpoints().await?;
        for folder in folders_in(&self.run_dir)? {
            if folder.starts_with("checkpoint-") {
                report.add(self.folder(&folder, &format!("{folder}/")).await?);
            }
        }
        if self.run_dir.join("best").is_dir() {
            report.add(self.folder("best", "best/").await?);
        }
        report.add(self.records().await?);
        Ok(report)
    }

    /// Sends a folder of the run and everything below it.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn folder(&mut self, local: &str, remote: &str) -> Result<SyncReport, AwsError> {
        let mut report = SyncReport::default();
        let mut pending = vec![(self.run_dir.join(local), remote.to_string())];
        while let Some((folder, prefix)) = pending.pop() {
            for name in folders_in(&folder)? {
                pending.push((folder.join(&name), format!("{prefix}{name}/")));
            }
            let mut files = files_in(&folder)?;
            files.sort_by_key(|path| MARKS.contains(&file_name(path).as_str()));
            for path in files {
                self.file(&path, &format!("{prefix}{}", file_name(&path)), &mut report).await?;
            }
        }
        Ok(report)
    }

    async fn file(&mut self, path: &Path, relative: &str, report: &mut SyncReport) -> Result<(), AwsError> {
        let known = self.state.done.get(relative);
        if known.map(|stamp| stamp.is_current(path)).transpose()? == Some(true) {
            report.unchanged += 1;
            return Ok(());
        }
        let stamp = FileStamp::of(path)?;
        let key = self.place.root.join(relative).key;
        let earlier = self.state.unfinished.remove(relative).filter(|upload| upload.stamp == stamp);
        let state = &mut self.state;
        let mut keep = |upload: &super::sync_state::Multipart| {
            state.unfinished.insert(relative.into(), upload.clone());
            state.save()
        };
        self.bucket.upload(&key, path, &stamp, earlier, &mut keep).await?;
        report.files += 1;
        report.bytes += stamp.size;
        self.state.unfinished.remove(relative);
        self.state.done.insert(relative.into(), stamp);
        self.state.save()
    }
}

impl SyncReport {
    /// Adds another's counts.
    pub fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.unchanged += other.unchanged;
    }
}

/// Names of the checkpoints set aside, by step.
fn waiting(run_dir: &Path) -> Result<Vec<String>, AwsError> {
    let aside = run_dir.join(ASIDE);
    if !aside.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = folders_in(&aside)?;
    names.retain(|name| !name.starts_with('.'));
    names.sort_by_key(|name| name.rsplit('-').next().and_then(|step| step.parse::<u64>().ok()));
    Ok(names)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, AwsError> {
    let read = fs::read_dir(folder).map_err(AwsError::file(folder))?;
    let mut paths =
        read.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(AwsError::file(folder))?;
    paths.sort();
    Ok(paths)
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, AwsError> {
    Ok(entries(folder)?.into_iter().filter(|p| p.is_file()).collect())
}

fn folders_in(folder: &Path) -> Result<Vec<String>, AwsError> {
    Ok(entries(folder)?.into_iter().filter(|p| p.is_dir()).map(|p| file_name(&p)).collect())
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
