//! A padded batch: windows side by side, as an exported graph takes them.

use crate::window::Window;

/// Windows padded on the right to the longest of them; all arrays are row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Number of windows.
    pub batch_size: usize,
    /// Tokens of the longest window.
    pub sequence_length: usize,
    /// `[batch, seq]`, padded with `pad_id`.
    pub input_ids: Vec<i64>,
    /// `[batch, seq, 4]`, padded with zeros.
    pub bbox: Vec<i64>,
    /// `[batch, seq]`, 1 for tokens, 0 for padding.
    pub attention_mask: Vec<i64>,
    /// `[batch, seq]`, all 0.
    pub token_type_ids: Vec<i64>,
}

impl Batch {
    /// Pads `windows` to the longest.
    pub fn pad(windows: &[&Window], pad_id: u32) -> Self {
        let sequence_length = windows.iter().map(|w| w.len()).max().unwrap_or(0);
        let cells = windows.len() * sequence_length;
        let (mut input_ids, mut attention_mask) = (Vec::with_capacity(cells), Vec::with_capacity(cells));
        let mut bbox = Vec::with_capacity(cells * 4);
        for window in windows {
            let padding = sequence_length - window.len();
            input_ids.extend(window.input_ids.iter().map(|&id| i64::from(id)));
            input_ids.extend(std::iter::repeat_n(i64::from(pad_id), padding));
            bbox.extend(window.bbox.iter().flat_map(|b| b.corners().map(i64::from)));
            bbox.extend(std::iter::repeat_n(0, padding * 4));
            attention_mask.extend(std::iter::repeat_n(1, window.len()));
            attention_mask.extend(std::iter::repeat_n(0, padding));
        }
        let token_type_ids = vec![0; cells];
        Self { batch_size: windows.len(), sequence_length, input_ids, bbox, attention_mask, token_type_ids }
    }
}
