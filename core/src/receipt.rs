//! Receipts as they come in: words with raw boxes and, for training, labels. One JSON object per line.
//!
//! Every field is checked here once; a [`Receipt`] that was read has finite boxes, unique word ids and label names in
//! upper case.

use std::collections::BTreeSet;
use std::io::BufRead;

use serde::{Deserialize, Serialize};

use crate::bbox::{Origin, Page};
use crate::label::type_fault;

/// Longest text of one receipt line in a JSONL file, in bytes.
pub const MAX_LINE_BYTES: usize = 64 << 20;

/// UTF-8's own, at the start of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Where the truth about a label stands; only `VALID` ones train by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ValidationStatus {
    /// A person or rule confirmed it.
    #[default]
    Valid,
    /// Confirmed to be wrong.
    Invalid,
    /// Waiting for a person.
    NeedsReview,
    /// Queued for validation.
    Pending,
    /// Never validated.
    None,
}

impl ValidationStatus {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "VALID",
            Self::Invalid => "INVALID",
            Self::NeedsReview => "NEEDS_REVIEW",
            Self::Pending => "PENDING",
            Self::None => "NONE",
        }
    }
}

/// One OCR word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// Line the OCR engine put it on.
    pub line_id: u32,
    /// Id inside the line; `(line_id, word_id)` is unique in a receipt.
    pub word_id: u32,
    /// The text as read.
    pub text: String,
    /// `[x0, y0, x1, y1]` in the receipt's unit and origin, finite.
    #[serde(rename = "box")]
    pub bbox: [f64; 4],
    /// Entity type without prefix, or `O`; `None` when the receipt is not labelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Status of `label`.
    #[serde(default)]
    pub validation_status: ValidationStatus,
    /// Class in the source data, for reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_label: Option<String>,
    /// Words of one entity of the source share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity_id: Option<u32>,
}

impl Word {
    /// The label as training sees it: `O` unless it has status `wanted`.
    pub fn label_with(&self, wanted: ValidationStatus) -> &str {
        match &self.label {
            Some(label) if self.validation_status == wanted => label,
            _ => "O",
        }
    }
}

/// One receipt: a page and its words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Image the receipt is on.
    pub image_id: String,
    /// Number of the receipt on its image.
    #[serde(default = "one")]
    pub receipt_id: u32,
    /// Page width in the boxes' unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<f64>,
    /// Page height in the boxes' unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<f64>,
    /// Where y is 0.
    #[serde(default)]
    pub origin: Origin,
    /// Who issued it, if known; groups splits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant: Option<String>,
    /// Words in the order given.
    pub words: Vec<Word>,
}

fn one() -> u32 {
    1
}

/// What is wrong with a receipt, and in which field.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// Not JSON or not of the right shape.
    #[error("{0}")]
    Json(String),
    /// A field holds what it can't.
    #[error("{field}: {reason}")]
    Field {
        /// Path of the field, e.g. `words[3].box`.
        field: String,
        /// What was wrong and what is expected.
        reason: String,
    },
}

impl Receipt {
    /// Reads and checks one JSON object; its labels come out as [`Self::name_labels`] writes them.
    ///
    /// # Errors
    /// [`ReceiptError`] with the field's path.
    pub fn from_json(text: &str) -> Result<Self, ReceiptError> {
        let mut receipt: Self = serde_json::from_str(text).map_err(|e| ReceiptError::Json(e.to_string()))?;
        // First, so that a refusal quotes what is written there.
        receipt.check()?;
        receipt.name_labels();
        Ok(receipt)
    }

    /// Writes labels in upper case and without spaces around them: they are names, not texts, and merges, allow lists
    /// and models know them in that form only.
    pub fn name_labels(&mut self) {
        for label in self.words.iter_mut().filter_map(|w| w.label.as_mut()) {
            let name = label.trim().to_uppercase();
            if *label != name {
                *label = name;
            }
        }
    }

    /// Checks what the type alone can't: sizes positive, boxes finite, word ids unique, labels well formed.
    ///
    /// # Errors
    /// [`ReceiptError::Field`].
    pub fn check(&self) -> Result<(), ReceiptError> {
        let fail = |field: String, reason: String| Err(ReceiptError::Field { field, reason });
        if self.image_id.is_empty() {
            return fail("image_id".into(), "is empty; give every receipt a name".into());
        }
        for (name, size) in [("width", self.width), ("height", self.height)] {
            if size.is_some_and(|s| !(s.is_finite() && s > 0.0)) {
                return fail(
                    name.into(),
                    format!("{} is no page size; expected a number above 0", size.unwrap_or(0.0)),
                );
            }
        }
        let mut seen = BTreeSet::new();
        for (i, word) in self.words.iter().enumerate() {
            if word.bbox.iter().any(|v| !v.is_finite()) {
                return fail(format!("words[{i}].box"), format!("{:?} is not finite", word.bbox));
            }
            if !seen.insert((word.line_id, word.word_id)) {
                let (l, w) = (word.line_id, word.word_id);
                return fail(format!("words[{i}].word_id"), format!("line_id {l}, word_id {w} occurs twice"));
            }
            if let Some((label, fault)) = word.label.as_deref().and_then(|l| Some((l, type_fault(l)?))) {
                let reason = format!("{label:?} {fault}; expected O or an entity type without B-/I- prefix");
                return fail(format!("words[{i}].label"), reason);
            }
        }
        Ok(())
    }

    /// `<image_id>#<receipt_id:05>`, the key used in splits.
    pub fn key(&self) -> String {
        format!("{}#{:05}", self.image_id, self.receipt_id)
    }

    /// Words (indices) by line and, inside a line, by word id.
    pub fn line_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.words.len()).collect();
        order.sort_by_key(|&i| self.words.get(i).map(|w| (w.line_id, w.word_id)));
        order
    }

    /// Runs of `order` that lie on one line each.
    pub fn lines<'a>(&'a self, order: &'a [usize]) -> impl Iterator<Item = &'a [usize]> {
        let line = |i: &usize| self.words.get(*i).map(|w| w.line_id);
        order.chunk_by(move |a, b| line(a) == line(b))
    }

    /// The page its boxes lie on.
    pub fn page(&self) -> Page {
        Page { width: self.width, height: self.height, origin: self.origin }
    }
}

/// What to do with a line that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLines {
    /// Stop with an error.
    Refuse,
    /// Count it, keep its message, go on.
    Skip,
}

/// A line that could not be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{file}:{line}: {error}")]
pub struct BadLine {
    /// The file as the caller named it.
    pub file: String,
    /// 1-based.
    pub line: usize,
    /// What was wrong.
    pub error: ReceiptError,
}

/// Receipts of one file and the lines skipped.
#[derive(Debug, Default)]
pub struct ReadReceipts {
    /// In file order.
    pub receipts: Vec<Receipt>,
    /// Lines left out under [`BadLines::Skip`].
    pub skipped: Vec<BadLine>,
}

/// Receipts of a reader as they come, one JSON object per line; blank lines and a byte order mark at the start are
/// passed over.
///
/// A line that can't be read is an error and the next call goes on behind it, except where the reader itself fails:
/// then [`ReceiptLines::has_failed`] is true and there is nothing more. A receipt that occurs twice is a bad line.
#[derive(Debug)]
pub struct ReceiptLines<R> {
    reader: R,
    file: String,
    line: usize,
    seen: BTreeSet<String>,
    buffer: Vec<u8>,
    failed: bool,
}

impl<R: BufRead> ReceiptLines<R> {
    /// Reads from the start; `file` is what errors call it.
    pub fn new(reader: R, file: &str) -> Self {
        Self { reader, file: file.into(), line: 0, seen: BTreeSet::new(), buffer: Vec::new(), failed: false }
    }

    /// Whether reading itself failed.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    fn bad(&self, error: ReceiptError) -> BadLine {
        BadLine { file: self.file.clone(), line: self.line, error }
    }
}

impl<R: BufRead> Iterator for ReceiptLines<R> {
    type Item = Result<Receipt, BadLine>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            self.line += 1;
            self.buffer.clear();
            match self.reader.read_until(b'\n', &mut self.buffer) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => {
                    self.failed = true;
                    return Some(Err(self.bad(ReceiptError::Json(error.to_string()))));
                }
            }
            // A byte order mark, as Windows programs write one, belongs to the file and not to its first line.
            let mark = if self.line == 1 { BYTE_ORDER_MARK } else { &[] };
            let line = self.buffer.strip_prefix(mark).unwrap_or(&self.buffer);
            match parse_line(line, &mut self.seen) {
                Ok(None) => {}
                Ok(Some(receipt)) => return Some(Ok(receipt)),
                Err(error) => return Some(Err(self.bad(error))),
            }
        }
        None
    }
}

/// Reads receipts, one JSON object per line; blank lines are passed over.
///
/// # Errors
/// The first [`BadLine`] under [`BadLines::Refuse`]; a failing reader is reported as a bad line in either mode.
pub fn read_jsonl(reader: impl BufRead, file: &str, bad: BadLines) -> Result<ReadReceipts, BadLine> {
    let mut out = ReadReceipts::default();
    let mut lines = ReceiptLines::new(reader, file);
    while let Some(line) = lines.next() {
        match line {
            Ok(receipt) => out.receipts.push(receipt),
            Err(error) if bad == BadLines::Skip && !lines.has_failed() => out.skipped.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok(out)
}

fn parse_line(bytes: &[u8], seen: &mut BTreeSet<String>) -> Result<Option<Receipt>, ReceiptError> {
    if bytes.len() > MAX_LINE_BYTES {
        return Err(ReceiptError::Json(format!("line of {} bytes; at most {MAX_LINE_BYTES}", bytes.len())));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| ReceiptError::Json(format!("not UTF-8: {e}")))?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    let receipt = Receipt::from_json(text)?;
    if !seen.insert(receipt.key()) {
        let reason = format!("receipt {} occurs twice in this file", receipt.key());
        return Err(ReceiptError::Field { field: "receipt_id".into(), reason });
    }
    Ok(Some(receipt))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"image_id":"a","receipt_id":1,"width":10,"height":10,"words":[{"line_id":0,"word_id":0,"text":"x","box":[0,0,1,1],"label":"DATE"}]}"#;

    #[test]
    fn a_bad_line_is_named_by_file_line_and_field() {
        let text = format!("{GOOD}\n\n{}\n", GOOD.replace("\"a\"", "\"b\"").replace("[0,0,1,1]", "[0,0,1]"));
        let e = read_jsonl(text.as_bytes(), "r.jsonl", BadLines::Refuse).unwrap_err();
        assert_eq!((e.line, e.file.as_str()), (3, "r.jsonl"));
        assert!(e.to_string().contains("column"), "{e}");
    }

    #[test]
    fn skipped_lines_are_counted_and_the_rest_is_kept() {
        let text = format!("nonsense\n{GOOD}\n{GOOD}\n");
        let read = read_jsonl(text.as_bytes(), "r.jsonl", BadLines::Skip).unwrap();
        assert_eq!((read.receipts.len(), read.skipped.len()), (1, 2));
        assert!(read.skipped[1].to_string().contains("occurs twice"));
    }

    #[test]
    fn duplicate_word_ids_prefixed_labels_and_bad_sizes_are_refused() {
        let two = GOOD.replace("]}", r#",{"line_id":0,"word_id":0,"text":"y","box":[0,0,1,1]}]}"#);
        assert!(Receipt::from_json(&two).unwrap_err().to_string().starts_with("words[1].word_id"));
        assert!(Receipt::from_json(&GOOD.replace("DATE", "B-DATE")).is_err());
        assert!(Receipt::from_json(&GOOD.replace("\"width\":10", "\"width\":0")).is_err());
        assert!(Receipt::from_json(&GOOD.replace("[0,0,1,1]", "[0,0,1,1e999]")).is_err());
    }

    #[test]
    fn labels_are_names_whatever_their_case_and_the_spaces_around_them() {
        let read = |label: &str| Receipt::from_json(&GOOD.replace("DATE", label));
        assert_eq!(read(" date ").unwrap().words[0].label.as_deref(), Some("DATE"));
        assert_eq!(read("o").unwrap().words[0].label.as_deref(), Some("O"));
        for bad in ["b-date", "I-date", " B-DATE", " ", r"DA\nTE", r"DA\u0000TE"] {
            let said = read(bad).unwrap_err().to_string();
            assert!(said.starts_with("words[0].label: ") && said.lines().count() == 1, "{bad:?}: {said}");
        }
        let mut unread = read("DATE").unwrap();
        unread.words[0].label = Some("b-date".into());
        assert!(unread.check().is_err(), "what came by another way than JSON is checked alike");
    }

    #[test]
    fn a_byte_order_mark_is_passed_over_at_the_start_of_a_file_and_nowhere_else() {
        let marked = format!("\u{feff}{GOOD}\n");
        assert_eq!(read_jsonl(marked.as_bytes(), "r", BadLines::Refuse).unwrap().receipts.len(), 1);
        assert!(read_jsonl(format!("\n{marked}").as_bytes(), "r", BadLines::Refuse).is_err());
    }

    #[test]
    fn only_labels_of_the_wanted_status_train() {
        let r = Receipt::from_json(&GOOD.replace("\"label\"", "\"validation_status\":\"PENDING\",\"label\""))
            .unwrap();
        assert_eq!(r.words[0].label_with(ValidationStatus::Valid), "O");
        assert_eq!(r.words[0].label_with(ValidationStatus::Pending), "DATE");
    }
}
