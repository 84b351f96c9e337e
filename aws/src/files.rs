//! Files that are whole or not there: temporary name, sync, rename.

use std::io::{BufWriter, Write};
use std::path::Path;

use crate::error::AwsError;

/// Writes a file through a temporary one beside it.
pub(crate) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), AwsError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(AwsError::file(folder))?;
    let temporary = tempfile::Builder::new()
        .prefix(".")
        .suffix(".tmp")
        .tempfile_in(folder)
        .map_err(AwsError::file(folder))?;
    let mut writer = BufWriter::new(temporary);
    write(&mut writer).and_then(|()| writer.flush()).map_err(AwsError::file(path))?;
    let temporary = writer.into_inner().map_err(|e| AwsError::file(path)(e.into_error()))?;
    temporary.as_file().sync_all().map_err(AwsError::file(path))?;
    temporary.persist(path).map_err(|e| AwsError::file(path)(e.error))?;
    Ok(())
}
