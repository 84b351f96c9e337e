//! From encoded receipts to labelled windows.

use layoutlm_core::encoder::Encoder;
use layoutlm_core::evaluate::GoldReceipt;
use layoutlm_core::label::LabelId;
use layoutlm_core::window::Window;

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
    /// The window with its labels, as a batch takes it.
    pub fn labelled(&self) -> LabelledWindow<'_> {
        LabelledWindow { window: &self.window, labels: &self.labels }
    }
}

/// All windows of some receipts, in order. Windows without a single token are left out: nothing can be learned there.
pub fn encode_examples(encoder: &Encoder, receipts: &[GoldReceipt]) -> Vec<Example> {
    let labels = &encoder.encoding().labels;
    let example = |receipt: &GoldReceipt, window: &Window| {
        let ids = receipt.window_labels(encoder, window);
        Example {
            receipt: receipt.key.clone(),
            window: window.clone(),
            tags: ids.iter().map(|&id| labels.name(id).to_string()).collect(),
            labels: ids.into_iter().map(Some).collect(),
        }
    };
    receipts
        .iter()
        .flat_map(|r| r.encoded.windows.iter().map(move |w| (r, w)))
        .filter(|(_, window)| window.len() > 2)
        .map(|(receipt, window)| example(receipt, window))
        .collect()
}
