//! Opens a bundle folder: every file is held against the manifest before anything is used.
//!
//! A [`Bundle`] that exists is a folder whose hashes, fingerprint, tokenizer and configuration agree. Whether its graph
//! answers as it should on this machine is [`replay`](crate::replay)'s business.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use layoutlm_core::bundle::{
    BundleError, CONFIG_FILE, Certificate, MANIFEST_FILE, Manifest, PROBE_FILE, TOKENIZER_FILE, Variant,
};
use layoutlm_core::config::ModelConfig;
use layoutlm_core::encoder::{Encoder, EncoderError};
use layoutlm_core::tokenize::Tokenizer;
use sha2::{Digest, Sha256};

use crate::engine::{Engine, EngineError, EngineOptions, Model, WindowSession};
use crate::runtime::Runtime;

/// Key under which a graph's own metadata holds [`Encoding::fingerprint`](layoutlm_core::encoding::Encoding::fingerprint).
pub const FINGERPRINT_KEY: &str = "layoutlm.fingerprint";

/// Most bytes of a manifest, configuration or tokenizer file.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// Why a folder is not a bundle to serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The manifest or a file it names is missing, damaged or contradicts another.
    #[error("{}: {source}", folder.display())]
    Bundle {
        /// The bundle's folder.
        folder: PathBuf,
        /// What is wrong.
        source: BundleError,
    },
    /// The tokenizer does not belong to the encoding.
    #[error("{}: {source}", folder.display())]
    Encoder {
        /// The bundle's folder.
        folder: PathBuf,
        /// What is wrong.
        source: EncoderError,
    },
    /// The variant asked for is not there.
    #[error("{}: there is no variant {wanted:?}; it holds {}", folder.display(), held.join(", "))]
    Variant {
        /// The bundle's folder.
        folder: PathBuf,
        /// As asked for.
        wanted: String,
        /// What there is.
        held: Vec<String>,
    },
    /// The graph can't be run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The graph was exported with another encoding than the manifest's.
    #[error(
        "{}: the graph was exported with encoding {found}, but the manifest's is {expected}: export it again",
        model.display()
    )]
    Fingerprint {
        /// The graph's file.
        model: PathBuf,
        /// The manifest's fingerprint.
        expected: String,
        /// The graph's.
        found: String,
    },
    /// The graph has another number of classes than the manifest.
    #[error("{}: the graph knows {found} labels, but the manifest lists {expected}", model.display())]
    Labels {
        /// The graph's file.
        model: PathBuf,
        /// Labels in the manifest.
        expected: usize,
        /// Labels of the graph.
        found: usize,
    },
}

/// A checked bundle folder.
#[derive(Debug, Clone)]
pub struct Bundle {
    folder: PathBuf,
    manifest: Manifest,
    encoder: Encoder,
}

impl Bundle {
    /// Reads the manifest, hashes every file it names and brings encoding and tokenizer together.
    ///
    /// # Errors
    /// [`OpenError`] naming the file and what is wrong with it.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        Self::check(folder, read_manifest(folder)?, &[])
    }

    /// Opens the bundle for whoever will use one variant only (`wanted`, or the bundle's default), and reads its graph
    /// while the files are hashed. The files of other variants are neither read nor hashed: most of the time of opening
    /// a bundle. No byte of the graph reaches ONNX Runtime before its hash was seen to be right.
    ///
    /// # Errors
    /// [`OpenError`] naming the file and what is wrong with it.
    pub fn open_variant(
        folder: &Path,
        runtime: &Runtime,
        wanted: Option<&str>,
    ) -> Result<(Self, Model), OpenError> {
        let manifest = read_manifest(folder)?;
        let (_, used) = pick(folder, &manifest, wanted)?;
        let path = folder.join(&used.file);
        let others = manifest.variants.values().map(|v| &v.file).filter(|file| **file != used.file);
        let unused: Vec<String> = others.flat_map(|file| [file.clone(), format!("{file}.data")]).collect();
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| Model::read(runtime, &path));
            let bundle = Self::check(folder, manifest, &unused)?;
            let panicked =
                |_| Err(EngineError::Open { path: path.clone(), reason: "reading it panicked".into() });
            Ok((bundle, reading.join().unwrap_or_else(panicked)?))
        })
    }

    /// Reads and checks all that a manifest names but for the files in `unused`.
    fn check(folder: &Path, manifest: Manifest, unused: &[String]) -> Result<Self, OpenError> {
        let wrong = |source: BundleError| OpenError::Bundle { folder: folder.to_path_buf(), source };
        for name in manifest.files.keys().filter(|name| !unused.contains(name)) {
            let found = hash_file(folder, name).map_err(wrong)?;
            manifest.check_hash(name, &found).map_err(wrong)?;
        }
        let config = ModelConfig::from_json(&read_text(folder, CONFIG_FILE).map_err(wrong)?)
            .map_err(|e| wrong(BundleError::Inconsistent(e.to_string())))?;
        if config != manifest.model_config {
            let text = format!("model_config differs from {CONFIG_FILE}");
            return Err(wrong(BundleError::Inconsistent(text)));
        }
        let tokenizer = read_text(folder, TOKENIZER_FILE).map_err(wrong)?;
        let encoder = Tokenizer::from_json(tokenizer.as_bytes())
            .map_err(EncoderError::from)
            .and_then(|tokenizer| Encoder::new(manifest.encoding.clone(), tokenizer))
            .map_err(|source| OpenError::Encoder { folder: folder.to_path_buf(), source })?;
        Ok(Self { folder: folder.to_path_buf(), manifest, encoder })
    }

    /// The folder as given.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Receipts in, windows out.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The probe's file.
    pub fn probe_path(&self) -> PathBuf {
        self.folder.join(PROBE_FILE)
    }

    /// Name, file and certificate of a variant: `wanted`, or the bundle's default.
    ///
    /// # Errors
    /// [`OpenError::Variant`] listing what there is.
    pub fn variant(&self, wanted: Option<&str>) -> Result<(&str, PathBuf, &Certificate), OpenError> {
        let (name, variant) = pick(&self.folder, &self.manifest, wanted)?;
        Ok((name, self.folder.join(&variant.file), &variant.certificate))
    }

    /// Opens a variant's graph behind the classifier seam; see [`Bundle::sessions`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn engine(
        &self,
        runtime: &Runtime,
        variant: Option<&str>,
        options: EngineOptions,
    ) -> Result<Engine, OpenError> {
        let threads = vec![options.threads; options.sessions.max(1)];
        Ok(Engine::of(self.sessions(runtime, variant, &threads)?))
    }

    /// Opens a variant's graph once per entry of `threads`, with so many threads, over one copy of its weights, and
    /// holds its metadata and classes against the manifest.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn sessions(
        &self,
        runtime: &Runtime,
        variant: Option<&str>,
        threads: &[usize],
    ) -> Result<Vec<WindowSession>, OpenError> {
        let (_, path, _) = self.variant(variant)?;
        let sessions = Model::read(runtime, &path)?.sessions(threads)?;
        sessions.first().map_or(Ok(()), |session| self.check_session(&path, session))?;
        Ok(sessions)
    }

    /// Holds an opened graph's metadata and classes against the manifest; `model` is its file.
    ///
    /// # Errors
    /// [`OpenError::Fingerprint`] or [`OpenError::Labels`].
    pub(crate) fn check_session(&self, model: &Path, session: &WindowSession) -> Result<(), OpenError> {
        let model = model.to_path_buf();
        let expected = &self.manifest.fingerprint;
        if let Some(found) = session.metadata(FINGERPRINT_KEY).filter(|found| found != expected) {
            return Err(OpenError::Fingerprint { model, expected: expected.clone(), found });
        }
        let (expected, found) = (self.manifest.labels.len(), session.num_labels());
        if expected != found {
            return Err(OpenError::Labels { model, expected, found });
        }
        Ok(())
    }
}

/// The variant asked for, or the default.
fn pick<'m>(
    folder: &Path,
    manifest: &'m Manifest,
    wanted: Option<&str>,
) -> Result<(&'m str, &'m Variant), OpenError> {
    let name = wanted.unwrap_or(&manifest.default_variant);
    let found = manifest.variants.get_key_value(name).map(|(name, variant)| (name.as_str(), variant));
    found.ok_or_else(|| OpenError::Variant {
        folder: folder.to_path_buf(),
        wanted: name.to_string(),
        held: manifest.variants.keys().cloned().collect(),
    })
}

fn read_manifest(folder: &Path) -> Result<Manifest, OpenError> {
    let text = read_text(folder, MANIFEST_FILE).and_then(|text| Manifest::from_json(&text));
    text.map_err(|source| OpenError::Bundle { folder: folder.to_path_buf(), source })
}

fn file_error(name: &str, reason: impl ToString) -> BundleError {
    BundleError::File { file: name.to_string(), reason: reason.to_string() }
}

/// Opens a plain file; anything else (a pipe, a device) could be read for ever.
fn open_file(folder: &Path, name: &str) -> Result<(File, u64), BundleError> {
    let path = folder.join(name);
    let metadata = std::fs::metadata(&path).map_err(|e| file_error(name, e))?;
    if !metadata.is_file() {
        return Err(file_error(name, "is not a plain file"));
    }
    let file = File::open(&path).map_err(|e| file_error(name, e))?;
    Ok((file, metadata.len()))
}

fn read_text(folder: &Path, name: &str) -> Result<String, BundleError> {
    let (file, length) = open_file(folder, name)?;
    if length > MAX_TEXT_BYTES {
        return Err(file_error(name, format!("{length} bytes; at most {MAX_TEXT_BYTES} are expected")));
    }
    let mut text = String::new();
    file.take(MAX_TEXT_BYTES).read_to_string(&mut text).map_err(|e| file_error(name, e))?;
    Ok(text)
}

/// SHA-256 of a file, lower-case hex, read in pieces.
fn hash_file(folder: &Path, name: &str) -> Result<String, BundleError> {
    let (mut file, _) = open_file(folder, name)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0u8; 1 << 20];
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => hasher.update(piece.get(..read).unwrap_or_default()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(file_error(name, e)),
        }
    }
    Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_manifest_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let text = Bundle::open(folder.path()).unwrap_err().to_string();
        assert!(text.contains("manifest.json") && text.contains(folder.path().to_str().unwrap()), "{text}");
    }

    #[test]
    fn a_device_is_not_read() {
        let text = hash_file(Path::new("/dev"), "zero").unwrap_err().to_string();
        assert!(text.contains("not a plain file"), "{text}");
    }

    #[test]
    fn the_hash_is_that_of_the_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = vec![7u8; (1 << 20) + 5];
        std::fs::write(folder.path().join("x"), &bytes).unwrap();
        assert_eq!(hash_file(folder.path(), "x").unwrap(), layoutlm_core::encoding::sha256_hex(&bytes));
    }
}
