//! A receipt with the labels that count, and the tags they make.

use layoutlm_core::label::LabelScheme;
use layoutlm_core::receipt::{Receipt, ValidationStatus};

/// A receipt's words with every label of the wanted status, in upper case.
///
/// The first label of a word is the one it trains with; further ones only say where the item band lies.
#[derive(Debug, Clone)]
pub struct LabelledReceipt<'a> {
    /// The receipt.
    pub receipt: &'a Receipt,
    /// Labels of each word, `[words]`; empty for unlabelled ones.
    labels: Vec<Vec<String>>,
}

impl<'a> LabelledReceipt<'a> {
    /// Takes the receipt's own labels of status `wanted`; those of any other status do not exist.
    pub fn new(receipt: &'a Receipt, wanted: ValidationStatus) -> Self {
        let of =
            |status, label: &Option<String>| label.iter().filter(|_| status == wanted).cloned().collect();
        let labels = receipt.words.iter().map(|w| of(w.validation_status, &w.label)).collect();
        Self::with_labels(receipt, labels)
    }

    /// Takes labels from elsewhere, `[words]`, e.g. a database that holds several for a word. Missing ones are none.
    pub fn with_labels(receipt: &'a Receipt, mut labels: Vec<Vec<String>>) -> Self {
        labels.resize(receipt.words.len(), Vec::new());
        for label in labels.iter_mut().flatten() {
            *label = label.to_uppercase();
        }
        Self { receipt, labels }
    }

    /// True when at least one word has a label of the wanted status, be it `O`.
    pub fn is_labelled(&self) -> bool {
        self.labels.iter().any(|l| !l.is_empty())
    }

    /// The label a word trains with; `O` without one.
    pub fn label(&self, word: usize) -> &str {
        self.all(word).first().map_or("O", String::as_str)
    }

    /// All labels of a word.
    pub fn all(&self, word: usize) -> &[String] {
        self.labels.get(word).map_or(&[], Vec::as_slice)
    }
}

/// Receipts with at least one label of the wanted status (`O` counts), and how many were left out.
///
/// A receipt that nobody labelled says nothing: training on it would teach that all of its words are `O`.
pub fn labelled_only(receipts: Vec<Receipt>, wanted: ValidationStatus) -> (Vec<Receipt>, usize) {
    let total = receipts.len();
    let kept: Vec<Receipt> =
        receipts.into_iter().filter(|r| LabelledReceipt::new(r, wanted).is_labelled()).collect();
    let left_out = total - kept.len();
    (kept, left_out)
}

/// When a word continues the entity of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Continues {
    /// The labels before merging are equal: SUBTOTAL beside TAX makes two AMOUNT entities.
    SameSource,
    /// The labels after merging are equal: SUBTOTAL beside TAX makes one.
    SameMerged,
}

/// Tags of words in reading order.
pub(super) fn tags<'a>(
    scheme: &'a LabelScheme,
    sources: impl IntoIterator<Item = &'a str>,
    rule: Continues,
) -> Vec<String> {
    let tags = match rule {
        Continues::SameSource => scheme.bio(sources),
        Continues::SameMerged => scheme.bio_merged(sources),
    };
    tags.iter().map(ToString::to_string).collect()
}

/// A window that starts inside an entity starts one of its own.
pub(super) fn begin_first(tags: &mut [String]) {
    if let Some(first) = tags.first_mut()
        && let Some(kind) = first.strip_prefix("I-")
    {
        *first = format!("B-{kind}");
    }
}

#[cfg(test)]
mod tests {
    use layoutlm_core::label::{core_labels, preset};

    use super::*;

    #[test]
    fn merged_neighbours_are_two_entities_by_source_and_one_by_target() {
        let scheme = LabelScheme::new(preset("amounts").unwrap(), None, &core_labels()).unwrap();
        let sources = ["SUBTOTAL", "TAX", "O", "TAX"];
        assert_eq!(tags(&scheme, sources, Continues::SameSource), ["B-AMOUNT", "B-AMOUNT", "O", "B-AMOUNT"]);
        assert_eq!(tags(&scheme, sources, Continues::SameMerged), ["B-AMOUNT", "I-AMOUNT", "O", "B-AMOUNT"]);
    }

    #[test]
    fn labels_of_another_status_do_not_exist_and_case_does_not_matter() {
        let json = r#"{"image_id":"a","words":[
            {"line_id":0,"word_id":0,"text":"x","box":[0,0,1,1],"label":"date"},
            {"line_id":0,"word_id":1,"text":"y","box":[0,0,1,1],"label":"TIME","validation_status":"INVALID"}]}"#;
        let receipt = Receipt::from_json(json).unwrap();
        let labelled = LabelledReceipt::new(&receipt, ValidationStatus::Valid);
        assert_eq!((labelled.label(0), labelled.label(1)), ("DATE", "O"));
        assert!(labelled.is_labelled());
        let (kept, left_out) = labelled_only(vec![receipt.clone(), receipt], ValidationStatus::Pending);
        assert_eq!((kept.len(), left_out), (0, 2));
    }

    #[test]
    fn a_window_never_starts_inside() {
        let mut inside = vec!["I-DATE".to_string(), "I-DATE".into()];
        begin_first(&mut inside);
        assert_eq!(inside, ["B-DATE", "I-DATE"]);
    }
}
