//! Files that are either whole or not there: written under a temporary name, synced, renamed.
//!
//! Knows no format but indented JSON. A crash leaves at most a stray `.tmp` file beside the old content.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file or folder that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct FileError {
    /// What was to be read or written.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

impl FileError {
    /// Ties an I/O error to the path it happened on.
    pub fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self { path: path.to_path_buf(), source }
    }
}

/// Writes `path` through a temporary file in the same folder: content, fsync, rename, fsync of the folder.
///
/// # Errors
/// [`FileError`]; the old file, if any, is then untouched.
pub fn write_atomic(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), FileError> {
    replace_atomic(path, |temporary| {
        let mut writer = BufWriter::with_capacity(1 << 20, File::create(temporary)?);
        content(&mut writer)?;
        writer.flush()
    })
}

/// Writes a value as indented JSON with a final newline.
///
/// # Errors
/// [`FileError`]; the old file, if any, is then untouched.
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), FileError> {
    write_atomic(path, |f| {
        serde_json::to_writer_pretty(&mut *f, value)?;
        f.write_all(b"\n")
    })
}

/// As [`write_atomic`], for content that can only be written to a path: `write` is given the temporary one.
///
/// # Errors
/// [`FileError`]; the old file, if any, is then untouched.
pub fn replace_atomic(
    path: &Path,
    write: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary = tempfile::Builder::new()
        .prefix(".")
        .suffix(".tmp")
        .tempfile_in(folder)
        .map_err(FileError::at(folder))?
        .into_temp_path();
    write(&temporary).and_then(|()| finish(&temporary)).map_err(FileError::at(path))?;
    temporary.persist(path).map_err(|e| FileError::at(path)(e.error))?;
    sync_folder(folder).map_err(FileError::at(folder))
}

/// Gives a complete temporary folder its final name, open to readers; `target` must not exist.
///
/// # Errors
/// [`FileError`]; the temporary folder is then gone.
pub fn publish_folder(staging: tempfile::TempDir, target: &Path) -> Result<(), FileError> {
    open_to_readers(staging.path()).map_err(FileError::at(staging.path()))?;
    sync_folder(staging.path()).map_err(FileError::at(staging.path()))?;
    let staged = staging.keep();
    if let Err(e) = std::fs::rename(&staged, target) {
        // Best effort: what could not get its name is of no use.
        let _ = std::fs::remove_dir_all(&staged);
        return Err(FileError::at(target)(e));
    }
    let parent = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_folder(parent).map_err(FileError::at(parent))
}

/// Temporary folders are their owner's only; results are for whoever may read the folder around them.
#[cfg(unix)]
fn open_to_readers(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn open_to_readers(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Sets permissions (a temporary file is its owner's only) and brings the content to the disk.
fn finish(path: &Path) -> std::io::Result<()> {
    let file = File::open(path)?;
    share(&file)?;
    file.sync_all()
}

/// Makes renames within `folder` durable.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(unix)]
fn share(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn share(_file: &File) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_content_and_no_stray_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomic(&path, |w| w.write_all(b"old")).unwrap();
        let failed = write_atomic(&path, |w| {
            w.write_all(b"new")?;
            Err(std::io::Error::other("disk full"))
        });
        assert!(failed.unwrap_err().to_string().contains("a.txt: disk full"));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let text = write_atomic(Path::new("/no/such/folder/x"), |_| Ok(())).unwrap_err().to_string();
        assert!(text.starts_with("/no/such/folder: "), "{text}");
    }
}
