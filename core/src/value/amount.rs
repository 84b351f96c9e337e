//! Amounts of money → decimal strings.

use std::collections::BTreeSet;

use super::currency::{currency, is_name, is_sign};
use super::number::{Decimal, Found, ThreeDigits, numbers};
use super::text::{Token, fold};

/// Currencies whose amounts never use `.` for thousands.
const POINT_IS_DECIMAL: [&str; 16] = [
    "USD", "GBP", "MYR", "SGD", "AUD", "CAD", "NZD", "HKD", "TWD", "CNY", "INR", "PHP", "THB", "ILS", "MXN",
    "AED",
];

/// Longest word that may touch an amount without cents and without being a currency: tax flags and codes (`12A`).
const LONGEST_FLAG: usize = 3;

/// The amount a text prints, with its decimals as printed.
///
/// One separator before three digits groups thousands (`45,500`, `23.000`), but a point next to the sign of a currency
/// that is written with decimal points does not (`$3.399`); the other rules are [`Decimal::parse`]'s. Negative with a
/// minus before or after, in parentheses, or with `CR` behind. Rates (`6%`) are passed over. `None` without a number,
/// with two different ones, and for what is no amount: `12:30`, `2 @ 3.00`, `SAVE10`.
pub(super) fn normalize(text: &str) -> Option<String> {
    let text = close_gaps(&fold(text));
    let rule = match currency(&text) {
        Some(code) if POINT_IS_DECIMAL.contains(&code) => ThreeDigits::ThousandsAfterComma,
        _ => ThreeDigits::Thousands,
    };
    let is_rate = |found: &Found<'_>| found.trail.trim_start().starts_with('%');
    let mut amounts = BTreeSet::new();
    for (i, found) in numbers(&text).into_iter().filter(|found| !is_rate(found)).enumerate() {
        let number = Decimal::parse(found.run, rule)?;
        // The same amount may be printed twice, but with space between; cents tell `Total2.67` from `SAVE10`.
        if (i > 0 && !found.lead.contains(' ')) || (number.is_whole() && !may_touch(&found)) {
            return None;
        }
        amounts.insert(number.print(found.is_negative(is_currency)));
    }
    if amounts.len() == 1 { amounts.pop_first() } else { None }
}

fn is_currency(token: Token<'_>) -> bool {
    match token {
        Token::Word(word) => is_name(word),
        Token::Mark(c) => is_sign(c),
        Token::Number(_) | Token::Space => false,
    }
}

fn may_touch(found: &Found<'_>) -> bool {
    let (left, right) = found.attached();
    let fine = |word: &str| is_name(word) || word.chars().count() <= LONGEST_FLAG;
    left.is_none_or(fine) && right.is_none_or(fine)
}

/// What the next piece of a text may add to the number that the last one ended with.
#[derive(PartialEq, Eq)]
enum Open {
    Nothing,
    Groups,
    Cents,
}

/// Makes one number of `18 000` and `1 234,50` (a space groups thousands) and of `12. 50` (a gap in the print).
fn close_gaps(folded: &str) -> String {
    let mut out = String::with_capacity(folded.len());
    let mut open = Open::Nothing;
    for piece in folded.split_whitespace() {
        let (head, rest) = piece.split_at(piece.find(['.', ',']).unwrap_or(piece.len()));
        let is_group = head.len() == 3 && digits(head) && (rest.is_empty() || matches!(rest.len(), 2 | 3));
        let joint = match open {
            Open::Groups if is_group => "'",
            Open::Cents if piece.len() == 2 && digits(piece) => "",
            _ if out.is_empty() => "",
            _ => " ",
        };
        open = match joint {
            "'" if rest.is_empty() => Open::Groups,
            "'" => Open::Nothing,
            _ => opened_by(piece.trim_start_matches(|c: char| !c.is_ascii_digit())),
        };
        out.push_str(joint);
        out.push_str(piece);
    }
    out
}

fn opened_by(number: &str) -> Open {
    if digits(number) && number.len() <= 3 && !number.starts_with('0') {
        Open::Groups
    } else if number.strip_suffix(['.', ',']).is_some_and(digits) {
        Open::Cents
    } else {
        Open::Nothing
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::normalize;

    fn check(cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            assert_eq!(normalize(text).as_deref().unwrap_or("-"), *expected, "{text}");
        }
    }

    #[test]
    fn amounts_are_read_with_any_currency_and_separator() {
        check(&[
            ("$1,234.50", "1234.50"),
            ("RM 12.00", "12.00"),
            ("45,500", "45500"),
            ("23.000", "23000"),
            ("12,50", "12.50"),
            ("€ 1.234,56", "1234.56"),
            ("18 000", "18000"),
            ("1 234 567,5", "1234567.5"),
            ("12. 50", "12.50"),
            ("Rp. 35.000", "35000"),
            ("@ 12.000", "12000"),
            ("$3.399", "3.399"),
            (".99", "0.99"),
            ("25.", "25"),
            ("5,-", "5"),
            ("9.99A", "9.99"),
            ("Eur129,75", "129.75"),
            ("TOTAL:$6.90", "6.90"),
            ("Total2.67", "2.67"),
            ("12TI", "12"),
            ("GST 6% 1.20", "1.20"),
            ("·80.00", "80.00"),
            ("￥１２３４", "1234"),
        ]);
    }

    #[test]
    fn signs_are_found_before_behind_and_around() {
        check(&[
            ("-0.06", "-0.06"),
            ("(3.00)", "-3.00"),
            ("($2.87)", "-2.87"),
            ("3.00-", "-3.00"),
            ("3.00-A", "-3.00"),
            ("-$5", "-5"),
            ("$-5", "-5"),
            ("-Rp 34,363", "-34363"),
            ("\u{2212}2,045", "-2045"),
            ("5.00 CR", "-5.00"),
            ("-0.00", "0.00"),
            ("(20%) 5.00", "5.00"),
        ]);
    }

    #[test]
    fn the_same_amount_twice_is_one_and_two_amounts_are_none() {
        check(&[("38.90 38.90", "38.90"), ("$4.75 $0.00", "-"), ("1.39 0.59", "-"), ("5.00 -5.00", "-")]);
    }

    #[test]
    fn what_is_no_amount_has_no_value() {
        check(&[
            ("", "-"),
            ("TOTAL", "-"),
            ("12:30", "-"),
            ("10:10", "-"),
            ("05/05/2018", "-"),
            ("2@3.00", "-"),
            ("2 @ 3.00", "-"),
            ("SAVE10", "-"),
            ("Rsl,675.00", "-"),
            ("6%", "-"),
            ("4111111111111111", "-"),
            ("12.34.56", "-"),
        ]);
    }
}
