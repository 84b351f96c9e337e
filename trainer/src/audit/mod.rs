//! Doubtful labels: where models that never saw a receipt disagree with its labels.
//!
//! The receipts are divided into folds; each fold is labelled by a model trained on the others. What a person labelled
//! and such a model contradicts with confidence is worth a second look, the strongest contradictions first. Labels that
//! wait for review are listed too, with what the model thinks of them.
//!
//! Source of the idea: Northcutt et al. 2021, "Confident Learning".

mod corrupt;
mod cross;
mod doubt;
mod drawing;
mod evidence;
mod page;

pub use corrupt::{Corrupted, Experiment, corrupt, judge};
pub use cross::{AuditConfig, AuditError, FoldResult, audit};
pub use doubt::{Doubt, DoubtedWord, Verdict};
pub use page::review_page;

use serde::{Deserialize, Serialize};

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditReport {
    /// Receipts looked at.
    pub receipts: usize,
    /// Labelled words looked at, whatever their status.
    pub labelled_words: usize,
    /// One per fold.
    pub folds: Vec<FoldResult>,
    /// Most doubtful first.
    pub doubts: Vec<Doubt>,
}
