//! Line items and their arithmetic: hand-made receipts of the kinds met in shops, and real ones by their gold labels.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use layoutlm_core::arithmetic::{Basis, Outcome};
use layoutlm_core::bbox::Origin;
use layoutlm_core::entity;
use layoutlm_core::label::{LabelScheme, Tag, preset};
use layoutlm_core::predict::{ReceiptPrediction, WordPrediction};
use layoutlm_core::receipt::{BadLines, Receipt, ValidationStatus, Word, read_jsonl};

/// A prediction that says exactly what the tags say.
fn prediction(receipt: &Receipt, tags: &[Tag<'_>], confidence: f32) -> ReceiptPrediction {
    let order: Vec<usize> = (0..receipt.words.len()).collect();
    let words = receipt.words.iter().zip(tags).map(|(word, tag)| WordPrediction {
        line_id: word.line_id,
        word_id: word.word_id,
        text: word.text.clone(),
        label: tag.to_string(),
        entity: tag.entity().map(String::from),
        confidence,
        no_tokens: false,
        probabilities: None,
    });
    ReceiptPrediction {
        image_id: receipt.image_id.clone(),
        receipt_id: 1,
        words: words.collect(),
        entities: entity::group(receipt, &order, tags, &vec![confidence; order.len()]),
        line_items: None,
        arithmetic: None,
    }
}

/// Rows of `text/LABEL` or `text`; a label with `+` continues the entity before. `_` is a space inside a word.
fn sale(rows: &[&str]) -> ReceiptPrediction {
    let mut words = Vec::new();
    let mut tags = Vec::new();
    for (y, row) in rows.iter().enumerate() {
        for (x, word) in row.split_whitespace().enumerate() {
            let (text, label) = word.split_once('/').unwrap_or((word, "O"));
            tags.push(match label.strip_suffix('+') {
                _ if label == "O" => Tag::Outside,
                Some(label) => Tag::Inside(long(label)),
                None => Tag::Begin(long(label)),
            });
            let (left, top) = (100.0 * x as f64, 20.0 * y as f64);
            words.push(Word {
                line_id: y as u32,
                word_id: x as u32,
                text: text.replace('_', " "),
                bbox: [left, top, left + 90.0, top + 15.0],
                label: None,
                validation_status: ValidationStatus::Valid,
                source_label: None,
                entity_id: None,
            });
        }
    }
    let receipt = Receipt {
        image_id: "r".into(),
        receipt_id: 1,
        width: Some(1000.0),
        height: Some(1000.0),
        origin: Origin::TopLeft,
        merchant: None,
        words,
    };
    let mut prediction = prediction(&receipt, &tags, 0.9);
    prediction.itemize(&receipt);
    prediction
}

fn long(label: &str) -> &str {
    match label {
        "P" => "PRODUCT_NAME",
        "Q" => "QUANTITY",
        "U" => "UNIT_PRICE",
        "L" => "LINE_TOTAL",
        "A" => "AMOUNT",
        "S" => "SUBTOTAL",
        "T" => "GRAND_TOTAL",
        "D" => "DISCOUNT",
        other => other,
    }
}

/// `product|quantity|unit price|total` of each item.
fn items(prediction: &ReceiptPrediction) -> Vec<String> {
    let text = |part: &Option<entity::Entity>| part.as_ref().map_or(String::new(), |e| e.text.clone());
    let line = |i: &layoutlm_core::line_items::LineItem| {
        [&i.product, &i.quantity, &i.unit_price, &i.total].map(text).join("|")
    };
    prediction.line_items.as_ref().unwrap().iter().map(line).collect()
}

fn outcome(prediction: &ReceiptPrediction) -> Outcome {
    prediction.arithmetic.as_ref().unwrap().outcome
}

#[test]
fn a_row_is_an_item_and_the_bill_adds_up() {
    let sale = sale(&[
        "2/Q Coffee/P beans/P+ 3.00/U 6.00/L",
        "1/Q Cake/P 4.50/U 4.50/L",
        "SUBTOTAL 10.50/S",
        "TAX 1.05/TAX",
        "TIP 2.00/TIP",
        "TOTAL 13.55/T",
    ]);
    assert_eq!(items(&sale), ["Coffee beans|2|3.00|6.00", "Cake|1|4.50|4.50"]);
    let check = sale.arithmetic.as_ref().unwrap();
    assert_eq!((check.outcome, check.basis), (Outcome::Holds, Some(Basis::Lines)));
    assert_eq!((check.lines.as_deref(), check.tax.as_deref()), (Some("10.50"), Some("1.05")));
    assert_eq!((check.tip.as_deref(), check.difference.as_deref()), (Some("2.00"), Some("0.00")));
    let first = &sale.line_items.as_ref().unwrap()[0];
    assert_eq!((first.bbox, first.confidence), ([0.0, 0.0, 490.0, 15.0], 0.9));
    assert_eq!(first.product.as_ref().unwrap().word_indices, [1, 2]);
}

#[test]
fn a_cent_too_much_is_a_difference_and_says_which() {
    let sale = sale(&["Coffee/P 6.00/L", "TAX 0.60/TAX", "TOTAL 6.61/T"]);
    let check = sale.arithmetic.unwrap();
    assert_eq!((check.outcome, check.difference.as_deref()), (Outcome::Differs, Some("-0.01")));
}

#[test]
fn rows_without_a_product_complete_the_item_above() {
    let sale = sale(&[
        "Coffee/P beans/P+",
        "dark/P+ roast/P+",
        "2/Q x 3.00/U 6.00/L",
        "Tea/P 4.00/L",
        "4/Q @ 1.00/U",
        "TOTAL 10.00/T",
    ]);
    assert_eq!(items(&sale), ["Coffee beans dark roast|2|3.00|6.00", "Tea|4|1.00|4.00"]);
    assert_eq!(outcome(&sale), Outcome::Holds);
}

#[test]
fn quantities_printed_above_their_products_go_down() {
    let sale = sale(&["2/Q x 3.00/U", "Coffee/P 6.00/L", "3/Q x 1.00/U", "Tea/P 3.00/L", "TOTAL 9.00/T"]);
    assert_eq!(items(&sale), ["Coffee|2|3.00|6.00", "Tea|3|1.00|3.00"]);
}

#[test]
fn two_items_on_one_row_are_two() {
    let sale = sale(&["Coffee/P 3.00/L Tea/P 2.00/L", "TOTAL 5.00/T"]);
    assert_eq!(items(&sale), ["Coffee|||3.00", "Tea|||2.00"]);
}

#[test]
fn merged_amounts_are_told_apart_by_product_and_printed_words() {
    let sale = sale(&[
        "Coffee/P beans/P+ 3.00/A 6.00/A",
        "Cake/P",
        "4.50/A",
        "SUB TOTAL 10.50/A",
        "GST 6% 0.63/A",
        "ROUNDING ADJ 0.02/A",
        "TOTAL",
        "RM 11.15/A",
        "CASH 20.00/A",
        "CHANGE 8.85/A",
        "Loyalty 99.00/A",
    ]);
    assert_eq!(items(&sale), ["Coffee beans||3.00|6.00", "Cake|||4.50"]);
    let check = sale.arithmetic.as_ref().unwrap();
    assert_eq!(
        (check.outcome, check.total.as_deref(), check.tax.as_deref(), check.rounding.as_deref()),
        (Outcome::Holds, Some("11.15"), Some("0.63"), Some("0.02"))
    );
}

#[test]
fn amounts_that_run_together_are_cut_at_rows_and_between_numbers() {
    let sale = sale(&["Coffee/P", "3.00/L", "6.00/L+", "Tea/P 1.00/A 2.00/A+", "TOTAL 11.00/T"]);
    assert_eq!(items(&sale), ["Coffee|||3.00", "|||6.00", "Tea||1.00|2.00"]);
    assert_eq!(outcome(&sale), Outcome::Holds);
}

#[test]
fn included_taxes_discounts_and_repeated_printings_are_understood() {
    let included = sale(&["Coffee/P 6.00/L", "GST 0.34/TAX", "TOTAL 6.00/T"]);
    let check = included.arithmetic.unwrap();
    assert_eq!(
        (check.outcome, check.tax_included, check.tax.as_deref()),
        (Outcome::Holds, true, Some("0.34"))
    );
    let twice = sale(&["Coffee/P 6.00/L", "GST 0.36/TAX", "TOTAL 6.36/T", "GST 0.36/TAX", "VISA 6.36/T"]);
    let check = twice.arithmetic.unwrap();
    assert_eq!((check.outcome, check.tax.as_deref()), (Outcome::Holds, Some("0.36")));
    for printed in ["1.00", "-1.00", "(1.00)"] {
        let row = format!("COUPON {printed}/D");
        let off = sale(&["Coffee/P 6.00/L", &row, "TOTAL 5.00/T"]);
        assert_eq!(outcome(&off), Outcome::Holds, "{printed}");
    }
    let net = sale(&["Coffee/P 6.00/L", "SAVED 1.00/D", "TOTAL 6.00/T"]).arithmetic.unwrap();
    assert!(net.outcome == Outcome::Holds && net.discounts_included);
}

#[test]
fn what_is_missing_is_named_and_the_subtotal_stands_in_for_lines() {
    let none = sale(&["Hello/MERCHANT_NAME"]).arithmetic.unwrap();
    assert_eq!((none.outcome, none.basis), (Outcome::Incomplete, None));
    assert_eq!(none.missing, ["line_items", "total"]);
    let unread = sale(&["Coffee/P 6.00/L", "Tea/P", "TOTAL 9.00/T"]).arithmetic.unwrap();
    assert_eq!(unread.outcome, Outcome::Incomplete);
    assert_eq!(unread.missing, ["line_items[1].total"]);
    assert_eq!(unread.difference.as_deref(), Some("-3.00"));
    let free = sale(&["Coffee/P 6.00/L", "no/P sugar/P+", "TOTAL 6.00/T"]);
    assert_eq!((outcome(&free), items(&free).len()), (Outcome::Holds, 2));
    let subtotal = sale(&["SUBTOTAL 6.00/S", "TAX 0.50/TAX", "TOTAL 6.50/T"]).arithmetic.unwrap();
    assert_eq!((subtotal.outcome, subtotal.basis), (Outcome::Holds, Some(Basis::Subtotal)));
    let product = sale(&["3/Q Coffee/P 2.00/U", "TOTAL 6.00/T"]);
    assert_eq!(outcome(&product), Outcome::Holds);
}

#[test]
fn amounts_too_large_for_a_sum_are_no_panic() {
    let long = "999999999999.999999999999";
    let rows: Vec<String> = (0..40).map(|i| format!("P{i}/P 999999999999/Q {long}/U")).collect();
    let mut rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    rows.push("TOTAL 1.00/T");
    assert_ne!(outcome(&sale(&rows)), Outcome::Holds);
}

/// Real receipts of one set, tagged with their gold labels under a merge preset.
fn gold(set: &str, merges: &str) -> Option<Vec<ReceiptPrediction>> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let root = std::env::var_os("LAYOUTLM_SHARED").unwrap_or_else(|| default.into());
    let path = std::path::Path::new(&root).join("data").join(set).join("train.jsonl");
    let Ok(file) = std::fs::File::open(&path) else {
        eprintln!("skipped: {} is not there (set LAYOUTLM_SHARED)", path.display());
        return None;
    };
    let read = read_jsonl(std::io::BufReader::new(file), set, BadLines::Refuse).unwrap();
    let scheme = LabelScheme::new(preset(merges).unwrap(), None, &Default::default()).unwrap();
    let itemized = read.receipts.iter().map(|receipt| {
        let tags = scheme.bio(receipt.words.iter().map(|w| w.label_with(ValidationStatus::Valid)));
        let mut prediction = prediction(receipt, &tags, 1.0);
        prediction.itemize(receipt);
        prediction
    });
    Some(itemized.collect())
}

/// Share of items with both product and total, and of complete receipts that add up.
fn shares(receipts: &[ReceiptPrediction]) -> (f64, f64) {
    let items: Vec<_> = receipts.iter().flat_map(|r| r.line_items.as_ref().unwrap()).collect();
    let whole = items.iter().filter(|i| i.product.is_some() && i.total.is_some()).count();
    let checks = |wanted: Outcome| receipts.iter().filter(|r| outcome(r) == wanted).count() as f64;
    let (holds, differs) = (checks(Outcome::Holds), checks(Outcome::Differs));
    eprintln!(
        "{} items, {whole} whole; {holds} hold, {differs} differ, {} incomplete",
        items.len(),
        checks(Outcome::Incomplete)
    );
    (whole as f64 / items.len() as f64, holds / (holds + differs))
}

#[test]
fn most_items_of_real_receipts_are_whole_and_most_bills_add_up() {
    let expected = [
        ("cord", "none", 0.9, 0.75),
        ("cord", "amounts", 0.95, 0.65),
        ("wildreceipt", "none", 0.8, 0.7),
        ("wildreceipt", "amounts", 0.9, 0.55),
    ];
    for (set, merges, whole, holds) in expected {
        let Some(receipts) = gold(set, merges) else { return };
        let found = shares(&receipts);
        assert!(found.0 >= whole && found.1 >= holds, "{set} {merges}: {found:?}");
    }
}
