//! From labelled receipts to examples: runs of words with boxes and tags, before any token.
//!
//! An example is a window over a receipt or over its item band, or one OCR line. What windows of the default rules
//! hold is exactly what [`layoutlm_core::encoder::Encoder`] would feed the network for the same receipt.

use std::ops::Range;

use layoutlm_core::bbox::{BoxRule, NormalizedBox};
use layoutlm_core::encoding::Granularity;
use layoutlm_core::label::LabelScheme;
use layoutlm_core::reading_order::ReadingOrder;
use layoutlm_core::window::WindowRule;
use serde::{Deserialize, Serialize};

use super::band::item_band;
use super::labelled::{Continues, LabelledReceipt, begin_first, tags};

/// Which part of a receipt is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All of it.
    #[default]
    Full,
    /// The band of its items; receipts without one are left out.
    LineItems,
}

/// How receipts become examples.
#[derive(Debug, Clone, PartialEq)]
pub struct ExampleRules {
    /// Scaling of boxes.
    pub box_rule: BoxRule,
    /// Order of words (windows only; a line is read by word id).
    pub reading_order: ReadingOrder,
    /// Cutting of receipts, and of lines that are too long.
    pub window: WindowRule,
    /// Merges and allow list.
    pub scheme: LabelScheme,
    /// What one example is.
    pub granularity: Granularity,
    /// Which part of a receipt is used.
    pub scope: Scope,
    /// Extra training windows over the item band; full scope only.
    pub item_windows: Option<WindowRule>,
}

/// Where in its receipt an example comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExampleKind {
    /// A window over the receipt (or its item band, in that scope).
    Window,
    /// An OCR line.
    Line,
    /// An extra window over the item band.
    ItemWindow,
}

/// A run of words with their tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordExample {
    /// Key of its receipt.
    pub key: String,
    /// What it is.
    pub kind: ExampleKind,
    /// Words of the receipt (indices in input order), as read.
    pub words: Vec<usize>,
    /// Their boxes.
    pub boxes: Vec<NormalizedBox>,
    /// Their BIO tags; the first is never `I-`.
    pub tags: Vec<String>,
}

impl ExampleRules {
    /// Cuts one receipt; empty when it has no words, or no item band in that scope.
    ///
    /// `token_counts` are the tokens of each word in input order; without them every word counts as one, i.e. windows
    /// are cut by words alone.
    pub fn cut(&self, labelled: &LabelledReceipt<'_>, token_counts: Option<&[usize]>) -> Vec<WordExample> {
        let boxes = self.boxes(labelled);
        let source = Source { rules: self, labelled, boxes: &boxes, token_counts };
        match self.granularity {
            Granularity::Line => source.lines(),
            Granularity::Receipt => match self.scope {
                Scope::Full => source.windows(source.order(), self.window, ExampleKind::Window),
                Scope::LineItems => source.windows(source.band_in_order(), self.window, ExampleKind::Window),
            },
        }
    }

    /// The extra windows over one receipt's item band; none unless asked for, in full scope.
    pub fn cut_item_windows(
        &self,
        labelled: &LabelledReceipt<'_>,
        token_counts: Option<&[usize]>,
    ) -> Vec<WordExample> {
        let wanted = self.granularity == Granularity::Receipt && self.scope == Scope::Full;
        let Some(rule) = self.item_windows.filter(|_| wanted) else { return Vec::new() };
        let boxes = self.boxes(labelled);
        let source = Source { rules: self, labelled, boxes: &boxes, token_counts };
        source.windows(source.band_in_order(), rule, ExampleKind::ItemWindow)
    }

    fn boxes(&self, labelled: &LabelledReceipt<'_>) -> Vec<NormalizedBox> {
        let raw: Vec<[f64; 4]> = labelled.receipt.words.iter().map(|w| w.bbox).collect();
        self.box_rule.normalize(labelled.receipt.page(), &raw)
    }
}

/// One receipt on its way to examples.
struct Source<'a> {
    rules: &'a ExampleRules,
    labelled: &'a LabelledReceipt<'a>,
    boxes: &'a [NormalizedBox],
    token_counts: Option<&'a [usize]>,
}

impl Source<'_> {
    fn order(&self) -> Vec<usize> {
        self.rules.reading_order.sort(self.boxes, self.rules.box_rule.origin)
    }

    fn band_in_order(&self) -> Vec<usize> {
        let Some(band) = item_band(self.labelled, self.boxes) else { return Vec::new() };
        let band: std::collections::BTreeSet<usize> = band.into_iter().collect();
        self.order().into_iter().filter(|w| band.contains(w)).collect()
    }

    /// Tags the whole run, then cuts it: an entity keeps its tags across windows but for a window's first word.
    fn windows(&self, words: Vec<usize>, rule: WindowRule, kind: ExampleKind) -> Vec<WordExample> {
        let tags =
            tags(&self.rules.scheme, words.iter().map(|&w| self.labelled.label(w)), Continues::SameSource);
        let cut = self.ranges(&words, rule);
        cut.into_iter().map(|range| self.example(&words, &tags, range, kind)).collect()
    }

    fn lines(&self) -> Vec<WordExample> {
        let receipt = self.labelled.receipt;
        let order = receipt.line_order();
        let mut out = Vec::new();
        for run in receipt.lines(&order) {
            let labels = run.iter().map(|&w| self.labelled.label(w));
            let tags = tags(&self.rules.scheme, labels, Continues::SameMerged);
            // A line is one example however long, unless its tokens do not fit.
            let cut = self.ranges(run, self.rules.window.whole());
            out.extend(cut.into_iter().map(|range| self.example(run, &tags, range, ExampleKind::Line)));
        }
        out
    }

    fn ranges(&self, words: &[usize], rule: WindowRule) -> Vec<Range<usize>> {
        match self.token_counts {
            Some(counts) => {
                let counts: Vec<usize> = words.iter().map(|&w| counts.get(w).copied().unwrap_or(0)).collect();
                rule.cut(&counts)
            }
            None => WindowRule { max_length: usize::MAX, ..rule }.cut(&vec![1; words.len()]),
        }
    }

    fn example(
        &self,
        words: &[usize],
        tags: &[String],
        range: Range<usize>,
        kind: ExampleKind,
    ) -> WordExample {
        let words = words.get(range.clone()).unwrap_or_default().to_vec();
        let mut tags = tags.get(range).unwrap_or_default().to_vec();
        begin_first(&mut tags);
        let boxes =
            words.iter().map(|&w| self.boxes.get(w).copied().unwrap_or(NormalizedBox::ZERO)).collect();
        WordExample { key: self.labelled.receipt.key(), kind, words, boxes, tags }
    }
}
