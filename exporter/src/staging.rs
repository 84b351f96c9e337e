//! The output folder: whole, or not there at all.
//!
//! Everything is written into a hidden folder beside the output, synced, and renamed into place. An older bundle is
//! replaced; any other content is left alone.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use layoutlm_core::bundle::MANIFEST_FILE;
use layoutlm_trainer::files::FileError;
use serde_json::Value;
use tempfile::TempDir;

use crate::error::ExportError;

/// A bundle folder under construction; dropped without [`Staging::publish`], nothing remains.
#[derive(Debug)]
pub(crate) struct Staging {
    folder: TempDir,
    target: PathBuf,
}

impl Staging {
    /// Refuses an output that must not be replaced: a file, or a folder with anything but a bundle in it.
    ///
    /// # Errors
    /// [`ExportError::Output`].
    pub(crate) fn check(output: &Path) -> Result<(), ExportError> {
        let refuse = |reason: &str| {
            Err(ExportError::Output { path: output.to_path_buf(), reason: reason.to_string() })
        };
        if output.file_name().is_none() && !output.is_dir() {
            return refuse("is no name for a folder");
        }
        let Ok(found) = fs::metadata(output) else { return Ok(()) };
        if !found.is_dir() {
            return refuse("is a file; name a folder for the bundle");
        }
        let empty = fs::read_dir(output).is_ok_and(|mut entries| entries.next().is_none());
        if empty || is_bundle(output) {
            Ok(())
        } else {
            refuse("holds something other than a bundle; name a new folder, or an older bundle to replace")
        }
    }

    /// Makes the hidden folder beside `output`.
    ///
    /// # Errors
    /// [`ExportError`] when the output is refused or its parent can't be written.
    pub(crate) fn new(output: &Path) -> Result<Self, ExportError> {
        Self::check(output)?;
        // A link is followed, so that the folder behind it is replaced and not the link.
        let target = if output.exists() {
            output.canonicalize().map_err(FileError::at(output))?
        } else {
            std::path::absolute(output).map_err(FileError::at(output))?
        };
        let parent = target.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(FileError::at(parent))?;
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = tempfile::Builder::new().prefix(&format!(".{name}.new-")).tempdir_in(parent);
        Ok(Self { folder: folder.map_err(FileError::at(parent))?, target })
    }

    /// The folder to write into.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes one file, synced.
    ///
    /// # Errors
    /// [`FileError`].
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        let path = self.path().join(name);
        let write = || -> io::Result<()> {
            let mut file = File::create_new(&path)?;
            io::Write::write_all(&mut file, bytes)?;
            file.sync_all()
        };
        write().map_err(FileError::at(&path))
    }

    /// Takes a file away again.
    ///
    /// # Errors
    /// [`FileError`].
    pub(crate) fn remove(&self, name: &str) -> Result<(), FileError> {
        let path = self.path().join(name);
        fs::remove_file(&path).map_err(FileError::at(&path))
    }

    /// Puts the finished folder in its place.
    ///
    /// # Errors
    /// [`FileError`]; an older bundle is then back where it was.
    pub(crate) fn publish(self) -> Result<(), FileError> {
        let at = || FileError::at(&self.target);
        share(self.path()).and_then(|()| sync(self.path())).map_err(at())?;
        let parent = self.target.parent().unwrap_or(Path::new("/"));
        let retired = if self.target.exists() {
            let holder =
                tempfile::Builder::new().prefix(".old-").tempdir_in(parent).map_err(FileError::at(parent))?;
            fs::rename(&self.target, holder.path().join("bundle")).map_err(at())?;
            Some(holder)
        } else {
            None
        };
        if let Err(error) = fs::rename(self.path(), &self.target) {
            if let Some(holder) = &retired {
                // Should this fail as well, the first error is the one to tell.
                let _ = fs::rename(holder.path().join("bundle"), &self.target);
            }
            return Err(at()(error));
        }
        sync(parent).map_err(FileError::at(parent))
    }
}

/// Whether a folder holds a bundle of any age.
fn is_bundle(folder: &Path) -> bool {
    let manifest = fs::read_to_string(folder.join(MANIFEST_FILE)).unwrap_or_default();
    let manifest: Value = serde_json::from_str(&manifest).unwrap_or_default();
    manifest.get("format_version").is_some() && manifest.get("encoding").is_some()
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Temporary folders are closed to other users; a bundle is for whoever serves it.
#[cfg(unix)]
fn share(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn share(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_unpublished_folder_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let staging = Staging::new(&parent.path().join("deep/bundle")).unwrap();
        staging.write("a", b"x").unwrap();
        drop(staging);
        assert_eq!(names(&parent.path().join("deep")), [""; 0]);
    }

    #[test]
    fn an_older_bundle_is_replaced_and_other_content_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let output = parent.path().join("bundle");
        for content in ["one", "two"] {
            let staging = Staging::new(&output).unwrap();
            staging.write(MANIFEST_FILE, br#"{"format_version":1,"encoding":{}}"#).unwrap();
            staging.write(content, b"").unwrap();
            staging.publish().unwrap();
        }
        assert_eq!(names(&output), [MANIFEST_FILE, "two"]);
        assert_eq!(names(parent.path()), ["bundle"]);
        fs::write(output.join(MANIFEST_FILE), "{}").unwrap();
        let error = Staging::new(&output).unwrap_err();
        assert!(error.is_bad_input() && error.to_string().contains("other than a bundle"), "{error}");
    }

    #[test]
    fn a_file_and_a_bare_root_are_refused_and_an_empty_folder_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("f");
        fs::write(&file, "").unwrap();
        assert!(Staging::check(&file).unwrap_err().to_string().contains("is a file"));
        assert!(Staging::check(Path::new("/")).is_err());
        let empty = parent.path().join("empty");
        fs::create_dir(&empty).unwrap();
        Staging::new(&empty).unwrap().publish().unwrap();
        assert!(empty.is_dir());
    }

    #[cfg(unix)]
    #[test]
    fn a_published_bundle_is_readable_by_others() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let output = parent.path().join("b");
        Staging::new(&output).unwrap().publish().unwrap();
        assert_eq!(fs::metadata(&output).unwrap().permissions().mode() & 0o777, 0o755);
    }
}
