//! Who issued a receipt, as far as the receipt says.

use std::collections::BTreeMap;

use layoutlm_core::receipt::{Receipt, ValidationStatus, Word};

/// A merchant's name reduced to what identifies it: upper case, runs of anything but letters and digits as one `_`.
pub fn merchant_key(name: &str) -> String {
    let upper = name.to_uppercase();
    let parts: Vec<&str> = upper.split(|c: char| !c.is_alphanumeric()).filter(|p| !p.is_empty()).collect();
    parts.join("_")
}

/// The key of a receipt's merchant: its `merchant` field, else the first run of words labelled MERCHANT_NAME.
///
/// `None` when neither says anything.
pub fn merchant_of(receipt: &Receipt) -> Option<String> {
    let named = receipt.merchant.as_deref().map(merchant_key);
    let key = named
        .filter(|key| !key.is_empty())
        .unwrap_or_else(|| merchant_key(&labelled_name(receipt, ValidationStatus::Valid)));
    (!key.is_empty()).then_some(key)
}

/// Writes the merchant that words labelled with `status` name into the receipt, where its field says nothing.
///
/// For what no longer holds those words or labels later on.
pub(super) fn name_merchant(receipt: &mut Receipt, status: ValidationStatus) {
    let name = labelled_name(receipt, status);
    let unnamed = receipt.merchant.as_deref().is_none_or(|m| merchant_key(m).is_empty());
    if unnamed && !merchant_key(&name).is_empty() {
        receipt.merchant = Some(name);
    }
}

/// The first run of MERCHANT_NAME words in (line, word) order. Later runs, e.g. in a footer, may or may not be there
/// on another receipt of the same merchant.
fn labelled_name(receipt: &Receipt, status: ValidationStatus) -> String {
    let mut words: Vec<_> = receipt.words.iter().collect();
    words.sort_by_key(|w| (w.line_id, w.word_id));
    let is_name = |word: &Word| word.label_with(status) == "MERCHANT_NAME";
    let texts: Vec<&str> = words
        .iter()
        .skip_while(|w| !is_name(w))
        .take_while(|w| is_name(w))
        .map(|w| w.text.as_str())
        .collect();
    texts.join(" ")
}

/// Receipts (as indices) by merchant, in key order; a receipt of an unknown merchant is a group of its own.
pub fn merchant_groups(receipts: &[Receipt]) -> BTreeMap<String, Vec<usize>> {
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, receipt) in receipts.iter().enumerate() {
        // A key of letters, digits and `_` can't collide with one that holds `#`.
        let group = merchant_of(receipt).unwrap_or_else(|| format!("#{}", receipt.key()));
        groups.entry(group).or_default().push(index);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(json: &str) -> Receipt {
        Receipt::from_json(json).unwrap()
    }

    #[test]
    fn the_field_wins_over_the_words_and_spelling_does_not_matter() {
        let words = r#"[{"line_id":1,"word_id":0,"text":"Cafe","box":[0,0,1,1],"label":"MERCHANT_NAME"},
            {"line_id":1,"word_id":1,"text":"(Uno)","box":[0,0,1,1],"label":"MERCHANT_NAME"},
            {"line_id":2,"word_id":0,"text":"hi","box":[0,0,1,1],"label":"O"},
            {"line_id":3,"word_id":0,"text":"Cafe","box":[0,0,1,1],"label":"MERCHANT_NAME"}]"#;
        let labelled = receipt(&format!(r#"{{"image_id":"a","words":{words}}}"#));
        assert_eq!(merchant_of(&labelled).as_deref(), Some("CAFE_UNO"));
        let named = receipt(&format!(r#"{{"image_id":"a","merchant":"cafe-DUE!","words":{words}}}"#));
        assert_eq!(merchant_of(&named).as_deref(), Some("CAFE_DUE"));
        assert_eq!(merchant_of(&receipt(r#"{"image_id":"a","words":[]}"#)), None);
    }

    #[test]
    fn receipts_of_unknown_merchants_stay_apart() {
        let all: Vec<Receipt> =
            [r#"{"image_id":"a","words":[]}"#, r#"{"image_id":"b","words":[]}"#].map(receipt).into();
        assert_eq!(merchant_groups(&all).len(), 2);
    }
}
