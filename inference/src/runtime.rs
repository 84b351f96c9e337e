//! Finds the ONNX Runtime library and loads it once per process.
//!
//! A missing, too old or foreign file is a [`RuntimeError`] with the way out; it never panics and never blocks on a
//! path that is not a plain file. Does not download anything: `make onnxruntime` does.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;

/// Oldest ONNX Runtime minor version whose interface this crate uses.
pub const OLDEST: &str = "1.24";
/// The version that `make onnxruntime` fetches and that releases are tested with.
pub const PINNED: &str = "1.31.1";
/// Environment variable that names the library.
pub const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

const NAMES: [&str; 2] = ["libonnxruntime.so.1", "libonnxruntime.so"];
const WAY_OUT: &str =
    "run `make onnxruntime`, or set ORT_DYLIB_PATH to libonnxruntime.so of ONNX Runtime 1.24 or newer";

/// Why ONNX Runtime could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The file named by option or environment is not there or not a file.
    #[error("ONNX Runtime: {} {reason}; {WAY_OUT}", path.display())]
    NoSuchFile {
        /// As given.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No candidate could be loaded.
    #[error("ONNX Runtime was not found ({}); {WAY_OUT}", tried.join("; "))]
    NotFound {
        /// Each place looked at, with what was wrong there.
        tried: Vec<String>,
    },
    /// The file is not a usable ONNX Runtime.
    #[error("ONNX Runtime: {} {reason}; {WAY_OUT}", path.display())]
    Unusable {
        /// The library file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The loaded library. One per process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
}

static LOADED: OnceLock<Runtime> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

impl Runtime {
    /// Loads ONNX Runtime, or hands out what this process has loaded already (whatever `explicit` says then).
    ///
    /// Looks at `explicit` (a file or a folder that holds it), else `ORT_DYLIB_PATH`, and only there when either is
    /// given; else next to the program, in `target/onnxruntime/` of the current folder and of the folders above the
    /// program, and last under the system's name.
    ///
    /// # Errors
    /// [`RuntimeError`] with every place tried. A failed attempt can be repeated.
    pub fn load(explicit: Option<&Path>) -> Result<Self, RuntimeError> {
        let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = LOADED.get() {
            return Ok(runtime.clone());
        }
        let from_environment =
            std::env::var_os(LIBRARY_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
        let runtime = match explicit.map(Path::to_path_buf).or(from_environment) {
            Some(path) => load_file(&named_file(&path)?)?,
            None => search()?,
        };
        Ok(LOADED.get_or_init(|| runtime).clone())
    }

    /// The library file that was loaded, or its bare name when the system's loader found it.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// ONNX Runtime's version as its file name has it (`libonnxruntime.so.1.31.1`), else its own build line.
    pub fn version(&self) -> String {
        let file = self.library.canonicalize().unwrap_or_else(|_| self.library.clone());
        let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        match name.split_once(".so.").filter(|(_, version)| version.contains('.')) {
            Some((_, version)) => version.to_string(),
            None => ort::info().to_string(),
        }
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// The library a person named: the file itself, or the one inside a folder.
fn named_file(path: &Path) -> Result<PathBuf, RuntimeError> {
    let fail = |reason: &str| RuntimeError::NoSuchFile { path: path.to_path_buf(), reason: reason.into() };
    let metadata = std::fs::metadata(path).map_err(|e| fail(&format!("can't be read ({e})")))?;
    if metadata.is_dir() {
        let inside = NAMES.iter().map(|name| path.join(name)).find(|file| file.is_file());
        return inside.ok_or_else(|| fail("is a folder without libonnxruntime.so"));
    }
    // Opening a pipe or a device would wait for ever.
    if metadata.is_file() { Ok(path.to_path_buf()) } else { Err(fail("is not a plain file")) }
}

fn search() -> Result<Runtime, RuntimeError> {
    let mut tried = Vec::new();
    for folder in folders() {
        match NAMES.iter().map(|name| folder.join(name)).find(|file| file.is_file()) {
            None => tried.push(format!("not in {}", folder.display())),
            Some(file) => match load_file(&file) {
                Ok(runtime) => return Ok(runtime),
                Err(error) => tried.push(without_way_out(&error)),
            },
        }
    }
    for name in NAMES {
        match load_file(Path::new(name)) {
            Ok(runtime) => return Ok(runtime),
            Err(RuntimeError::Unusable { reason, .. })
                if reason.contains("cannot open shared object file") => {}
            Err(error) => tried.push(without_way_out(&error)),
        }
    }
    tried.push(format!("{} is unknown to the system's loader", NAMES.join(" or ")));
    Err(RuntimeError::NotFound { tried })
}

fn without_way_out(error: &RuntimeError) -> String {
    match error {
        RuntimeError::Unusable { path, reason } | RuntimeError::NoSuchFile { path, reason } => {
            format!("{} {reason}", path.display())
        }
        other => other.to_string(),
    }
}

/// Where the library may lie when nobody named it, most specific first.
fn folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let program = std::env::current_exe().ok().and_then(|p| p.canonicalize().ok());
    if let Some(folder) = program.as_deref().and_then(Path::parent) {
        folders.extend([folder.to_path_buf(), folder.join("onnxruntime")]);
        folders.extend(folder.parent().map(|above| above.join("lib")));
    }
    if let Ok(current) = std::env::current_dir() {
        folders.push(current.join("target").join("onnxruntime"));
    }
    for above in program.iter().flat_map(|p| p.ancestors()).skip(2) {
        let built = above.join("target").join("onnxruntime");
        if built.is_dir() && !folders.contains(&built) {
            folders.push(built);
        }
    }
    folders
}

fn load_file(path: &Path) -> Result<Runtime, RuntimeError> {
    let fail = |reason: String| RuntimeError::Unusable { path: path.to_path_buf(), reason };
    let builder = ort::init_from(path).map_err(|e| fail(explain(&e)))?;
    let environment = builder
        .with_name("layoutlm")
        .with_telemetry(false)
        .build()
        .map_err(|e| fail(format!("does not start: {}", e.message())))?;
    Ok(Runtime { environment, library: path.to_path_buf() })
}

fn explain(error: &ort::LoadDynamicError) -> String {
    match error {
        ort::LoadDynamicError::Dlopen { error, .. } => {
            let source = std::error::Error::source(error).map(ToString::to_string);
            format!("can't be loaded ({})", source.unwrap_or_else(|| error.to_string()))
        }
        ort::LoadDynamicError::MissingApi { .. } => "is a library, but not ONNX Runtime".into(),
        ort::LoadDynamicError::BadVersion { version_str, .. } => {
            format!("is version {version_str}, older than {OLDEST}")
        }
        other => format!("is not usable ({other})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // These tests only fail to load: a success would be kept for the whole process.

    #[test]
    fn a_missing_file_is_one_sentence_with_the_way_out() {
        let text = named_file(Path::new("/nowhere/libonnxruntime.so")).unwrap_err().to_string();
        assert!(text.contains("/nowhere/libonnxruntime.so") && text.contains("make onnxruntime"), "{text}");
        assert!(!text.contains('\n'));
    }

    #[test]
    fn an_empty_folder_and_a_device_are_refused_without_opening_them() {
        let folder = tempfile::tempdir().unwrap();
        assert!(named_file(folder.path()).unwrap_err().to_string().contains("without libonnxruntime.so"));
        assert!(named_file(Path::new("/dev/zero")).unwrap_err().to_string().contains("not a plain file"));
    }

    #[test]
    fn a_file_that_is_no_library_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libonnxruntime.so");
        std::fs::write(&file, "not a library").unwrap();
        assert_eq!(named_file(folder.path()).unwrap(), file);
        let text = load_file(&file).unwrap_err().to_string();
        assert!(text.contains("can't be loaded") && text.contains("libonnxruntime.so"), "{text}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn another_library_is_not_taken_for_onnx_runtime() {
        let text = load_file(Path::new("libm.so.6")).unwrap_err().to_string();
        assert!(text.contains("not ONNX Runtime"), "{text}");
    }
}
