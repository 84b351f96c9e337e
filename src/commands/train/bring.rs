//! `--resume-from-s3`: another place's checkpoints brought into the run's folder before training looks there.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use layoutlm_trainer::run::checkpoints;

use super::cloud;
use super::sources::local;
use crate::exit::usage;

/// Brings checkpoints from `uri` unless the run's folder has some of its own, which are newer by nature.
pub fn bring(uri: &str, run_dir: &Path, region: &str) -> anyhow::Result<()> {
    if !checkpoints(run_dir).is_empty() {
        eprintln!(
            "{}: has checkpoints already, so --resume-from-s3 {uri} is not looked at",
            run_dir.display()
        );
        return Ok(());
    }
    if uri.starts_with("s3://") {
        return cloud::fetch_run(uri, run_dir, region);
    }
    let source = local(uri);
    if !source.is_dir() {
        return Err(usage(anyhow!("--resume-from-s3 {uri}: no such folder")));
    }
    // All of them, the newest first: should it be damaged, training goes on from the one before.
    let mut folders: Vec<PathBuf> = checkpoints(source).into_iter().rev().map(|(_, folder)| folder).collect();
    if folders.is_empty() {
        eprintln!("warning: --resume-from-s3 {uri}: no complete checkpoint there; training starts afresh");
        return Ok(());
    }
    let brought = folders.len();
    folders.extend(Some(source.join("best")).filter(|best| best.is_dir()));
    std::fs::create_dir_all(run_dir).with_context(|| run_dir.display().to_string())?;
    for folder in folders {
        let target = run_dir.join(folder.file_name().unwrap_or_default());
        copy_folder(&folder, &target).with_context(|| target.display().to_string())?;
    }
    eprintln!("{brought} checkpoints brought from {uri}");
    Ok(())
}

/// Copies a folder of files; it appears under its name when it is complete.
fn copy_folder(source: &Path, target: &Path) -> std::io::Result<()> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    // The trainer clears such names away when a copy was broken off.
    let work = target.with_file_name(format!(".{name}.tmp"));
    if work.exists() {
        std::fs::remove_dir_all(&work)?;
    }
    std::fs::create_dir(&work)?;
    for entry in std::fs::read_dir(source)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let copy = work.join(entry.file_name());
            std::fs::copy(entry.path(), &copy)?;
            std::fs::File::open(&copy)?.sync_all()?;
        }
    }
    std::fs::rename(&work, target)
}
