//! Printed numbers: where they stand in a text, and which of their separators is the decimal one.

use super::text::{Token, tokens};

/// What one separator followed by exactly three digits means; all other shapes speak for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ThreeDigits {
    /// Thousands, after `.` and `,` alike (`23.000`, `45,500`).
    Thousands,
    /// Thousands after `,`, decimals after `.` (`$3.399` a gallon).
    ThousandsAfterComma,
    /// Decimals (`0.236` kg, `1,000` pieces).
    Decimals,
}

/// A number as its digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decimal {
    /// Before the decimal point: at least one digit, no leading zeros.
    whole: String,
    /// After it, as printed; may be empty.
    fraction: String,
}

/// Longest part of a number on either side; longer runs are card or product numbers.
const MAX_DIGITS: usize = 12;

const SEPARATORS: [char; 3] = ['.', ',', '\''];

impl Decimal {
    fn new(whole: &str, fraction: &str) -> Option<Self> {
        let significant = whole.trim_start_matches('0');
        let whole = if significant.is_empty() { "0" } else { significant };
        let short = whole.len() <= MAX_DIGITS && fraction.len() <= MAX_DIGITS;
        short.then(|| Self { whole: whole.into(), fraction: fraction.into() })
    }

    /// Reads a run as [`numbers`] finds them.
    ///
    /// Of two kinds of separators the last one is decimal. One kind, repeated, groups digits, except in front of a
    /// last group of one or two (`1,234,50`). A single separator is decimal unless three digits follow and one to
    /// three, not led by 0, precede it; then `rule` decides. `'` only groups. Groups are of three digits, or of two
    /// before the last as in India; `None` for any other.
    pub(super) fn parse(run: &str, rule: ThreeDigits) -> Option<Self> {
        let Some((before, after)) = run.rsplit_once(SEPARATORS) else { return Self::new(run, "") };
        let separator = run.chars().nth(before.chars().count())?;
        let earlier: Vec<char> = before.chars().filter(|c| SEPARATORS.contains(c)).collect();
        let decimal = if separator == '\'' {
            false
        } else if earlier.is_empty() {
            after.len() != 3 || !groups_thousands(before, separator, rule)
        } else if earlier.contains(&separator) {
            earlier.iter().all(|c| *c == separator) && matches!(after.len(), 1 | 2)
        } else {
            true
        };
        if decimal { Self::new(&ungroup(before)?, after) } else { Self::new(&ungroup(run)?, "") }
    }

    /// Whether nothing follows the decimal point.
    pub(super) fn is_whole(&self) -> bool {
        self.fraction.is_empty()
    }

    /// `-12.50`; zero has no sign.
    pub(super) fn print(&self, negative: bool) -> String {
        let zero = self.whole == "0" && self.fraction.bytes().all(|digit| digit == b'0');
        let sign = if negative && !zero { "-" } else { "" };
        let point = if self.is_whole() { "" } else { "." };
        format!("{sign}{}{point}{}", self.whole, self.fraction)
    }
}

fn groups_thousands(before: &str, separator: char, rule: ThreeDigits) -> bool {
    let shape = matches!(before.len(), 1..=3) && !before.starts_with('0');
    let meant = match rule {
        ThreeDigits::Thousands => true,
        ThreeDigits::ThousandsAfterComma => separator == ',',
        ThreeDigits::Decimals => false,
    };
    shape && meant
}

/// The digits of a whole part without its group separators, or `None` where they do not group.
fn ungroup(whole: &str) -> Option<String> {
    let groups: Vec<&str> = whole.split(SEPARATORS).collect();
    if let [first, middle @ .., last] = groups.as_slice() {
        let even = |size| middle.iter().all(|group| group.len() == size);
        let kinds = SEPARATORS.into_iter().filter(|s| whole.contains(*s)).count();
        if kinds != 1 || last.len() != 3 || !(even(3) || even(2)) || !matches!(first.len(), 1..=3) {
            return None;
        }
    }
    Some(whole.replace(SEPARATORS, ""))
}

/// A number in a text and what surrounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found<'a> {
    /// Digits with separators between them, or a leading decimal separator; ends with a digit.
    pub(super) run: &'a str,
    /// From the number before (or the start of the text) to this one.
    pub(super) lead: &'a str,
    /// From this one to the next (or the end of the text).
    pub(super) trail: &'a str,
}

impl Found<'_> {
    /// Whether a minus, a trailing minus, parentheses or `CR` make it negative. `5,-` is five without cents.
    pub(super) fn is_negative(&self, is_currency: impl Fn(Token<'_>) -> bool) -> bool {
        let mut bracket = false;
        let mut minus = false;
        for token in tokens(self.lead).into_iter().rev() {
            match token {
                Token::Mark('-') => minus = true,
                Token::Mark('(') => bracket = true,
                Token::Space | Token::Mark('.') => {}
                other if is_currency(other) => {}
                _ => break,
            }
        }
        let credit = tokens(self.trail).into_iter().find(|t| *t != Token::Space);
        let credit = matches!(credit, Some(Token::Word(word)) if word.eq_ignore_ascii_case("CR"));
        minus || credit || self.trail.starts_with('-') || (bracket && self.trail.contains(')'))
    }

    /// The words that touch it on the left and on the right.
    pub(super) fn attached(&self) -> (Option<&str>, Option<&str>) {
        let word = |token: Option<&Token<'_>>| match token {
            Some(Token::Word(word)) => Some(word.len()),
            _ => None,
        };
        let left = word(tokens(self.lead).last()).and_then(|n| self.lead.get(self.lead.len() - n..));
        let right = word(tokens(self.trail).first()).and_then(|n| self.trail.get(..n));
        (left, right)
    }
}

/// Every number of a folded text, in order.
pub(super) fn numbers(text: &str) -> Vec<Found<'_>> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    let mut before: Option<char> = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let digit_next = chars.peek().is_some_and(|(_, next)| next.is_ascii_digit());
        let ends_here = spans.last().is_some_and(|(_, end)| *end == at);
        // "Rp.500" has an abbreviation's dot; "l,675" has lost its first digit and must not read as 675.
        let opens = c == ',' || (c == '.' && !before.is_some_and(char::is_alphabetic));
        if c.is_ascii_digit() || (SEPARATORS.contains(&c) && digit_next && (ends_here || opens)) {
            match spans.last_mut().filter(|_| ends_here) {
                Some((_, end)) => *end = at + 1,
                None => spans.push((at, at + 1)),
            }
        }
        before = Some(c);
    }
    let starts = spans.iter().skip(1).map(|(start, _)| *start).chain([text.len()]);
    let ends = [0].into_iter().chain(spans.iter().map(|(_, end)| *end));
    let found = spans.iter().zip(ends).zip(starts).map(|((&(start, end), before), next)| {
        Some(Found {
            run: text.get(start..end)?,
            lead: text.get(before..start)?,
            trail: text.get(end..next)?,
        })
    });
    found.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(run: &str, rule: ThreeDigits) -> String {
        Decimal::parse(run, rule).map_or("-".into(), |d| d.print(false))
    }

    #[test]
    fn separators_are_told_apart_by_what_surrounds_them() {
        let cases = [
            ("1234.50", "1234.50"),
            ("1,234.50", "1234.50"),
            ("1.234,50", "1234.50"),
            ("1'234.50", "1234.50"),
            ("1,234,567", "1234567"),
            ("1,23,456.00", "123456.00"),
            ("1,234,50", "1234.50"),
            ("12,5", "12.5"),
            (".50", "0.50"),
            ("007.50", "7.50"),
            ("0.500", "0.500"),
            ("1234.567", "1234.567"),
            ("1.2345", "1.2345"),
            ("18'000", "18000"),
            ("12.34.56", "-"),
            ("1,2345.00", "-"),
            (",675.00", "-"),
            ("1.234'567", "-"),
            ("1.234,567.89", "-"),
            ("1234567890123", "-"),
        ];
        for (run, expected) in cases {
            assert_eq!(parsed(run, ThreeDigits::Thousands), expected, "{run}");
        }
    }

    #[test]
    fn only_three_digits_after_a_single_separator_depend_on_the_rule() {
        use ThreeDigits::*;
        let by_rule = |run| [Thousands, ThousandsAfterComma, Decimals].map(|rule| parsed(run, rule));
        assert_eq!(by_rule("23.000"), ["23000", "23.000", "23.000"]);
        assert_eq!(by_rule("45,500"), ["45500", "45500", "45.500"]);
        assert_eq!(by_rule("2,000,000"), ["2000000"; 3]);
    }

    #[test]
    fn numbers_know_their_surroundings() {
        let found = numbers("Rp.35.000 x .5,");
        let expected = [
            Found { run: "35.000", lead: "Rp.", trail: " x " },
            Found { run: ".5", lead: " x ", trail: "," },
        ];
        assert_eq!(found, expected);
        assert_eq!(found[0].attached(), (None, None));
        assert_eq!(numbers("GBP6.40A")[0].attached(), (Some("GBP"), Some("A")));
    }
}
