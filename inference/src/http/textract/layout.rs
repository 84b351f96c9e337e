//! Where a receipt's words are: as fractions of the page, and on which row.

use layoutlm_core::bbox::{BoxRule, Origin};
use layoutlm_core::receipt::Receipt;

use super::document::{Block, BlockType, Geometry, Relationship, TextType};

/// The words of one receipt on their page.
pub(super) struct Layout<'r> {
    receipt: &'r Receipt,
    /// `[words][x0, y0, x1, y1]`, 0..=1 from the top left.
    boxes: Vec<[f64; 4]>,
    /// Words of each visual row from left to right, rows from the top.
    rows: Vec<Vec<usize>>,
    page: usize,
}

impl<'r> Layout<'r> {
    /// Lays out a receipt; `page` is its 1-based place in the call.
    pub(super) fn new(receipt: &'r Receipt, page: usize) -> Self {
        let raw: Vec<[f64; 4]> = receipt.words.iter().map(|word| word.bbox).collect();
        let boxes = BoxRule::default().fractions(receipt.page(), &raw);
        let grid = BoxRule::default().normalize(receipt.page(), &raw);
        let row_of = layoutlm_core::reading_order::rows(&grid, Origin::TopLeft);
        let mut rows: Vec<Vec<usize>> = vec![Vec::new(); row_of.iter().max().map_or(0, |last| last + 1)];
        for (word, row) in row_of.into_iter().enumerate() {
            if let Some(row) = rows.get_mut(row) {
                row.push(word);
            }
        }
        let left = |word: &usize| boxes.get(*word).map_or(0.0, |b| b[0]);
        rows.iter_mut().for_each(|row| row.sort_by(|a, b| left(a).total_cmp(&left(b))));
        Self { receipt, boxes, rows, page }
    }

    /// 1-based place of the receipt in the call.
    pub(super) fn page(&self) -> usize {
        self.page
    }

    /// The box around some words.
    pub(super) fn geometry(&self, words: &[usize]) -> Geometry {
        let boxes = words.iter().filter_map(|&word| self.boxes.get(word).copied());
        let around =
            |a: [f64; 4], b: [f64; 4]| [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])];
        boxes.reduce(around).unwrap_or_default().into()
    }

    /// All words of the rows that some words are on, row by row.
    pub(super) fn rows_of(&self, words: &[usize]) -> Vec<usize> {
        let touched = |row: &&Vec<usize>| row.iter().any(|word| words.contains(word));
        self.rows.iter().filter(touched).flatten().copied().collect()
    }

    /// The words' texts with spaces between.
    pub(super) fn text(&self, words: &[usize]) -> String {
        let texts = words.iter().filter_map(|&word| self.receipt.words.get(word));
        texts.map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// The page with its lines, each line with its words.
    pub(super) fn blocks(&self) -> Vec<Block> {
        let mut lines = Vec::new();
        let mut words = Vec::new();
        for (row, members) in self.rows.iter().enumerate() {
            let ids = members.iter().map(|word| self.id("word", *word)).collect();
            lines.push(self.block(BlockType::Line, self.id("line", row), members, ids));
            for &word in members {
                words.push(self.block(BlockType::Word, self.id("word", word), &[word], Vec::new()));
            }
        }
        let ids = lines.iter().map(|line| line.id.clone()).collect();
        let page = Block {
            block_type: BlockType::Page,
            text: None,
            text_type: None,
            geometry: [0.0, 0.0, 1.0, 1.0].into(),
            id: format!("page-{}", self.page),
            relationships: children(ids),
            page: self.page,
        };
        std::iter::once(page).chain(lines).chain(words).collect()
    }

    fn block(&self, block_type: BlockType, id: String, words: &[usize], ids: Vec<String>) -> Block {
        Block {
            block_type,
            text: Some(self.text(words)),
            text_type: (block_type == BlockType::Word).then_some(TextType::Printed),
            geometry: self.geometry(words),
            id,
            relationships: children(ids),
            page: self.page,
        }
    }

    fn id(&self, kind: &str, index: usize) -> String {
        format!("{kind}-{}-{index}", self.page)
    }
}

fn children(ids: Vec<String>) -> Vec<Relationship> {
    if ids.is_empty() { Vec::new() } else { vec![Relationship { r#type: "CHILD", ids }] }
}
