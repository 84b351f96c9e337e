//! Printed text of a field → one agreed form: ISO dates, 24-hour times, plain decimals, dialable digits.
//!
//! A value is given only where the text has one reading; otherwise there is none, never a guess at random. Amounts are
//! handled as digits, not as floating-point numbers. No text makes these functions fail or panic. They know nothing
//! of the rest of the receipt: what a `TOTAL` adds up to is not their concern.

mod amount;
mod currency;
mod date;
mod number;
mod phone;
mod quantity;
mod text;
mod time;

pub use currency::currency;

/// The agreed form of a field's text; `None` for a type that has none, and for text that does not parse.
///
/// | type | form | example |
/// |---|---|---|
/// | `DATE` | ISO 8601 date | `11/13/25` → `2025-11-13` |
/// | `TIME` | 24 h, seconds if printed | `8:30 PM` → `20:30` |
/// | amounts (`AMOUNT`, `LINE_TOTAL`, `TAX`, `GRAND_TOTAL`, …) | decimal, minus sign in front | `($1,234.50)` → `-1234.50` |
/// | `QUANTITY` | decimal | `2 x` → `2` |
/// | `PHONE_NUMBER` | digits, `+` kept | `(714) 879-3574` → `7148793574` |
///
/// Which of two numbers in `03/04/2018` is the month, and whether `23.000` is twenty-three thousand, is decided by
/// rules that the functions behind each row document.
pub fn normalize(kind: &str, text: &str) -> Option<String> {
    match kind {
        "DATE" => date::normalize(text),
        "TIME" => time::normalize(text),
        "AMOUNT" | "LINE_TOTAL" | "SUBTOTAL" | "TAX" | "TIP" | "GRAND_TOTAL" | "UNIT_PRICE" | "DISCOUNT"
        | "CHANGE" | "CASH_BACK" | "REFUND" => amount::normalize(text),
        "QUANTITY" => quantity::normalize(text),
        "PHONE_NUMBER" => phone::normalize(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::label::CORE_LABELS;

    /// What OCR makes of receipts: digits, marks and the odd letter, mixed at random.
    const RECEIPT_LIKE: &str = "[0-9]{0,3}[-0-9/.,:' $€RMrp()%x@+AaPpJjNnOoVv年１\u{2212}\u{a0}]{0,24}";

    fn is_decimal(value: &str) -> bool {
        let unsigned = value.strip_prefix('-').unwrap_or(value);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
        [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    }

    /// Values are of the agreed form; dates, times and phone numbers are the value of themselves.
    fn holds(text: &str) -> Result<(), TestCaseError> {
        for kind in CORE_LABELS.into_iter().chain(["AMOUNT", "ADDRESS", ""]) {
            let Some(value) = normalize(kind, text) else { continue };
            match kind {
                "DATE" | "TIME" | "PHONE_NUMBER" => prop_assert_eq!(normalize(kind, &value), Some(value)),
                _ => prop_assert!(is_decimal(&value), "{} {:?} became {:?}", kind, text, value),
            }
        }
        currency(text);
        Ok(())
    }

    proptest! {
        #[test]
        fn no_text_panics_and_every_value_has_the_agreed_form(text in any::<String>()) {
            holds(&text)?;
        }

        #[test]
        fn receipt_like_text_neither(text in RECEIPT_LIKE) {
            holds(&text)?;
        }
    }

    #[test]
    fn types_without_an_agreed_form_have_no_value() {
        assert_eq!(normalize("MERCHANT_NAME", "12.00"), None);
        assert_eq!(normalize("GRAND_TOTAL", "12.00").as_deref(), Some("12.00"));
    }
}
