//! The item band: the part of a receipt between its head and its totals.
//!
//! Found from labels, so it only exists for labelled receipts. Which of its two edges is above does not matter, so
//! the rule holds for either origin.

use layoutlm_core::bbox::{BoxRule, NormalizedBox};
use layoutlm_core::receipt::{Receipt, ValidationStatus};

use super::labelled::LabelledReceipt;

const TOTALS: [&str; 3] = ["SUBTOTAL", "TAX", "GRAND_TOTAL"];
const HEADER: [&str; 3] = ["ADDRESS_LINE", "PHONE_NUMBER", "STORE_HOURS"];
const MERCHANT: &str = "MERCHANT_NAME";

/// Words (indices in the order given) of the item band; `None` when the labels do not show one.
///
/// The totals' edge is the median middle of the words labelled SUBTOTAL, TAX or GRAND_TOTAL; the head's that of
/// ADDRESS_LINE, PHONE_NUMBER or STORE_HOURS, else the MERCHANT_NAME word farthest from the totals. Words strictly
/// between them that carry no label of the totals or of the head make the band.
pub(super) fn item_band(labelled: &LabelledReceipt<'_>, boxes: &[NormalizedBox]) -> Option<Vec<usize>> {
    let middle = |word: usize| {
        let [_, y0, _, y1] = boxes.get(word).map_or([0; 4], |b| b.corners());
        f64::from(y0 + y1) / 2.0
    };
    let words = 0..labelled.receipt.words.len();
    let carries =
        |word: usize, wanted: &[&str]| labelled.all(word).iter().any(|l| wanted.contains(&l.as_str()));
    let middles =
        |wanted: &[&str]| -> Vec<f64> { words.clone().filter(|&w| carries(w, wanted)).map(middle).collect() };
    let totals = median(middles(&TOTALS))?;
    let head = median(middles(&HEADER)).or_else(|| {
        // The first of two equally far ones counts, and `max_by` would take the last.
        let farther = |a: &f64, b: &f64| (a - totals).abs().total_cmp(&(b - totals).abs());
        middles(&[MERCHANT]).into_iter().rev().max_by(farther)
    })?;
    let (low, high) = (head.min(totals), head.max(totals));
    let anchors: Vec<&str> = TOTALS.iter().chain(&HEADER).copied().collect();
    let inside = |&w: &usize| low < middle(w) && middle(w) < high && !carries(w, &anchors);
    Some(words.clone().filter(inside).collect())
}

/// The receipt with the words of its item band alone, on the same page; `None` without a band or with an empty one.
pub fn crop_to_items(receipt: &Receipt, rule: BoxRule, status: ValidationStatus) -> Option<Receipt> {
    let raw: Vec<[f64; 4]> = receipt.words.iter().map(|w| w.bbox).collect();
    let boxes = rule.normalize(receipt.page(), &raw);
    let band = item_band(&LabelledReceipt::new(receipt, status), &boxes)?;
    let largest = |of: fn(&[f64; 4]) -> f64| raw.iter().map(of).fold(0.0, f64::max);
    let words: Vec<_> = band.into_iter().filter_map(|w| receipt.words.get(w).cloned()).collect();
    (!words.is_empty()).then(|| Receipt {
        // Without a stated size the page is what the words reach, those outside the band too.
        width: receipt.width.or_else(|| Some(largest(|b| b[0].max(b[2]))).filter(|w| *w > 0.0)),
        height: receipt.height.or_else(|| Some(largest(|b| b[1].max(b[3]))).filter(|h| *h > 0.0)),
        words,
        ..receipt.clone()
    })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let upper = values.get(half).copied()?;
    if values.len() % 2 == 1 { Some(upper) } else { values.get(half - 1).map(|lower| (lower + upper) / 2.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A receipt of one word per row, ten apart, with these labels.
    fn band(labels: &[&str]) -> Option<Vec<usize>> {
        let word = |(i, _): (usize, &&str)| {
            format!(r#"{{"line_id":{i},"word_id":0,"text":"x","box":[0,{},9,{}]}}"#, i * 10, i * 10 + 8)
        };
        let words: Vec<String> = labels.iter().enumerate().map(word).collect();
        let receipt =
            Receipt::from_json(&format!(r#"{{"image_id":"a","words":[{}]}}"#, words.join(","))).unwrap();
        let all =
            labels.iter().map(|l| l.split('+').filter(|l| *l != "-").map(String::from).collect()).collect();
        let boxes: Vec<NormalizedBox> = (0..labels.len() as u16)
            .map(|i| NormalizedBox::new([0, i * 10, 9, i * 10 + 8]).unwrap())
            .collect();
        item_band(&LabelledReceipt::with_labels(&receipt, all), &boxes)
    }

    #[test]
    fn the_band_lies_between_head_and_totals_in_either_direction() {
        assert_eq!(band(&["MERCHANT_NAME", "ADDRESS_LINE", "-", "DATE", "TAX"]), Some(vec![2, 3]));
        assert_eq!(band(&["TAX", "-", "ADDRESS_LINE", "MERCHANT_NAME"]), Some(vec![1]));
    }

    #[test]
    fn the_merchant_stands_in_for_a_head_and_without_anchors_there_is_no_band() {
        assert_eq!(band(&["MERCHANT_NAME", "-", "MERCHANT_NAME", "-", "GRAND_TOTAL"]), Some(vec![1, 2, 3]));
        assert_eq!(band(&["ADDRESS_LINE", "-", "-"]), None);
        assert_eq!(band(&["-", "-", "TAX"]), None);
    }

    #[test]
    fn of_two_merchants_equally_far_from_the_totals_the_first_counts() {
        assert_eq!(band(&["MERCHANT_NAME", "-", "TAX", "-", "MERCHANT_NAME"]), Some(vec![1]));
    }

    #[test]
    fn any_label_of_a_word_makes_it_an_anchor() {
        assert_eq!(band(&["PHONE_NUMBER", "-", "PRODUCT_NAME+TAX", "-"]), Some(vec![1]));
    }

    #[test]
    fn a_cropped_receipt_keeps_its_page_so_that_its_boxes_stay() {
        let json = r#"{"image_id":"a","words":[
            {"line_id":0,"word_id":0,"text":"shop","box":[0,0,50,10],"label":"ADDRESS_LINE"},
            {"line_id":1,"word_id":0,"text":"milk","box":[0,20,50,30]},
            {"line_id":2,"word_id":0,"text":"1.00","box":[0,90,100,100],"label":"TAX"}]}"#;
        let receipt = Receipt::from_json(json).unwrap();
        let cropped = crop_to_items(&receipt, BoxRule::default(), ValidationStatus::Valid).unwrap();
        assert_eq!(cropped.words.len(), 1);
        assert_eq!((cropped.width, cropped.height), (Some(100.0), Some(100.0)));
        assert!(crop_to_items(&cropped, BoxRule::default(), ValidationStatus::Valid).is_none());
    }
}
