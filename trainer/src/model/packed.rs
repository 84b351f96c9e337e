//! A packed batch: windows laid end to end, without padding and so without a mask.
//!
//! Layers that work on each token alone run on `[tokens, hidden]`; attention looks only inside one window, found by
//! the running sums in `cu_seqlens`. Logits equal those of a padded batch on its unmasked tokens.

use layoutlm_core::config::ModelConfig;
use layoutlm_core::label::LabelId;
use layoutlm_core::window::Window;

use super::ModelError;

/// A window with the label of each of its words, in the order of `window.word_indices`.
///
/// `None` is a word the loss leaves out. Words beyond the end of `labels` are left out too.
#[derive(Debug, Clone, Copy)]
pub struct LabelledWindow<'a> {
    /// The tokens.
    pub window: &'a Window,
    /// Label of each word of the window, `[words]`.
    pub labels: &'a [Option<LabelId>],
}

/// Windows end to end; `tokens` is the sum of their lengths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackedBatch {
    /// Token ids, `[tokens]`.
    pub input_ids: Vec<u32>,
    /// Boxes `x0, y0, x1, y1` on the 0..=1000 grid, `[tokens]`.
    pub bbox: Vec<[u16; 4]>,
    /// Position of each token in its window, `[tokens]`.
    pub position_ids: Vec<u32>,
    /// Where each window starts, and at the end the number of tokens, `[windows + 1]`.
    pub cu_seqlens: Vec<usize>,
    /// Label of each word's first sub-token, `None` elsewhere (the −100 of other frameworks); `[tokens]` or nothing.
    pub labels: Option<Vec<Option<LabelId>>>,
}

impl PackedBatch {
    /// Packs windows for evaluation.
    pub fn pack(windows: &[&Window]) -> Self {
        let tokens = windows.iter().map(|w| w.len()).sum();
        let mut batch = Self {
            input_ids: Vec::with_capacity(tokens),
            bbox: Vec::with_capacity(tokens),
            position_ids: Vec::with_capacity(tokens),
            cu_seqlens: vec![0],
            labels: None,
        };
        for window in windows {
            batch.input_ids.extend_from_slice(&window.input_ids);
            batch.bbox.extend(window.bbox.iter().map(|b| b.corners()));
            batch.position_ids.extend(0..window.len() as u32);
            batch.cu_seqlens.push(batch.input_ids.len());
        }
        batch
    }

    /// Packs windows for training: the label of a word goes to its first sub-token.
    pub fn pack_labelled(windows: &[LabelledWindow<'_>]) -> Self {
        let plain: Vec<&Window> = windows.iter().map(|w| w.window).collect();
        let mut batch = Self::pack(&plain);
        let mut labels = Vec::with_capacity(batch.tokens());
        for labelled in windows {
            let start = labels.len();
            labels.resize(start + labelled.window.len(), None);
            for (position, word) in labelled.window.first_subtokens() {
                if let (Some(slot), Some(label)) =
                    (labels.get_mut(start + position), labelled.labels.get(word))
                {
                    *slot = *label;
                }
            }
        }
        batch.labels = Some(labels);
        batch
    }

    /// Number of tokens of all windows.
    pub fn tokens(&self) -> usize {
        self.input_ids.len()
    }

    /// Number of windows.
    pub fn windows(&self) -> usize {
        self.cu_seqlens.len().saturating_sub(1)
    }

    /// Number of tokens that enter the loss.
    pub fn labelled_tokens(&self) -> usize {
        self.labels.iter().flatten().flatten().count()
    }

    /// Checks the batch against a model of these dimensions with `labels` classes.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(crate) fn check_for(&self, config: &ModelConfig, labels: usize) -> Result<(), ModelError> {
        self.check(&TableRows {
            words: config.vocab_size,
            positions: config.max_position_embeddings,
            boxes: config.max_2d_position_embeddings,
            labels,
        })
    }

    /// The tokens that have a label; nothing where the batch has no labels or every token has one.
    pub(crate) fn labelled_rows(&self) -> Option<Vec<usize>> {
        let labels = self.labels.as_ref()?;
        let labelled = labels.iter().enumerate().filter(|(_, label)| label.is_some());
        let rows: Vec<usize> = labelled.map(|(row, _)| row).collect();
        (rows.len() < labels.len()).then_some(rows)
    }

    /// Checks lengths and every index against the tables' sizes.
    ///
    /// # Errors
    /// [`ModelError::OutOfRange`] names the window and token, [`ModelError::Labels`] a label that does not fit.
    pub(crate) fn check(&self, rows: &TableRows) -> Result<(), ModelError> {
        let tokens = self.tokens();
        let ordered = self.cu_seqlens.first() == Some(&0)
            && self.cu_seqlens.last() == Some(&tokens)
            && self.cu_seqlens.is_sorted();
        if !ordered || self.bbox.len() != tokens || self.position_ids.len() != tokens {
            return Err(ModelError::Labels("the batch's arrays are of different lengths".into()));
        }
        let place = |at: usize| {
            let window = self.cu_seqlens.partition_point(|&start| start <= at).saturating_sub(1);
            (window, at - self.cu_seqlens.get(window).copied().unwrap_or(0))
        };
        let fail = |at: usize, field, value: usize, limit| {
            let (window, token) = place(at);
            Err(ModelError::OutOfRange { window, token, field, value, limit })
        };
        for (at, ((&id, &position), corners)) in
            self.input_ids.iter().zip(&self.position_ids).zip(&self.bbox).enumerate()
        {
            if id as usize >= rows.words {
                return fail(at, "input_id", id as usize, rows.words);
            }
            if position as usize >= rows.positions {
                return fail(at, "position", position as usize, rows.positions);
            }
            let &[x0, y0, x1, y1] = corners;
            let largest = usize::from(x0.max(y0).max(x1).max(y1));
            if largest >= rows.boxes || x0 > x1 || y0 > y1 {
                return fail(at, "box coordinate", largest, rows.boxes);
            }
        }
        self.check_labels(rows.labels)
    }

    fn check_labels(&self, classes: usize) -> Result<(), ModelError> {
        let Some(labels) = &self.labels else { return Ok(()) };
        if labels.len() != self.tokens() {
            return Err(ModelError::Labels(format!("{} labels for {} tokens", labels.len(), self.tokens())));
        }
        match labels.iter().flatten().find(|l| l.index() >= classes) {
            Some(label) => Err(ModelError::Labels(format!(
                "label id {} but the model has {classes} classes",
                label.index()
            ))),
            None => Ok(()),
        }
    }
}

/// Sizes a batch's indices must stay below.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableRows {
    pub(crate) words: usize,
    pub(crate) positions: usize,
    pub(crate) boxes: usize,
    pub(crate) labels: usize,
}

#[cfg(test)]
mod tests {
    use layoutlm_core::bbox::NormalizedBox;
    use layoutlm_core::label::LabelSet;

    use super::*;

    fn window(ids: &[u32], words: &[Option<u32>]) -> Window {
        let bbox = vec![NormalizedBox::new([1, 2, 3, 4]).unwrap(); ids.len()];
        Window { word_indices: vec![0, 1], input_ids: ids.to_vec(), bbox, word_ids: words.to_vec() }
    }

    const ROWS: TableRows = TableRows { words: 50, positions: 8, boxes: 1001, labels: 3 };

    #[test]
    fn labels_land_on_first_sub_tokens_only() {
        let set = LabelSet::from_entities(["DATE".to_string()]).unwrap();
        let (b, i) = (set.id("B-DATE"), set.id("I-DATE"));
        let first = window(&[2, 10, 11, 12, 3], &[None, Some(0), Some(0), Some(1), None]);
        let second = window(&[2, 20, 3], &[None, Some(0), None]);
        let batch = PackedBatch::pack_labelled(&[
            LabelledWindow { window: &first, labels: &[b, i] },
            LabelledWindow { window: &second, labels: &[None] },
        ]);
        assert_eq!(batch.labels.as_deref(), Some(&[None, b, None, i, None, None, None, None][..]));
        assert_eq!(batch.cu_seqlens, [0, 5, 8]);
        assert_eq!(batch.position_ids, [0, 1, 2, 3, 4, 0, 1, 2]);
        assert_eq!(batch.labelled_tokens(), 2);
        batch.check(&ROWS).unwrap();
    }

    #[test]
    fn an_id_out_of_range_is_named_by_window_and_token() {
        let (good, bad) = (window(&[1, 2], &[None, None]), window(&[1, 2, 50], &[None, None, None]));
        let text = PackedBatch::pack(&[&good, &bad]).check(&ROWS).unwrap_err().to_string();
        assert_eq!(text, "window 1, token 2: input_id 50 is out of range, the model has 50 rows");
    }

    #[test]
    fn a_window_longer_than_the_position_table_is_refused() {
        let long = window(&[1; 9], &[None; 9]);
        let text = PackedBatch::pack(&[&long]).check(&ROWS).unwrap_err().to_string();
        assert!(text.contains("token 8: position 8"), "{text}");
    }
}
