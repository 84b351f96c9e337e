//! From loose words and labels to receipts.

use std::collections::{BTreeMap, BTreeSet};

use layoutlm_core::bbox::Origin;
use layoutlm_core::receipt::{Receipt, ValidationStatus, Word};
use layoutlm_core::unit_page::scale_unit_pages;

use super::cache::CacheUse;
use crate::dynamo::{Fields, Item, ItemError, Label, LabelStatus, ReceiptKey, TableWord, WordKey};

/// A receipt with all labels of the wanted status.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledReceipt {
    /// The receipt; each word carries its first label by name.
    pub receipt: Receipt,
    /// All labels of each word, `[words]`, sorted by name.
    pub labels: Vec<Vec<String>>,
}

/// What a load found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Loaded {
    /// Sorted by key.
    pub receipts: Vec<LabelledReceipt>,
    /// Counts and complaints.
    pub report: LoadReport,
}

/// Counts of a load, and everything it had to leave out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LoadReport {
    /// Words of the receipts loaded.
    pub words: usize,
    /// Labels of the wanted status.
    pub labels: usize,
    /// Items that can't be read.
    pub malformed: Vec<ItemError>,
    /// Items of other types that came along, by type.
    pub other_types: BTreeMap<String, usize>,
    /// Labels of words that are not there.
    pub labels_without_word: Vec<WordKey>,
    /// Labelled receipts without a single word.
    pub receipts_without_words: Vec<ReceiptKey>,
    /// Receipts the allow list left out.
    pub not_allowed: usize,
    /// What the cache had to do with it.
    pub cache: CacheUse,
}

/// Loose items, sorted out by type.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) words: BTreeMap<ReceiptKey, BTreeMap<(u32, u32), TableWord>>,
    pub(super) labels: BTreeMap<WordKey, BTreeSet<String>>,
    pub(super) report: LoadReport,
}

impl Parts {
    /// Takes one item in; labels of another status do not count.
    pub(super) fn add(&mut self, item: &Item, wanted: LabelStatus) {
        let fields = Fields::of(item);
        match fields.item_type() {
            TableWord::TYPE => match TableWord::read(item) {
                Ok(word) => self.add_word(word),
                Err(error) => self.report.malformed.push(error),
            },
            Label::TYPE => self.add_label(item, wanted),
            "" => self.report.malformed.push(fields.error("TYPE", "is missing; expected the item's type")),
            other => *self.report.other_types.entry(other.into()).or_default() += 1,
        }
    }

    /// Takes a label in.
    pub(super) fn add_label(&mut self, item: &Item, wanted: LabelStatus) {
        match Label::read(item) {
            Ok(label) if label.status == wanted => {
                self.labels.entry(label.word).or_default().insert(label.label);
            }
            Ok(_) => {}
            Err(error) => self.report.malformed.push(error),
        }
    }

    /// Takes a word in; the first one of a key counts.
    pub(super) fn add_word(&mut self, word: TableWord) {
        let receipt = self.words.entry(word.key.receipt.clone()).or_default();
        receipt.entry((word.key.line_id, word.key.word_id)).or_insert(word);
    }

    /// Receipts that have a label of the wanted status.
    pub(super) fn labelled(&self) -> BTreeSet<ReceiptKey> {
        self.labels.keys().map(|word| word.receipt.clone()).collect()
    }

    /// Everything else is order: receipts by key, words by line and word, labels by name.
    pub(super) fn assemble(mut self, allow: Option<&BTreeSet<String>>) -> Loaded {
        let mut labelled = self.labelled();
        let all = labelled.len();
        labelled.retain(|key| allow.is_none_or(|names| names.contains(&key.name())));
        let mut loaded = Loaded { receipts: Vec::new(), report: std::mem::take(&mut self.report) };
        loaded.report.not_allowed = all - labelled.len();
        loaded.report.labels = self.labels.values().map(BTreeSet::len).sum();
        for key in &labelled {
            let Some(words) = self.words.remove(key).filter(|words| !words.is_empty()) else {
                loaded.report.receipts_without_words.push(key.clone());
                continue;
            };
            loaded.report.words += words.len();
            let labelled_words = self.labels.range(first_word(key)..).take_while(|(w, _)| w.receipt == *key);
            let gone =
                labelled_words.map(|(word, _)| word).filter(|w| !words.contains_key(&(w.line_id, w.word_id)));
            loaded.report.labels_without_word.extend(gone.cloned());
            loaded.receipts.push(receipt(key, words, &self.labels));
        }
        scale_unit_pages(loaded.receipts.iter_mut().map(|r| &mut r.receipt));
        loaded
    }
}

fn first_word(key: &ReceiptKey) -> WordKey {
    WordKey { receipt: key.clone(), line_id: 0, word_id: 0 }
}

fn receipt(
    key: &ReceiptKey,
    words: BTreeMap<(u32, u32), TableWord>,
    all: &BTreeMap<WordKey, BTreeSet<String>>,
) -> LabelledReceipt {
    let (words, labels) = words
        .into_values()
        .map(|word| {
            let labels: Vec<String> = all.get(&word.key).into_iter().flatten().cloned().collect();
            (plain_word(word, labels.first().cloned()), labels)
        })
        .unzip();
    LabelledReceipt { receipt: plain_receipt(key, words), labels }
}

pub(super) fn plain_word(word: TableWord, label: Option<String>) -> Word {
    Word {
        line_id: word.key.line_id,
        word_id: word.key.word_id,
        text: word.text,
        bbox: word.bbox,
        label,
        validation_status: ValidationStatus::Valid,
        source_label: None,
        entity_id: None,
    }
}

pub(super) fn plain_receipt(key: &ReceiptKey, words: Vec<Word>) -> Receipt {
    Receipt {
        image_id: key.image_id.clone(),
        receipt_id: key.receipt_id,
        width: None,
        height: None,
        origin: Origin::BottomLeft,
        merchant: None,
        words,
    }
}
