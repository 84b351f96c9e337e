//! Keys of items: decimal ids padded to five digits, joined by `#`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::fields::{Fields, ItemError};

/// A table key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey {
    /// Partition key.
    pub pk: String,
    /// Sort key.
    pub sk: String,
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}", self.pk, self.sk)
    }
}

/// A receipt of an image. Orders as the table does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReceiptKey {
    /// Image it is on, as spelled in the table (case matters).
    pub image_id: String,
    /// Its number on the image.
    pub receipt_id: u32,
}

impl ReceiptKey {
    /// Partition key of everything on the image.
    pub fn pk(&self) -> String {
        format!("IMAGE#{}", self.image_id)
    }

    /// Key of the indexes that list a receipt's parts.
    pub fn index(&self) -> String {
        format!("IMAGE#{}#RECEIPT#{:05}", self.image_id, self.receipt_id)
    }

    /// `<image_id>#<receipt_id:05>`, as splits and key files name it.
    pub fn name(&self) -> String {
        format!("{}#{:05}", self.image_id, self.receipt_id)
    }

    /// Reads [`Self::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        let (image_id, receipt_id) = name.rsplit_once('#')?;
        let receipt_id = receipt_id.parse().ok()?;
        (!image_id.is_empty()).then(|| Self { image_id: image_id.into(), receipt_id })
    }
}

impl fmt::Display for ReceiptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// A word of a receipt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WordKey {
    /// The receipt.
    pub receipt: ReceiptKey,
    /// Its line.
    pub line_id: u32,
    /// The word on the line.
    pub word_id: u32,
}

impl WordKey {
    /// Sort key of the word.
    pub fn sk(&self) -> String {
        let (r, l, w) = (self.receipt.receipt_id, self.line_id, self.word_id);
        format!("RECEIPT#{r:05}#LINE#{l:05}#WORD#{w:05}")
    }

    /// `IMAGE#…#RECEIPT#…#LINE#…#WORD#…`, as index keys have it.
    pub fn path(&self) -> String {
        format!("{}#{}", self.receipt.pk(), self.sk())
    }
}

/// The fields of a sort key after checking that it has the names expected, e.g. `RECEIPT`, `LINE`, `WORD`.
pub(super) struct SortKey<'a> {
    parts: Vec<&'a str>,
    fields: Fields<'a>,
}

impl<'a> SortKey<'a> {
    /// Splits the sort key; every second part must be one of `names`, in order.
    pub(super) fn of(fields: Fields<'a>, names: &[&str]) -> Result<Self, ItemError> {
        let parts: Vec<&str> = fields.text("SK")?.split('#').collect();
        let named = names.iter().enumerate().all(|(i, name)| parts.get(2 * i) == Some(name));
        if !named || parts.len() < 2 * names.len() {
            return Err(fields.error("SK", format!("expected {}", names.join("#…#") + "#…")));
        }
        Ok(Self { parts, fields })
    }

    /// The value after the name at `index`.
    pub(super) fn text(&self, index: usize) -> &'a str {
        self.parts.get(2 * index + 1).copied().unwrap_or("")
    }

    pub(super) fn number(&self, index: usize) -> Result<u32, ItemError> {
        let text = self.text(index);
        text.parse().map_err(|_| self.fields.error("SK", format!("{text:?} is no number")))
    }
}

/// The image id of an item's partition key.
pub(super) fn image_id<'a>(fields: Fields<'a>) -> Result<&'a str, ItemError> {
    let id = fields.text("PK")?.strip_prefix("IMAGE#").filter(|id| !id.is_empty());
    id.ok_or_else(|| fields.error("PK", "expected IMAGE#<image id>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_padded_to_five_digits_and_grow_beyond() {
        let receipt = ReceiptKey { image_id: "a".into(), receipt_id: 123_456 };
        let word = WordKey { receipt: receipt.clone(), line_id: 7, word_id: 0 };
        assert_eq!(word.sk(), "RECEIPT#123456#LINE#00007#WORD#00000");
        assert_eq!(receipt.name(), "a#123456");
        assert_eq!(ReceiptKey::from_name("a#123456"), Some(receipt));
        assert_eq!(ReceiptKey::from_name("a"), None);
    }
}
