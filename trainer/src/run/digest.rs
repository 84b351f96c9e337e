//! What a file holds, as one number.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::files::FileError;

/// SHA-256 of a file's bytes, hexadecimal.
///
/// # Errors
/// [`FileError`] when it can't be read.
pub(super) fn sha256_of(path: &Path) -> Result<String, FileError> {
    let mut file = File::open(path).map_err(FileError::at(path))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let count = file.read(&mut buffer).map_err(FileError::at(path))?;
        if count == 0 {
            break;
        }
        hash.update(buffer.get(..count).unwrap_or_default());
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
