//! Entities cut at row ends, and the rows they lie on.
//!
//! An entity may run over several rows (a product name of two lines) or join what belongs apart (the amounts of two
//! rows without a word between them); a piece never does.

use std::collections::BTreeMap;

use super::role::{Role, RowName, letters, row_name};
use crate::bbox::{BoxRule, Origin};
use crate::entity::Entity;
use crate::predict::ReceiptPrediction;
use crate::reading_order::rows;
use crate::receipt::Receipt;
use crate::value;

/// The words of one entity on one row.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) role: Role,
    /// Index of the entity it is cut from.
    pub(super) entity: usize,
    pub(super) part: Entity,
    left: u16,
}

/// One visual row of a receipt.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// From left to right.
    pub(super) pieces: Vec<Piece>,
    /// What its words outside product names call its amounts.
    pub(super) name: Option<RowName>,
    /// Whether it has words of letters outside product names.
    pub(super) has_words: bool,
}

impl Row {
    /// Whether a piece has this role.
    pub(super) fn has(&self, role: Role) -> bool {
        self.pieces.iter().any(|piece| piece.role == role)
    }

    /// Whether any amount is on it.
    pub(super) fn has_amount(&self) -> bool {
        self.pieces.iter().any(|piece| !matches!(piece.role, Role::Product | Role::Quantity))
    }
}

/// The rows of a receipt from top to bottom, each with its pieces.
pub(super) fn cut(receipt: &Receipt, prediction: &ReceiptPrediction) -> Vec<Row> {
    let raw: Vec<[f64; 4]> = receipt.words.iter().map(|word| word.bbox).collect();
    let boxes = BoxRule::default().normalize(receipt.page(), &raw);
    let row_of = rows(&boxes, Origin::TopLeft);
    let left = |word: usize| boxes.get(word).map_or(0, |b| b.corners()[0]);
    let mut out: Vec<Row> = row_of
        .iter()
        .max()
        .map_or_else(Vec::new, |last| std::iter::repeat_with(Row::default).take(last + 1).collect());
    let mut in_product = vec![false; receipt.words.len()];
    for (index, entity) in prediction.entities.iter().enumerate() {
        let Some(role) = Role::of(&entity.kind) else { continue };
        let mut by_row: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &word in &entity.word_indices {
            if let Some(&row) = row_of.get(word) {
                by_row.entry(row).or_default().push(word);
            }
            if let Some(slot) = in_product.get_mut(word).filter(|_| role == Role::Product) {
                *slot = true;
            }
        }
        for (row, words) in by_row {
            let parts = split(receipt, prediction, role, &entity.kind, &words);
            let pieces = parts.into_iter().map(|part| {
                let left = part.word_indices.iter().map(|&word| left(word)).min().unwrap_or(0);
                Piece { role, entity: index, part, left }
            });
            if let Some(row) = out.get_mut(row) {
                row.pieces.extend(pieces);
            }
        }
    }
    name_rows(receipt, &row_of, &in_product, &mut out, left);
    out
}

/// One part, or one per word where the words are amounts but together are none (`1.99 3.98`).
fn split(
    receipt: &Receipt,
    prediction: &ReceiptPrediction,
    role: Role,
    kind: &str,
    words: &[usize],
) -> Vec<Entity> {
    let confidence = |word: usize| prediction.words.get(word).map_or(0.0, |w| w.confidence);
    let part = |words: &[usize]| Entity::of_words(receipt, kind, words, confidence);
    let is_amount = |&word: &usize| {
        receipt.words.get(word).is_some_and(|word| value::normalize(kind, &word.text).is_some())
    };
    match part(words) {
        Some(whole)
            if whole.value.is_none()
                && !matches!(role, Role::Product | Role::Quantity)
                && words.iter().all(is_amount) =>
        {
            words.iter().filter_map(|&word| part(&[word])).collect()
        }
        whole => whole.into_iter().collect(),
    }
}

fn name_rows(
    receipt: &Receipt,
    row_of: &[usize],
    in_product: &[bool],
    rows: &mut [Row],
    left: impl Fn(usize) -> u16,
) {
    let mut printed: Vec<Vec<(u16, &str)>> = vec![Vec::new(); rows.len()];
    for (index, (word, &row)) in receipt.words.iter().zip(row_of).enumerate() {
        if let Some(texts) = printed.get_mut(row)
            && !in_product.get(index).copied().unwrap_or(false)
        {
            texts.push((left(index), &word.text));
        }
    }
    for (row, mut texts) in rows.iter_mut().zip(printed) {
        texts.sort_by_key(|(left, _)| *left);
        let words: Vec<String> = texts.iter().flat_map(|(_, text)| letters(text)).collect();
        row.name = row_name(&words);
        row.has_words = words.iter().any(|word| value::currency(word).is_none());
        row.pieces.sort_by_key(|piece| piece.left);
    }
}
