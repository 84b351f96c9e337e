//! Text as OCR gives it → ASCII punctuation and tokens that the parsers read.

/// A piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A run of ASCII digits.
    Number(&'a str),
    /// A run of letters.
    Word(&'a str),
    /// White space, any amount.
    Space,
    /// Any other character.
    Mark(char),
}

/// Full-width forms, dashes, quotes and odd spaces as their ASCII counterparts.
pub(super) fn fold(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
            '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe63}' => '-',
            '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{b4}' | '`' | '\u{2032}' => '\'',
            '\u{ffe5}' => '¥',
            '\u{ffe1}' => '£',
            '\u{ffe6}' => '₩',
            c if c.is_whitespace() => ' ',
            c => c,
        })
        .collect()
}

/// Splits folded text; joined again, the tokens give it back up to white space.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (token, left) = if c.is_ascii_digit() {
            let (run, left) = split_run(rest, |c| c.is_ascii_digit());
            (Token::Number(run), left)
        } else if c.is_alphabetic() {
            let (run, left) = split_run(rest, char::is_alphabetic);
            (Token::Word(run), left)
        } else if c.is_whitespace() {
            (Token::Space, rest.trim_start())
        } else {
            (Token::Mark(c), rest.strip_prefix(c).unwrap_or_default())
        };
        out.push(token);
        rest = left;
    }
    out
}

fn split_run(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// A number or word of a text and the mark that parts it from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// The first mark in between, `' '` where there is only space, `None` where the two touch or nothing precedes.
    pub(super) separator: Option<char>,
    /// [`Token::Number`] or [`Token::Word`].
    pub(super) token: Token<'a>,
}

/// The numbers and words of folded text with what parts them.
pub(super) fn parts(text: &str) -> Vec<Part<'_>> {
    let mut out = Vec::new();
    let mut separator = None;
    for token in tokens(text) {
        match token {
            Token::Space => separator = separator.or(Some(' ')),
            Token::Mark(c) => separator = separator.filter(|s| *s != ' ').or(Some(c)),
            Token::Number(_) | Token::Word(_) => out.push(Part { separator: separator.take(), token }),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_leaves_ascii_punctuation_only() {
        assert_eq!(fold("１２．５０\u{a0}\u{2212}\u{2019}é"), "12.50 -'é");
    }

    #[test]
    fn parts_know_the_first_mark_between_them() {
        let seen: Vec<_> = parts("Oct.'15 - 8:30PM").into_iter().map(|p| (p.separator, p.token)).collect();
        use Token::*;
        let expected = [
            (None, Word("Oct")),
            (Some('.'), Number("15")),
            (Some('-'), Number("8")),
            (Some(':'), Number("30")),
            (None, Word("PM")),
        ];
        assert_eq!(seen, expected);
    }
}
