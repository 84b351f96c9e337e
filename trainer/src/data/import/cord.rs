//! CORD: one JSON file per receipt, words with categories.
//!
//! Source: Park et al. 2019, §3 (ontology and format).

use std::collections::BTreeMap;
use std::path::Path;

use layoutlm_core::bbox::Origin;
use layoutlm_core::receipt::{Receipt, ValidationStatus, Word};
use serde::Deserialize;

use super::geometry::{around, cut_words, inside};
use super::layout::PartFolders;
use super::{Fault, read_json, stem};

#[derive(Deserialize)]
struct Annotated {
    valid_line: Vec<Line>,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    image_size: Option<Size>,
}

#[derive(Deserialize)]
struct Size {
    width: f64,
    height: f64,
}

#[derive(Deserialize)]
struct Line {
    words: Vec<LineWord>,
    category: String,
}

#[derive(Deserialize)]
struct LineWord {
    quad: Quad,
    #[serde(default)]
    is_key: u8,
    row_id: i64,
    text: String,
}

#[derive(Deserialize)]
struct Quad {
    x1: f64,
    y1: f64,
    x2: f64,
    y2: f64,
    x3: f64,
    y3: f64,
    x4: f64,
    y4: f64,
}

/// The label of a category; the rest is `O`.
fn label(category: &str) -> &'static str {
    match category {
        "menu.nm" => "PRODUCT_NAME",
        "menu.cnt" => "QUANTITY",
        "menu.unitprice" => "UNIT_PRICE",
        "menu.price" => "LINE_TOTAL",
        "sub_total.subtotal_price" => "SUBTOTAL",
        "sub_total.tax_price" => "TAX",
        "sub_total.discount_price" => "DISCOUNT",
        "total.total_price" => "GRAND_TOTAL",
        _ => "O",
    }
}

/// Reads one receipt; words are put in rows from top to bottom, and from left to right inside one.
pub(super) fn read(path: &Path, part: &PartFolders) -> Result<Receipt, Fault> {
    let expected =
        "{\"valid_line\": [{\"words\": [{\"quad\": …, \"row_id\": …, \"text\": …}], \"category\": …}]}";
    let annotated: Annotated = read_json(path, expected)?;
    let size = annotated.meta.and_then(|m| m.image_size).filter(|s| s.width >= 1.0 && s.height >= 1.0);
    let page = size.map(|s| (s.width, s.height));
    let mut rows: BTreeMap<i64, Vec<Word>> = BTreeMap::new();
    for (entity, line) in annotated.valid_line.iter().enumerate() {
        for word in &line.words {
            rows.entry(word.row_id).or_default().extend(words(word, line, entity as u32, page));
        }
    }
    let top = |row: &[Word]| row.iter().map(|w| w.bbox[1] + w.bbox[3]).sum::<f64>() / row.len().max(1) as f64;
    let mut rows: Vec<Vec<Word>> = rows.into_values().filter(|row| !row.is_empty()).collect();
    rows.sort_by(|a, b| top(a).total_cmp(&top(b)));
    for (line_id, row) in rows.iter_mut().enumerate() {
        row.sort_by(|a, b| a.bbox[0].total_cmp(&b.bbox[0]));
        for (word_id, word) in row.iter_mut().enumerate() {
            (word.line_id, word.word_id) = (line_id as u32, word_id as u32);
        }
    }
    Ok(Receipt {
        image_id: format!("{}{}", part.prefix, stem(path)),
        receipt_id: 1,
        width: page.map(|p| p.0),
        height: page.map(|p| p.1),
        origin: Origin::TopLeft,
        merchant: None,
        words: rows.into_iter().flatten().collect(),
    })
}

/// The words of one source word (more than one where it holds blanks).
fn words(word: &LineWord, line: &Line, entity: u32, page: Option<(f64, f64)>) -> Vec<Word> {
    let q = &word.quad;
    let bbox = around(&[[q.x1, q.y1], [q.x2, q.y2], [q.x3, q.y3], [q.x4, q.y4]]);
    let key = word.is_key != 0;
    let class = line.category.replace('.', "_").to_uppercase();
    let as_word = |piece: super::geometry::Piece| Word {
        line_id: 0,
        word_id: 0,
        text: piece.text,
        bbox: inside(piece.bbox, page),
        label: Some(if key { "O" } else { label(&line.category) }.to_string()),
        validation_status: ValidationStatus::Valid,
        source_label: Some(if key { format!("{class}_KEY") } else { class.clone() }),
        entity_id: Some(entity),
    };
    cut_words(&word.text, bbox).into_iter().map(as_word).collect()
}
