//! Quantities → decimal strings.

use super::number::{Decimal, Found, ThreeDigits, numbers};
use super::text::{Token, fold};

/// The count or weight a text prints, without its unit.
///
/// A single separator is always decimal here: weights have three decimals (`0.236KG`). Of `2 @ 3.00` and `2.99X1`
/// the whole number is the quantity, the first one if both are. `None` where numbers stand side by side otherwise
/// (`1/2"`, `2 1`), or inside a code (`SKU12`).
pub(super) fn normalize(text: &str) -> Option<String> {
    let folded = fold(text);
    let found = numbers(&folded);
    if found.iter().any(|f| matches!(f.attached(), (Some(word), _) if !may_precede(word))) {
        return None;
    }
    let parse =
        |f: &Found<'_>| Some((Decimal::parse(f.run, ThreeDigits::Decimals)?, f.is_negative(|_| false)));
    let (number, negative) = match found.as_slice() {
        [only] => parse(only)?,
        [first, second, ..] if multiplies(first.trail) => {
            let (first, second) = (parse(first)?, parse(second)?);
            if !first.0.is_whole() && second.0.is_whole() { second } else { first }
        }
        _ => return None,
    };
    // "(2@$1.95)" and "(3)" are remarks, not returns: only a printed minus makes a quantity negative.
    let bracketed = folded.contains('(') && !folded.contains('-');
    Some(number.print(negative && !bracketed))
}

fn may_precede(word: &str) -> bool {
    word.chars().count() == 1 || word.eq_ignore_ascii_case("QTY")
}

fn multiplies(between: &str) -> bool {
    super::text::tokens(between).iter().any(|token| match token {
        Token::Mark(c) => matches!(c, '@' | '*' | '×'),
        Token::Word(word) => word.eq_ignore_ascii_case("X"),
        Token::Number(_) | Token::Space => false,
    })
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn counts_weights_and_multiplications_give_the_quantity() {
        let cases = [
            ("1", "1"),
            ("3x", "3"),
            ("x6", "6"),
            ("*2", "2"),
            ("1,00", "1.00"),
            ("1,000×", "1.000"),
            ("0.236KG/SP", "0.236"),
            ("1.76lb@", "1.76"),
            ("(2@", "2"),
            ("(2@$1.95)", "2"),
            ("3@2.00", "3"),
            ("6@3FOR", "6"),
            ("2.99X1", "1"),
            ("7EA@0.19/EA", "7"),
            ("1 Haircut", "1"),
            ("Qty: 2", "2"),
            ("-1", "-1"),
            ("2 1", "-"),
            ("1/2\"X260", "-"),
            ("SKU12", "-"),
            ("ISEASONALFRUITS", "-"),
        ];
        for (text, expected) in cases {
            assert_eq!(normalize(text).as_deref().unwrap_or("-"), expected, "{text}");
        }
    }
}
