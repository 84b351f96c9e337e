//! Where SROIE's total stands among the words.
//!
//! The amount alone says little (a receipt of one item repeats it five times), so its row decides.

use super::sroie::{At, TextLine};

const TOTAL: &str = "TOTAL";
const NOT_TOTAL: [&str; 8] = ["SUBTOTAL", "SUB TOTAL", "QTY", "ITEM", "DISC", "SAVING", "EXCL", "CHANGE"];
const PAYABLE: [&str; 7] = ["AMOUNT", "DUE", "NETT", "PAY", "BALANCE", "CASH", "CARD"];

/// The words that are the total: those on a row that says so, else on a row of what is to be paid, else after a line
/// that says TOTAL, else the lowest word of that amount.
pub(super) fn total_words(lines: &[TextLine], key: &str) -> Vec<At> {
    let Some(wanted) = cents(key) else { return Vec::new() };
    let equal = |text: &str| cents(text) == Some(wanted);
    let candidates: Vec<At> = lines
        .iter()
        .enumerate()
        .flat_map(|(n, line)| line.words.iter().enumerate().map(move |(w, piece)| ((n, w), piece)))
        .filter(|(_, piece)| equal(&piece.text))
        .map(|(at, _)| at)
        .collect();
    let on_row = |says: &dyn Fn(&str) -> bool| -> Vec<At> {
        candidates.iter().copied().filter(|at| says(&row_text(lines, at.0))).collect()
    };
    let is_total = |text: &str| text.contains(TOTAL) && !NOT_TOTAL.iter().any(|n| text.contains(n));
    let found = on_row(&is_total);
    if !found.is_empty() {
        return found;
    }
    let found = on_row(&|text| PAYABLE.iter().any(|p| text.contains(p)));
    if !found.is_empty() {
        return found;
    }
    let follows = |at: &&At| {
        let before = at.0.checked_sub(1).and_then(|n| lines.get(n));
        before.is_some_and(|line| line.text.to_uppercase().contains(TOTAL))
    };
    let found: Vec<At> = candidates.iter().filter(follows).copied().collect();
    if !found.is_empty() {
        return found;
    }
    let middle = |at: &At| lines.get(at.0).map_or(0.0, |l| l.bbox[1] + l.bbox[3]);
    candidates.iter().copied().max_by(|a, b| middle(a).total_cmp(&middle(b))).into_iter().collect()
}

/// An amount in cents, whatever stands around it: `RM9.00`, `$ 1,234.5`. `None` without a digit.
fn cents(text: &str) -> Option<i64> {
    let number: String = text.chars().filter(|c| c.is_ascii_digit() || matches!(c, '.' | '-')).collect();
    let number = number.trim_matches('.');
    if !number.chars().any(|c| c.is_ascii_digit()) || text.chars().any(|c| matches!(c, '/' | ':' | '%')) {
        return None;
    }
    let value: f64 = number.parse().ok()?;
    Some((value * 100.0).round() as i64)
}

/// Everything printed at the height of a line, in upper case.
fn row_text(lines: &[TextLine], number: usize) -> String {
    let Some(line) = lines.get(number) else { return String::new() };
    let [_, top, _, bottom] = line.bbox;
    let overlaps = |other: &&TextLine| {
        let [_, y0, _, y1] = other.bbox;
        let shared = bottom.min(y1) - top.max(y0);
        shared > 0.5 * (bottom - top).min(y1 - y0)
    };
    let texts: Vec<String> = lines.iter().filter(overlaps).map(|l| l.text.to_uppercase()).collect();
    texts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::sroie::test_lines;
    use super::*;

    fn row(text: &str, x: f64, y: f64) -> (&str, [f64; 4]) {
        (text, [x, y, x + 40.0, y + 10.0])
    }

    #[test]
    fn the_row_that_says_total_wins_over_other_rows_of_the_amount() {
        let rows = [
            row("KF MODELLING CLAY", 0.0, 0.0),
            row("9.00", 100.0, 0.0),
            row("SUB TOTAL", 0.0, 20.0),
            row("9.00", 100.0, 20.0),
            row("ROUNDED TOTAL (RM):", 0.0, 40.0),
            row("RM9.00", 100.0, 41.0),
            row("CASH", 0.0, 60.0),
            row("9.00", 100.0, 60.0),
        ];
        assert_eq!(total_words(&test_lines(&rows), "9.00"), [(5, 0)]);
        assert_eq!(total_words(&test_lines(&rows[..4]), "9.00"), [(3, 0)]);
        let paid = [&rows[..2], &rows[6..]].concat();
        assert_eq!(total_words(&test_lines(&paid), "RM 9.00"), [(3, 0)]);
        assert!(total_words(&test_lines(&rows), "8.00").is_empty());
    }

    #[test]
    fn amounts_are_read_through_currency_and_grouping_and_dates_are_none() {
        assert_eq!((cents("RM9.00"), cents("$1,234.50"), cents("9")), (Some(900), Some(123_450), Some(900)));
        assert_eq!((cents("25/12/2018"), cents("TOTAL"), cents("6%")), (None, None, None));
    }
}
