//! RECEIPT_WORD: text and geometry of one OCR word.

use serde::{Deserialize, Serialize};

use super::fields::{Fields, Item, ItemError};
use super::keys::{ReceiptKey, SortKey, WordKey, image_id};

/// A word as the table holds it, reduced to what labelling needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableWord {
    /// Which word it is.
    pub key: WordKey,
    /// The text as read; may be empty.
    pub text: String,
    /// Extents of the four corners, `[x0, y0, x1, y1]`, relative to the receipt, origin bottom left.
    pub bbox: [f64; 4],
}

impl TableWord {
    /// Its `TYPE`.
    pub const TYPE: &'static str = "RECEIPT_WORD";

    /// # Errors
    /// [`ItemError`] with the field that can't be read.
    pub fn read(item: &Item) -> Result<Self, ItemError> {
        let fields = Fields::of(item);
        let sk = SortKey::of(fields, &["RECEIPT", "LINE", "WORD"])?;
        let receipt = ReceiptKey { image_id: image_id(fields)?.into(), receipt_id: sk.number(0)? };
        let key = WordKey { receipt, line_id: sk.number(1)?, word_id: sk.number(2)? };
        Ok(Self { key, text: fields.text("text")?.into(), bbox: extents(fields)? })
    }
}

fn extents(fields: Fields<'_>) -> Result<[f64; 4], ItemError> {
    let mut bbox = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
    for corner in ["top_left", "top_right", "bottom_left", "bottom_right"] {
        let point = fields.map(corner)?;
        let coordinate =
            |axis| point.number(axis).map_err(|e| fields.error(&format!("{corner}.{axis}"), e.reason));
        let (x, y) = (coordinate("x")?, coordinate("y")?);
        let [x0, y0, x1, y1] = bbox;
        bbox = [x0.min(x), y0.min(y), x1.max(x), y1.max(y)];
    }
    Ok(bbox)
}
