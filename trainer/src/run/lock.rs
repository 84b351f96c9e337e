//! One process at a time in a run's folder.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::RunError;
use crate::files::FileError;

/// Holds a run's folder for this process, until it is dropped or the process ends, however it ends.
///
/// The lock is the system's, on the folder itself: it leaves no file behind.
#[derive(Debug)]
pub struct RunLock {
    _folder: File,
}

impl RunLock {
    /// Takes the folder.
    ///
    /// # Errors
    /// [`RunError::InUse`] when another process holds it, [`RunError::File`] when it can't be opened.
    pub fn take(run_dir: &Path) -> Result<Self, RunError> {
        let folder = File::open(run_dir).map_err(FileError::at(run_dir))?;
        match folder.try_lock() {
            Ok(()) => Ok(Self { _folder: folder }),
            Err(TryLockError::WouldBlock) => Err(RunError::InUse { path: run_dir.into() }),
            Err(TryLockError::Error(error)) => {
                // Some network file systems know no locks.
                tracing::debug!("{}: can't be locked: {error}", run_dir.display());
                Ok(Self { _folder: folder })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_by_one_at_a_time_and_holds_no_file_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let held = RunLock::take(folder.path()).unwrap();
        let second = RunLock::take(folder.path()).unwrap_err();
        assert!(second.to_string().contains("another process is training there"), "{second}");
        drop(held);
        RunLock::take(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
