//! Where the bundle is: `--bundle` names a folder, a link to one, or a text file that holds a folder's path.
//!
//! The indirect forms let an operator switch bundles by one atomic rename; [`BundleSource::resolve`] says where they
//! point now.

use std::io;
use std::path::{Path, PathBuf};

/// Longest pointer file.
const MOST: u64 = 64 << 10;

/// What `--bundle` named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleSource(PathBuf);

impl BundleSource {
    /// A folder, a link or a pointer file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder it points to now, links followed. What is neither folder nor file is given back as it is: opening it
    /// will say what is wrong.
    ///
    /// # Errors
    /// What the system said of a pointer file.
    pub fn resolve(&self) -> io::Result<PathBuf> {
        let folder = match std::fs::metadata(&self.0) {
            Ok(metadata) if metadata.is_file() => self.pointed(metadata.len())?,
            _ => self.0.clone(),
        };
        Ok(folder.canonicalize().unwrap_or(folder))
    }

    /// The path in a pointer file's first line; a relative one starts from the file's own folder.
    fn pointed(&self, length: u64) -> io::Result<PathBuf> {
        let wrong = |text: &str| {
            let text = format!(
                "{}: {text}; expected the path of a bundle folder on its first line",
                self.0.display()
            );
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        if length > MOST {
            return Err(wrong("is no pointer to a bundle"));
        }
        let text = std::fs::read_to_string(&self.0)?;
        let line = text.lines().next().map(str::trim).filter(|l| !l.is_empty());
        let line = line.ok_or_else(|| wrong("is empty"))?;
        Ok(self.0.parent().unwrap_or(Path::new("")).join(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_a_link_and_a_pointer_file_lead_to_the_same_place() {
        let folder = tempfile::tempdir().unwrap();
        let (root, bundle) = (folder.path(), folder.path().join("bundle-1"));
        std::fs::create_dir(&bundle).unwrap();
        std::os::unix::fs::symlink("bundle-1", root.join("link")).unwrap();
        std::fs::write(root.join("relative"), "bundle-1\nanything\n").unwrap();
        std::fs::write(root.join("absolute"), bundle.to_str().unwrap()).unwrap();
        let expected = bundle.canonicalize().unwrap();
        for name in ["bundle-1", "link", "relative", "absolute"] {
            assert_eq!(BundleSource::new(root.join(name)).resolve().unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn an_empty_or_huge_pointer_is_refused_and_a_missing_one_left_to_the_opener() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pointer");
        std::fs::write(&file, "\n").unwrap();
        assert!(BundleSource::new(&file).resolve().unwrap_err().to_string().contains("is empty"));
        std::fs::write(&file, vec![b'x'; 100_000]).unwrap();
        assert!(BundleSource::new(&file).resolve().is_err());
        let missing = folder.path().join("nowhere");
        assert_eq!(BundleSource::new(&missing).resolve().unwrap(), missing);
    }
}
