//! What an amount stands for, by its label or, where labels were merged to `AMOUNT`, by the words printed on its row.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What an amount below the items stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SummaryKind {
    /// The items before what is added or taken off.
    Subtotal,
    /// Discounts and coupons, with or without a minus.
    Discount,
    /// A tax, added or included.
    Tax,
    /// Tips and service charges.
    Tip,
    /// Rounding to coins, signed.
    Rounding,
    /// What is to be paid.
    Total,
}

/// What an entity says about the sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Product,
    Quantity,
    UnitPrice,
    LineTotal,
    /// Any of the amounts: its row decides.
    Amount,
    Summary(SummaryKind),
}

impl Role {
    /// The role of an entity type; `None` for what is no part of a sale.
    pub(super) fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "PRODUCT_NAME" => Self::Product,
            "QUANTITY" => Self::Quantity,
            "UNIT_PRICE" => Self::UnitPrice,
            "LINE_TOTAL" => Self::LineTotal,
            "AMOUNT" => Self::Amount,
            "SUBTOTAL" => Self::Summary(SummaryKind::Subtotal),
            "DISCOUNT" | "COUPON" => Self::Summary(SummaryKind::Discount),
            "TAX" => Self::Summary(SummaryKind::Tax),
            "TIP" => Self::Summary(SummaryKind::Tip),
            "GRAND_TOTAL" => Self::Summary(SummaryKind::Total),
            _ => return None,
        })
    }
}

/// What the words of a row say about the amounts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowName {
    Summary(SummaryKind),
    /// A payment, the change, a count: no part of the sum.
    Other,
}

const SUBTOTAL: &[&str] = &["SUBTOTAL", "SUBTTL", "SUBTOT", "STTL"];
const TOTAL: &[&str] = &["TOTAL", "TTL", "DUE", "PAYABLE", "NETT", "JUMLAH", "SUMME", "GESAMT"];
const TAX: &[&str] = &[
    "TAX", "GST", "VAT", "HST", "PST", "QST", "SST", "CGST", "SGST", "PPN", "PB", "MWST", "TVA", "IVA", "BTW",
];
const TIP: &[&str] = &["TIP", "TIPS", "GRATUITY", "SERVICE", "SVC"];
const DISCOUNT: &[&str] =
    &["DISCOUNT", "DISC", "DISCOUNTS", "COUPON", "SAVING", "SAVINGS", "SAVED", "REBATE", "DISKON"];
const INCLUSIVE: &[&str] = &["INCL", "INCLUSIVE", "INCLUDING", "INCLUDED", "INC", "WITH"];
const EXCLUSIVE: &[&str] = &["EXCL", "EXCLUSIVE", "EXCLUDING", "EXC", "WITHOUT", "BEFORE"];
const COUNT_OR_CHANGE: &[&str] =
    &["QTY", "QUANTITY", "ITEM", "ITEMS", "PCS", "POINTS", "CHANGE", "KEMBALI", "BAKI", "REFUND"];
const PAYMENT: &[&str] = &[
    "CASH",
    "CARD",
    "VISA",
    "MASTERCARD",
    "AMEX",
    "DEBIT",
    "CREDIT",
    "TENDER",
    "TENDERED",
    "PAID",
    "PAYMENT",
    "TUNAI",
];

/// Reads a row's words, already upper-case and of letters only; `None` where they name nothing.
///
/// `SUB TOTAL` and `TOTAL EXCL GST` are subtotals, `TOTAL INCL GST` is the total, `TOTAL GST` the tax, `TOTAL QTY` a
/// count and `CASH` a payment.
pub(super) fn row_name(words: &[String]) -> Option<RowName> {
    use SummaryKind::{Discount, Rounding, Subtotal, Tax, Tip, Total};
    let set: BTreeSet<&str> = words.iter().map(String::as_str).collect();
    let any = |list: &[&str]| list.iter().any(|word| set.contains(word));
    let sub_total = words.windows(2).any(|pair| matches!(pair, [a, b] if a == "SUB" && b == "TOTAL"));
    let (total, tax) = (any(TOTAL), any(TAX));
    let kind = if sub_total || any(SUBTOTAL) || (total && any(EXCLUSIVE)) {
        Subtotal
    } else if set.contains("ROUNDING") {
        Rounding
    } else if any(DISCOUNT) {
        Discount
    } else if any(COUNT_OR_CHANGE) {
        return Some(RowName::Other);
    } else if total && any(INCLUSIVE) {
        Total
    } else if tax {
        Tax
    } else if any(TIP) {
        Tip
    } else if total {
        Total
    } else if any(PAYMENT) {
        return Some(RowName::Other);
    } else {
        return None;
    };
    Some(RowName::Summary(kind))
}

/// The runs of letters of a text, upper-case.
pub(super) fn letters(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphabetic()).filter(|run| !run.is_empty()).map(str::to_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_named_by_the_words_on_them() {
        use SummaryKind::*;
        let cases = [
            ("SUB-TOTAL", Some(RowName::Summary(Subtotal))),
            ("Subtotal:", Some(RowName::Summary(Subtotal))),
            ("Total Excl. GST", Some(RowName::Summary(Subtotal))),
            ("TOTAL (RM)", Some(RowName::Summary(Total))),
            ("TOTAL2.67", Some(RowName::Summary(Total))),
            ("Total incl. 6% GST", Some(RowName::Summary(Total))),
            ("BALANCE DUE", Some(RowName::Summary(Total))),
            ("Total GST", Some(RowName::Summary(Tax))),
            ("VAT 20%", Some(RowName::Summary(Tax))),
            ("Service charge 10%", Some(RowName::Summary(Tip))),
            ("Total savings", Some(RowName::Summary(Discount))),
            ("Rounding adj", Some(RowName::Summary(Rounding))),
            ("TOTAL QTY", Some(RowName::Other)),
            ("CHANGE", Some(RowName::Other)),
            ("VISA ****1234", Some(RowName::Other)),
            ("Cashews", None),
            ("12.50", None),
        ];
        for (text, expected) in cases {
            assert_eq!(row_name(&letters(text).collect::<Vec<_>>()), expected, "{text}");
        }
    }
}
