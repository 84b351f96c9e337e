//! From encoded examples to labelled windows.

use layoutlm_core::label::{LabelId, LabelSet};
use layoutlm_core::window::Window;

use crate::data::EncodedExample;
use crate::model::LabelledWindow;

/// One training window.
#[derive(Debug, Clone)]
pub struct Example {
    /// Receipt it was cut from.
    pub receipt: String,
    /// The tokens.
    pub window: Window,
    /// Class of each word, `[words]`.
    pub labels: Vec<Option<LabelId>>,
    /// The same as tags.
    pub tags: Vec<String>,
}

impl Example {
    /// Looks up an example's tags among the model's classes.
    pub fn new(example: EncodedExample, labels: &LabelSet) -> Self {
        let ids = example.label_ids(labels).into_iter().map(Some).collect();
        Self { receipt: example.key, window: example.window, labels: ids, tags: example.tags }
    }

    /// The window with its labels, as a batch takes it.
    pub fn labelled(&self) -> LabelledWindow<'_> {
        LabelledWindow { window: &self.window, labels: &self.labels }
    }
}
