//! FUNSD: one JSON file per form, entities with their words.
//!
//! Source: Jaume et al. 2019, §3 (annotation format).

use std::path::Path;

use layoutlm_core::bbox::Origin;
use layoutlm_core::receipt::{Receipt, ValidationStatus, Word};
use serde::Deserialize;

use super::geometry::{cut_words, image_size, inside};
use super::layout::PartFolders;
use super::{Fault, read_json, stem};

#[derive(Deserialize)]
struct Form {
    form: Vec<Entity>,
}

#[derive(Deserialize)]
struct Entity {
    label: String,
    words: Vec<FormWord>,
}

#[derive(Deserialize)]
struct FormWord {
    text: String,
    #[serde(rename = "box")]
    bbox: [f64; 4],
}

/// Reads one form. Words keep the order of the file; lines are found from where words drop or jump back.
pub(super) fn read(path: &Path, part: &PartFolders) -> Result<Receipt, Fault> {
    let form: Form =
        read_json(path, "{\"form\": [{\"label\": …, \"words\": [{\"text\": …, \"box\": [4 numbers]}]}]}")?;
    let page = image_size(path, part);
    let mut lines = Lines::default();
    let mut words = Vec::new();
    let filled = form.form.iter().filter(|e| e.words.iter().any(|w| !w.text.trim().is_empty()));
    for (entity_id, entity) in filled.enumerate() {
        let label = entity.label.trim().to_uppercase();
        let label = if label == "OTHER" { "O".to_string() } else { label };
        lines.start();
        for word in &entity.words {
            for piece in cut_words(&word.text, word.bbox) {
                let (line_id, word_id) = lines.place(piece.bbox);
                words.push(Word {
                    line_id,
                    word_id,
                    text: piece.text,
                    bbox: inside(piece.bbox, page),
                    label: Some(label.clone()),
                    validation_status: ValidationStatus::Valid,
                    source_label: Some(entity.label.clone()),
                    entity_id: Some(entity_id as u32),
                });
            }
        }
    }
    Ok(Receipt {
        image_id: format!("{}{}", part.prefix, stem(path)),
        receipt_id: 1,
        width: page.map(|p| p.0),
        height: page.map(|p| p.1),
        origin: Origin::TopLeft,
        merchant: None,
        words,
    })
}

/// Numbers words by line and place.
#[derive(Default)]
struct Lines {
    next_line: u32,
    next_word: u32,
    previous: Option<[f64; 4]>,
}

impl Lines {
    /// The next word starts a line.
    fn start(&mut self) {
        self.previous = None;
    }

    fn place(&mut self, bbox: [f64; 4]) -> (u32, u32) {
        // A word is on the line of the one before while its middle is not below that one's foot.
        let continues = self.previous.is_some_and(|p| (bbox[1] + bbox[3]) / 2.0 <= p[3] && bbox[0] >= p[0]);
        if !continues {
            self.next_line += 1;
            self.next_word = 0;
        }
        self.previous = Some(bbox);
        self.next_word += 1;
        (self.next_line - 1, self.next_word - 1)
    }
}
