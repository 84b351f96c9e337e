//! One graph in memory, from which any number of sessions is opened over one copy of its weights.
//!
//! ONNX Runtime's container of prepacked weights shares only what was handed to the sessions from outside; weights
//! read from each session's own file are held once per session, packed and all. So they are handed in from outside.

use std::path::{Path, PathBuf};

use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights, SessionBuilder};

use super::graph_file::GraphFile;
use super::{EngineError, WindowSession};
use crate::runtime::Runtime;

/// Configuration of a session: where a graph that was handed over as bytes has its weights.
const WEIGHTS_FOLDER: &str = "session.model_external_initializers_file_folder_path";

/// A graph ready to be opened.
#[derive(Debug)]
pub struct Model {
    runtime: Runtime,
    path: PathBuf,
    file: GraphFile,
    packed: PrepackedWeights,
}

impl Model {
    /// Reads an ONNX file.
    ///
    /// # Errors
    /// [`EngineError::Open`].
    pub fn read(runtime: &Runtime, path: &Path) -> Result<Self, EngineError> {
        Self::with(runtime, path, GraphFile::read)
    }

    /// A graph for one session: ONNX Runtime maps the weights it touches and drops those that it has packed. For files
    /// that nobody writes to while it is open.
    ///
    /// # Errors
    /// [`EngineError::Open`].
    pub(super) fn for_one_session(runtime: &Runtime, path: &Path) -> Result<Self, EngineError> {
        Self::with(runtime, path, GraphFile::mapped)
    }

    fn with(
        runtime: &Runtime,
        path: &Path,
        read: impl Fn(&Path) -> std::io::Result<GraphFile>,
    ) -> Result<Self, EngineError> {
        let file =
            read(path).map_err(|e| EngineError::Open { path: path.to_path_buf(), reason: e.to_string() })?;
        Ok(Self { runtime: runtime.clone(), path: path.to_path_buf(), file, packed: PrepackedWeights::new() })
    }

    /// The graph's file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens one session per entry of `threads`, with so many threads.
    ///
    /// One after the other: each packs all weights before it finds them packed already, so that several at once would
    /// hold several copies for that moment.
    ///
    /// # Errors
    /// [`EngineError::Open`] or [`EngineError::Signature`].
    pub fn sessions(&self, threads: &[usize]) -> Result<Vec<WindowSession>, EngineError> {
        let sessions = threads.iter().map(|&threads| self.session(threads)).collect();
        crate::memory::give_back();
        sessions
    }

    /// Opens one more session, with so many threads.
    ///
    /// # Errors
    /// As [`Self::sessions`].
    pub(crate) fn session(&self, threads: usize) -> Result<WindowSession, EngineError> {
        let session = self.build(threads).map_err(|e| {
            let reason = super::session::one_line(e.message());
            EngineError::Open { path: self.path.clone(), reason }
        })?;
        WindowSession::new(session, &self.path)
    }

    fn build(&self, threads: usize) -> ort::Result<Session> {
        let mut builder = options(Session::builder(self.runtime.environment())?, threads)?
            .with_prepacked_weights(&self.packed)?;
        for weight in &self.file.weights {
            // The optimiser reads the one, the sharing of packed weights goes by the other.
            builder = builder
                .with_external_initializer(&weight.name, weight.value.clone())?
                .with_initializer(&weight.name, weight.value.clone())?;
        }
        // Weights that were left where they are, in this file or in one beside it, are looked for here.
        let folder =
            self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        builder = builder.with_config_entry(WEIGHTS_FOLDER, folder.to_string_lossy())?;
        builder.commit_from_memory(&self.file.graph)
    }
}

fn options(builder: SessionBuilder, threads: usize) -> ort::Result<SessionBuilder> {
    Ok(builder
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads.max(1))?
        .with_inter_threads(1)?
        // Threads that share one window meet some hundred times in it and would sleep each time; when the window is
        // done they sleep at once, as an idle server must cost nothing.
        .with_intra_op_spinning(threads > 1)?
        .with_config_entry("session.force_spinning_stop", "1")?
        // Lengths vary, so planned memory would not fit the next window.
        .with_memory_pattern(false)?)
}
