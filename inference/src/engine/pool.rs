//! Several sessions of one graph behind the classifier seam.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use layoutlm_core::classifier::{ClassifierError, TokenClassifier};
use layoutlm_core::window::Window;

use super::{EngineError, EngineOptions, Model, WindowSession};
use crate::runtime::Runtime;

/// A graph opened in one or more sessions. Windows of one call are shared out between the sessions.
#[derive(Debug)]
pub struct Engine {
    sessions: Vec<Mutex<WindowSession>>,
    labels: usize,
}

impl Engine {
    /// Opens `model` (an ONNX file), each of its sessions ready to run.
    ///
    /// # Errors
    /// [`EngineError`] when the file is no graph of a token classifier.
    pub fn open(runtime: &Runtime, model: &Path, options: EngineOptions) -> Result<Self, EngineError> {
        let threads = vec![options.threads; options.sessions.max(1)];
        let model = match threads.len() {
            1 => Model::for_one_session(runtime, model)?,
            _ => Model::read(runtime, model)?,
        };
        Ok(Self::of(model.sessions(&threads)?))
    }

    /// Puts sessions of one graph behind the seam.
    pub fn of(sessions: Vec<WindowSession>) -> Self {
        let labels = sessions.first().map_or(0, WindowSession::num_labels);
        Self { sessions: sessions.into_iter().map(Mutex::new).collect(), labels }
    }

    /// A value of the graph's own metadata.
    pub fn metadata(&self, key: &str) -> Option<String> {
        self.sessions.first().and_then(|s| s.lock().unwrap_or_else(PoisonError::into_inner).metadata(key))
    }

    /// The sessions themselves, for a scheduler that gives each its own thread.
    pub fn into_sessions(self) -> Vec<WindowSession> {
        self.sessions.into_iter().map(|s| s.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
    }
}

impl TokenClassifier for Engine {
    fn num_labels(&self) -> usize {
        self.labels
    }

    fn logits(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ClassifierError> {
        let share = Share::new(windows);
        let work = |session: &Mutex<WindowSession>| {
            share.work(&mut session.lock().unwrap_or_else(PoisonError::into_inner));
        };
        match self.sessions.as_slice() {
            [only] => work(only),
            // One window needs no thread of its own.
            [first, ..] if windows.len() == 1 => work(first),
            sessions => std::thread::scope(|scope| {
                for session in sessions.iter().take(windows.len()) {
                    scope.spawn(move || work(session));
                }
            }),
        }
        share.answers()
    }
}

/// Windows shared out between sessions: each takes the next that nobody has taken.
pub(crate) struct Share<'w> {
    windows: &'w [&'w Window],
    answers: Vec<OnceLock<Result<Vec<f32>, EngineError>>>,
    next: AtomicUsize,
}

impl<'w> Share<'w> {
    /// Nothing is computed until a session works.
    pub(crate) fn new(windows: &'w [&'w Window]) -> Self {
        let answers = windows.iter().map(|_| OnceLock::new()).collect();
        Self { windows, answers, next: AtomicUsize::new(0) }
    }

    /// Computes windows until none is left.
    pub(crate) fn work(&self, session: &mut WindowSession) {
        while let Some((window, answer)) = {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            self.windows.get(index).zip(self.answers.get(index))
        } {
            // Each place is taken once, so it can't be set already.
            let _ = answer.set(session.run(window));
        }
    }

    /// `[seq, labels]` of each window, when all sessions are done.
    ///
    /// # Errors
    /// The first window that failed.
    pub(crate) fn answers(self) -> Result<Vec<Vec<f32>>, ClassifierError> {
        let answers = self.answers.into_iter();
        answers.map(|answer| Ok(answer.into_inner().ok_or("a window was left without an answer")??)).collect()
    }
}
