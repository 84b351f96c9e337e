//! RECEIPT and RECEIPT_PLACE: the receipt's own row, and which shop issued it.

use super::fields::{Fields, Item, ItemError};
use super::keys::{ReceiptKey, SortKey, image_id};

/// A receipt's own row, reduced to what labelling needs.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceiptHead {
    /// Which receipt it is.
    pub key: ReceiptKey,
    /// Width of its image in pixels.
    pub width: f64,
    /// Height of its image in pixels.
    pub height: f64,
}

impl ReceiptHead {
    /// Its `TYPE`; a reserved number has the same keys and another type.
    pub const TYPE: &'static str = "RECEIPT";

    /// # Errors
    /// [`ItemError`] with the field that can't be read.
    pub fn read(item: &Item) -> Result<Self, ItemError> {
        let fields = Fields::of(item);
        Ok(Self {
            key: receipt_key(fields)?,
            width: fields.number("width")?,
            height: fields.number("height")?,
        })
    }
}

/// The shop a receipt came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The receipt.
    pub key: ReceiptKey,
    /// Name of the shop.
    pub merchant_name: String,
    /// Id of the place; `None` when unknown.
    pub place_id: Option<String>,
}

impl Place {
    /// Its `TYPE`.
    pub const TYPE: &'static str = "RECEIPT_PLACE";

    /// # Errors
    /// [`ItemError`] with the field that can't be read.
    pub fn read(item: &Item) -> Result<Self, ItemError> {
        let fields = Fields::of(item);
        let place_id = fields.optional_text("place_id")?.filter(|id| !id.is_empty());
        Ok(Self {
            key: receipt_key(fields)?,
            merchant_name: fields.text("merchant_name")?.into(),
            place_id: place_id.map(String::from),
        })
    }
}

fn receipt_key(fields: Fields<'_>) -> Result<ReceiptKey, ItemError> {
    let sk = SortKey::of(fields, &["RECEIPT"])?;
    Ok(ReceiptKey { image_id: image_id(fields)?.into(), receipt_id: sk.number(0)? })
}
