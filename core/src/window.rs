//! Windows: runs of words that fit the network, cut so that every word lands in at least one.
//!
//! Windows are cut in words (size and stride) and cut further where the words make more tokens than fit. A single
//! word of more tokens than fit keeps its first ones. Nothing is ever dropped for length, unless asked for by
//! [`Overflow::Truncate`].

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::bbox::NormalizedBox;

/// What the network is fed for one run of words. All vectors over tokens have the same length, `[seq]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Receipt word (index in input order) of each word of the window, `[words]`.
    pub word_indices: Vec<usize>,
    /// Token ids with `[CLS]` first and `[SEP]` last, `[seq]`.
    pub input_ids: Vec<u32>,
    /// Box of each token, `[seq]`.
    pub bbox: Vec<NormalizedBox>,
    /// Word of each token as an index into `word_indices`; `None` for special tokens, `[seq]`.
    pub word_ids: Vec<Option<u32>>,
}

impl Window {
    /// Number of tokens, special ones counted.
    pub fn len(&self) -> usize {
        self.input_ids.len()
    }

    /// True when there is not even a special token.
    pub fn is_empty(&self) -> bool {
        self.input_ids.is_empty()
    }

    /// `(token position, index into word_indices)` of each word's first sub-token.
    pub fn first_subtokens(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mut previous = None;
        self.word_ids.iter().enumerate().filter_map(move |(position, word)| {
            let first = word.is_some() && *word != previous;
            previous = *word;
            word.filter(|_| first).map(|w| (position, w as usize))
        })
    }
}

/// What happens to a window whose words make more tokens than fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// It ends before the first word that does not fit; no word is lost.
    #[default]
    Cut,
    /// Its tokens are cut off, so that words at its end may have none: how the Python trainer did it, kept to repeat
    /// the scores of its models.
    Truncate,
}

impl Overflow {
    fn is_cut(&self) -> bool {
        *self == Self::Cut
    }
}

/// How receipts are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowRule {
    /// Most words in a window.
    pub size: usize,
    /// Words between the starts of two windows.
    pub stride: usize,
    /// Most tokens in a window, `[CLS]` and `[SEP]` counted.
    pub max_length: usize,
    /// What happens to windows of more tokens; left out of JSON, and so of fingerprints, when it is the default.
    #[serde(default, skip_serializing_if = "Overflow::is_cut")]
    pub overflow: Overflow,
}

impl Default for WindowRule {
    fn default() -> Self {
        Self { size: 200, stride: 150, max_length: 512, overflow: Overflow::Cut }
    }
}

/// A window rule that would lose words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "window size {size}, stride {stride}, max length {max_length}: expected 1 <= stride <= size and a length of at \
     least 3"
)]
pub struct InvalidWindowRule {
    size: usize,
    stride: usize,
    max_length: usize,
}

impl WindowRule {
    /// # Errors
    /// [`InvalidWindowRule`] unless `1 <= stride <= size` and `max_length >= 3`.
    pub fn check(&self) -> Result<(), InvalidWindowRule> {
        let Self { size, stride, max_length, .. } = *self;
        if (1..=size).contains(&stride) && max_length >= 3 {
            Ok(())
        } else {
            Err(InvalidWindowRule { size, stride, max_length })
        }
    }

    /// The rule for text that is one window however many words it has, unless its tokens do not fit.
    pub fn whole(self) -> Self {
        Self { size: usize::MAX / 4, stride: usize::MAX / 4, ..self }
    }

    /// Word ranges of the windows of a receipt whose words make `token_counts[i]` tokens each.
    ///
    /// Windows that fit start at 0, stride, 2·stride, …; the first to reach the end is the last. One that does not
    /// fit ends early and the next starts a quarter of it (at most `size - stride` words) before that end.
    pub fn cut(&self, token_counts: &[usize]) -> Vec<Range<usize>> {
        let (n, budget) = (token_counts.len(), self.max_length - 2);
        let mut windows = Vec::new();
        let mut start = 0;
        while start < n {
            let full = start.saturating_add(self.size).min(n);
            let end = match self.overflow {
                Overflow::Cut => fitting_end(token_counts, start, full, budget),
                Overflow::Truncate => full,
            };
            windows.push(start..end);
            if end == n {
                break;
            }
            start = if end == full {
                start + self.stride
            } else {
                let overlap = ((end - start) / 4).min(self.size - self.stride);
                end - overlap
            };
        }
        windows
    }
}

/// The last word that still fits, at least one word after `start`.
fn fitting_end(token_counts: &[usize], start: usize, full: usize, budget: usize) -> usize {
    let mut used = 0usize;
    for (offset, &count) in token_counts.iter().take(full).skip(start).enumerate() {
        used = used.saturating_add(count);
        if used > budget {
            return start + offset.max(1);
        }
    }
    full
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(size: usize, stride: usize, max_length: usize) -> WindowRule {
        WindowRule { size, stride, max_length, ..WindowRule::default() }
    }

    #[test]
    fn truncated_windows_start_where_they_would_and_the_default_leaves_no_trace_in_json() {
        let truncating = WindowRule { overflow: Overflow::Truncate, ..rule(8, 6, 12) };
        assert_eq!(truncating.cut(&[3; 10]), [0..8, 6..10]);
        let json = |r: &WindowRule| serde_json::to_value(r).unwrap();
        assert_eq!(json(&truncating)["overflow"], "truncate");
        assert_eq!(json(&rule(8, 6, 12)).as_object().unwrap().len(), 3);
    }

    #[test]
    fn windows_that_fit_start_every_stride_and_stop_at_the_first_that_reaches_the_end() {
        let cut = |n: usize| WindowRule::default().cut(&vec![1; n]);
        assert!(cut(0).is_empty());
        assert_eq!((cut(200).len(), cut(200).pop()), (1, Some(0..200)));
        assert_eq!(cut(201), [0..200, 150..201]);
        assert_eq!(cut(380), [0..200, 150..350, 300..380]);
    }

    #[test]
    fn a_window_of_too_many_tokens_ends_early_and_the_next_overlaps_it() {
        let cut = rule(8, 6, 12).cut(&[3, 3, 3, 3, 3, 1]);
        assert_eq!(cut, [0..3, 3..6]);
        let cut = rule(8, 6, 12).cut(&[2; 10]);
        assert_eq!(cut, [0..5, 4..9, 8..10]);
    }

    #[test]
    fn the_greatest_size_cuts_as_one_without_an_end() {
        assert_eq!(rule(usize::MAX, usize::MAX, 12).cut(&[3; 10]), [0..3, 3..6, 6..9, 9..10]);
    }

    #[test]
    fn a_word_longer_than_a_window_gets_one_of_its_own() {
        let cut = rule(4, 3, 12).cut(&[1, 99, 1]);
        assert_eq!(cut, [0..1, 1..2, 2..3]);
    }
}
