//! Phone numbers → digits as dialled.

use super::text::fold;

/// Fewest and most digits of a number; E.164 allows 15.
const DIGITS: std::ops::RangeInclusive<usize> = 5..=15;

/// Digits a subscriber number has at least; shorter pieces are area codes.
const SUBSCRIBER_DIGITS: usize = 7;

/// The digits of the first phone number in a text; a `+` in front is kept, and then a `(0)` for callers from inside the
/// country is dropped.
///
/// Where every piece between `,` `;` `/` or spaces is long enough to be a number, the first one is taken; a word after
/// a whole number (`ext`, `Fax`) ends it. `None` for fewer than 5 or more than 15 digits.
pub(super) fn normalize(text: &str) -> Option<String> {
    let folded = fold(text);
    let pieces = || folded.split([',', ';', '/', '|', ' ']).filter(|p| count_digits(p) > 0);
    let several = pieces().count() > 1 && pieces().all(|p| count_digits(p) >= SUBSCRIBER_DIGITS);
    let number = if several { pieces().next()? } else { folded.as_str() };
    let international =
        number.split(|c: char| c.is_ascii_digit()).next().is_some_and(|lead| lead.contains('+'));
    let number = if international { number.replace("(0)", "") } else { number.to_string() };
    let digits = leading_digits(&number);
    let plus = if international { "+" } else { "" };
    DIGITS.contains(&digits.len()).then(|| format!("{plus}{digits}"))
}

fn count_digits(text: &str) -> usize {
    text.bytes().filter(u8::is_ascii_digit).count()
}

/// Digits up to a word that follows a whole number.
fn leading_digits(text: &str) -> String {
    let mut digits = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
        } else if c.is_alphabetic() && digits.len() >= SUBSCRIBER_DIGITS {
            break;
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn numbers_are_stripped_to_what_is_dialled() {
        let cases = [
            ("(714)879-3574", "7148793574"),
            ("Tel: 206-447-0507", "2064470507"),
            ("+1 (214) 528-0197", "+12145280197"),
            ("+49(0)941/20908700", "+4994120908700"),
            ("02/511.06.66", "025110666"),
            ("019-2606493/012-2868193", "0192606493"),
            ("011-45026500,011-45026800", "01145026500"),
            ("206-302-7634 AccuracyMatters,", "2063027634"),
            ("555-123-4567 ext. 89", "5551234567"),
            ("1 800 555 1234", "18005551234"),
            ("1300-88-2525", "1300882525"),
            ("911", "-"),
            ("1-800-FLOWERS", "-"),
            ("no phone", "-"),
            ("12345678901234567", "-"),
        ];
        for (text, expected) in cases {
            assert_eq!(normalize(text).as_deref().unwrap_or("-"), expected, "{text}");
        }
    }
}
