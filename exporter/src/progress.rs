//! What a caller may see of a long export, and how it stops one.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::ExportError;

/// One step of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A graph is being written.
    Writing(&'a str),
    /// Windows run by a model (`reference` or a variant).
    Windows {
        /// Which model.
        model: &'a str,
        /// Windows done.
        done: usize,
        /// Windows in all.
        total: usize,
    },
}

/// The caller's eyes and brake.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Told of every step.
    pub progress: &'a dyn Fn(Progress<'_>),
    /// When set, work stops at the next step with [`ExportError::Interrupted`] and leaves nothing behind.
    pub stop: &'a AtomicBool,
}

impl Watch<'_> {
    pub(crate) fn writing(&self, what: &str) -> Result<(), ExportError> {
        self.tell(Progress::Writing(what))
    }

    pub(crate) fn step(&self, model: &str, done: usize, total: usize) -> Result<(), ExportError> {
        self.tell(Progress::Windows { model, done, total })
    }

    fn tell(&self, progress: Progress<'_>) -> Result<(), ExportError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(ExportError::Interrupted);
        }
        (self.progress)(progress);
        Ok(())
    }
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("stop", self.stop).finish_non_exhaustive()
    }
}
