//! SROIE: one text file of line boxes per receipt, and one of four fields.
//!
//! A line is `x1,y1,x2,y2,x3,y3,x4,y4,TEXT`. The fields say what the receipt's company, address, date and total are,
//! not where: labels are found by matching (see `sroie_fields` and `sroie_total`) and so are derived, not annotated.
//!
//! Source: Huang et al. 2019 (ICDAR 2019 SROIE), tasks 1 to 3.

use std::collections::BTreeMap;
use std::path::Path;

use layoutlm_core::bbox::Origin;
use layoutlm_core::receipt::{Receipt, ValidationStatus, Word};

use super::geometry::{Piece, around, cut_words, image_size, inside};
use super::layout::PartFolders;
use super::sroie_fields::{address_words, company_words, date_words};
use super::sroie_total::total_words;
use super::{Fault, read_json, read_text, stem};

/// A text segment of the source with its words.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TextLine {
    pub(super) text: String,
    pub(super) bbox: [f64; 4],
    pub(super) words: Vec<Piece>,
}

/// A word by line and place.
pub(super) type At = (usize, usize);

/// Reads one receipt and its fields.
pub(super) fn read(path: &Path, part: &PartFolders) -> Result<Receipt, Fault> {
    let lines = parse_lines(path)?;
    let fields = read_fields(path, part)?;
    let labels = label(&lines, &fields);
    let page = image_size(path, part);
    let mut words = Vec::new();
    for (line_id, line) in lines.iter().enumerate() {
        for (word_id, piece) in line.words.iter().enumerate() {
            let (label, field) = labels.get(&(line_id, word_id)).copied().unwrap_or(("O", "O"));
            words.push(Word {
                line_id: line_id as u32,
                word_id: word_id as u32,
                text: piece.text.clone(),
                bbox: inside(piece.bbox, page),
                label: Some(label.into()),
                validation_status: ValidationStatus::Valid,
                source_label: Some(field.into()),
                entity_id: None,
            });
        }
    }
    Ok(Receipt {
        image_id: format!("{}{}", part.prefix, stem(path)),
        receipt_id: 1,
        width: page.map(|p| p.0),
        height: page.map(|p| p.1),
        origin: Origin::TopLeft,
        merchant: fields.get("company").cloned().filter(|c| !c.trim().is_empty()),
        words,
    })
}

fn parse_lines(path: &Path) -> Result<Vec<TextLine>, Fault> {
    let text = read_text(path)?;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let fault = || {
            let reason = "expected x1,y1,x2,y2,x3,y3,x4,y4,TEXT with whole numbers".to_string();
            Fault { path: path.to_path_buf(), line: Some(number + 1), reason }
        };
        let parts: Vec<&str> = line.splitn(9, ',').collect();
        let (numbers, text) = parts.split_at_checked(8).ok_or_else(fault)?;
        let numbers: Result<Vec<f64>, _> = numbers.iter().map(|n| n.trim().parse::<f64>()).collect();
        let numbers = numbers.ok().filter(|n| n.iter().all(|v| v.is_finite())).ok_or_else(fault)?;
        let points: Vec<[f64; 2]> = numbers.chunks_exact(2).filter_map(|p| p.try_into().ok()).collect();
        let (bbox, text) = (around(&points), text.first().copied().unwrap_or_default().trim());
        let words = cut_words(text, bbox);
        if !words.is_empty() {
            lines.push(TextLine { text: text.to_string(), bbox, words });
        }
    }
    Ok(lines)
}

fn read_fields(path: &Path, part: &PartFolders) -> Result<BTreeMap<String, String>, Fault> {
    let folder = part.fields.as_deref().unwrap_or(Path::new("."));
    let name = stem(path);
    let candidates = ["json", "txt"].map(|ending| folder.join(format!("{name}.{ending}")));
    let Some(file) = candidates.iter().find(|p| p.is_file()) else {
        let reason = format!("its fields are missing: expected {} or .txt", candidates[0].display());
        return Err(Fault { path: path.to_path_buf(), line: None, reason });
    };
    read_json(file, "{\"company\": …, \"date\": …, \"address\": …, \"total\": …}, each a text")
}

/// Label and field of every word that one of the fields claims; a word wanted by two goes to the earlier of date,
/// total, company, address.
fn label(
    lines: &[TextLine],
    fields: &BTreeMap<String, String>,
) -> BTreeMap<At, (&'static str, &'static str)> {
    type Finder = fn(&[TextLine], &str) -> Vec<At>;
    let finders: [(&str, &str, Finder); 4] = [
        ("date", "DATE", date_words),
        ("total", "GRAND_TOTAL", total_words),
        ("company", "MERCHANT_NAME", company_words),
        ("address", "ADDRESS_LINE", address_words),
    ];
    let mut labels = BTreeMap::new();
    for (field, label, find) in finders {
        for at in fields.get(field).map(|key| find(lines, key)).unwrap_or_default() {
            labels.entry(at).or_insert((label, field));
        }
    }
    labels
}

#[cfg(test)]
pub(super) fn test_lines(lines: &[(&str, [f64; 4])]) -> Vec<TextLine> {
    let line = |(text, bbox): &(&str, [f64; 4])| TextLine {
        text: text.to_string(),
        bbox: *bbox,
        words: cut_words(text, *bbox),
    };
    lines.iter().map(line).collect()
}
