//! Where SROIE's company, address and date stand among the words.

use std::ops::Range;

use super::sroie::{At, TextLine};

/// Similarity from which a run of lines counts as the field although it is not spelt alike.
const SIMILAR: f64 = 0.85;

/// Longest field looked for by likeness; the work grows with the square of it.
const LONGEST: usize = 1000;

/// Share of an address that lines must cover to be taken for it piece by piece.
const COVERED: f64 = 0.75;

/// Letters and digits in lower case.
fn essence(text: &str) -> Vec<char> {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The company: where its letters first occur over consecutive lines, else the most similar run of up to 4 lines.
pub(super) fn company_words(lines: &[TextLine], key: &str) -> Vec<At> {
    let key = essence(key);
    exact(lines, &key).or_else(|| similar(lines, &key, 4)).unwrap_or_default()
}

/// The address: as the company with runs of up to 10 lines, else all lines that are part of it, if they cover it.
pub(super) fn address_words(lines: &[TextLine], key: &str) -> Vec<At> {
    let key = essence(key);
    exact(lines, &key)
        .or_else(|| similar(lines, &key, 10))
        .or_else(|| scattered(lines, &key))
        .unwrap_or_default()
}

/// The date: every occurrence inside a line, blanks and case ignored, with no digit beside it.
pub(super) fn date_words(lines: &[TextLine], key: &str) -> Vec<At> {
    let flat =
        |text: &str| text.split_whitespace().flat_map(str::chars).flat_map(char::to_lowercase).collect();
    let key: Vec<char> = flat(key);
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let mut text: Vec<char> = Vec::new();
        let mut owner: Vec<At> = Vec::new();
        for (word, piece) in line.words.iter().enumerate() {
            let chars: Vec<char> = flat(&piece.text);
            owner.extend(std::iter::repeat_n((number, word), chars.len()));
            text.extend(chars);
        }
        for range in occurrences(&text, &key) {
            // A digit beyond a blank does not make the match part of a longer number.
            let touches = |beside: Option<usize>, edge: usize| {
                let digit = beside.and_then(|i| text.get(i)).is_some_and(char::is_ascii_digit);
                digit && beside.and_then(|i| owner.get(i)) == owner.get(edge)
            };
            if !touches(range.start.checked_sub(1), range.start) && !touches(Some(range.end), range.end - 1) {
                found.extend(owner.get(range).unwrap_or_default());
            }
        }
    }
    found.dedup();
    found
}

fn occurrences(text: &[char], key: &[char]) -> Vec<Range<usize>> {
    if key.is_empty() {
        return Vec::new();
    }
    text.windows(key.len()).enumerate().filter(|(_, w)| *w == key).map(|(i, _)| i..i + key.len()).collect()
}

/// The words that hold the first occurrence of `key` in all lines one after the other.
fn exact(lines: &[TextLine], key: &[char]) -> Option<Vec<At>> {
    let mut text = Vec::new();
    let mut owner: Vec<At> = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        for (word, piece) in line.words.iter().enumerate() {
            let chars = essence(&piece.text);
            owner.extend(std::iter::repeat_n((number, word), chars.len()));
            text.extend(chars);
        }
    }
    let first = occurrences(&text, key).into_iter().next()?;
    let (from, to) = (*owner.get(first.start)?, *owner.get(first.end - 1)?);
    // Words of punctuation alone lie between; they belong to the field.
    Some(words_of(lines, from.0..to.0 + 1).into_iter().filter(|at| from <= *at && *at <= to).collect())
}

/// The words of the run of at most `most` lines that is most like `key`, if it is like enough; the first wins a tie.
fn similar(lines: &[TextLine], key: &[char], most: usize) -> Option<Vec<At>> {
    if key.len() > LONGEST {
        return None;
    }
    let essences: Vec<Vec<char>> = lines.iter().map(|l| essence(&l.text)).collect();
    let mut best: Option<(f64, Range<usize>)> = None;
    for start in 0..lines.len() {
        let mut text: Vec<char> = Vec::new();
        for end in start + 1..=(start + most).min(lines.len()) {
            text.extend(essences.get(end - 1).into_iter().flatten());
            // Two texts of very different length can't be alike enough.
            let longest_possible =
                2.0 * text.len().min(key.len()) as f64 / (text.len() + key.len()).max(1) as f64;
            if longest_possible < SIMILAR {
                continue;
            }
            let likeness = likeness(&text, key);
            if likeness >= SIMILAR && best.as_ref().is_none_or(|(known, _)| likeness > *known) {
                best = Some((likeness, start..end));
            }
        }
    }
    best.map(|(_, range)| words_of(lines, range))
}

/// The words of all lines that are each part of `key`, if together they cover it.
fn scattered(lines: &[TextLine], key: &[char]) -> Option<Vec<At>> {
    let mut covered = vec![false; key.len()];
    let mut out = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let text = essence(&line.text);
        // A line of a letter or two is part of anything.
        let place = occurrences(key, &text).into_iter().find(|r| text.len() >= 4 && !covered_in(&covered, r));
        if let Some(range) = place {
            covered.iter_mut().take(range.end).skip(range.start).for_each(|c| *c = true);
            out.extend(words_of(lines, number..number + 1));
        }
    }
    let share = covered.iter().filter(|c| **c).count() as f64 / key.len().max(1) as f64;
    (share >= COVERED).then_some(out)
}

fn covered_in(covered: &[bool], range: &Range<usize>) -> bool {
    covered.iter().take(range.end).skip(range.start).all(|c| *c)
}

fn words_of(lines: &[TextLine], range: Range<usize>) -> Vec<At> {
    let numbered = lines.iter().enumerate().take(range.end).skip(range.start);
    numbered.flat_map(|(number, line)| (0..line.words.len()).map(move |word| (number, word))).collect()
}

/// Twice the longest common subsequence over both lengths, 0..=1.
fn likeness(a: &[char], b: &[char]) -> f64 {
    let mut row = vec![0usize; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        let mut left = 0;
        for (cell, y) in row.iter_mut().skip(1).zip(b) {
            let above = *cell;
            *cell = if x == y { diagonal + 1 } else { above.max(left) };
            (diagonal, left) = (above, *cell);
        }
    }
    2.0 * row.last().copied().unwrap_or(0) as f64 / (a.len() + b.len()).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::sroie::test_lines;
    use super::*;

    fn lines(texts: &[&str]) -> Vec<TextLine> {
        let boxed: Vec<(&str, [f64; 4])> = texts.iter().map(|t| (*t, [0.0, 0.0, 100.0, 10.0])).collect();
        test_lines(&boxed)
    }

    #[test]
    fn a_company_is_found_over_lines_whatever_its_punctuation() {
        let l = lines(&["tan woon yann", "BOOK TA .K(TAMAN DAYA) SDN", "BHD", "789417-W"]);
        let found = company_words(&l, "BOOK TA.K (TAMAN DAYA) SDN BHD");
        assert_eq!(found, [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (2, 0)]);
    }

    #[test]
    fn a_misspelt_company_is_found_by_likeness_and_a_different_one_is_not() {
        let l = lines(&["RECEIPT", "PERNIAGAAN ZHENG HUI", "TEL 1"]);
        assert_eq!(company_words(&l, "PERNIAGAAN ZHENG HU1"), [(1, 0), (1, 1), (1, 2)]);
        assert!(company_words(&l, "GARDENIA BAKERIES").is_empty());
    }

    #[test]
    fn an_address_in_pieces_is_found_when_they_cover_it() {
        let l = lines(&[
            "NO 5, JALAN SAGU 18,",
            "TEL: 07-352 3888 FAX: 07-352 3889 GST NO 000123456789",
            "TAMAN DAYA, 81100 JOHOR",
        ]);
        let found = address_words(&l, "NO 5, JALAN SAGU 18, TAMAN DAYA, 81100 JOHOR");
        assert!(found.contains(&(0, 0)) && found.contains(&(2, 0)) && !found.contains(&(1, 0)), "{found:?}");
    }

    #[test]
    fn dates_are_found_everywhere_but_not_inside_longer_numbers() {
        let l = lines(&["DATE: 25/12/2018 8:13", "125/12/2018", "25/12/ 2018"]);
        assert_eq!(date_words(&l, "25/12/2018"), [(0, 1), (2, 0), (2, 1)]);
    }
}
