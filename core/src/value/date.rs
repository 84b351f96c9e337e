//! Dates as printed → ISO 8601.

use std::str::FromStr;

use chrono::{Month, NaiveDate};

use super::text::{Part, Token, fold, parts};

/// Years a receipt may be from.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=2099;

/// The first date in a text as `YYYY-MM-DD`; `None` when there is none, its year is missing, or no calendar has it.
///
/// Reads year-month-day, day-month-year and month-day-year in figures with any mark but `:` between them; months by
/// their English name or its first three letters, also run together (`25Dec13`, `Aug262017`); and `YYYYMMDD` without
/// marks. Years of two digits are 1970..=2069. See [`day_and_month`] for figures that could be either.
pub(super) fn normalize(text: &str) -> Option<String> {
    let folded = fold(text);
    let parts: Vec<Part<'_>> = parts(&folded).into_iter().filter(|part| !is_filler(part)).collect();
    let starts = || (0..parts.len()).filter_map(|i| parts.get(i..));
    let date = starts().find_map(in_figures_or_words).or_else(|| starts().find_map(compact))?;
    Some(date.format("%Y-%m-%d").to_string())
}

/// Which of two numbers before a year is the day, and which the month.
///
/// A number above 12 is the day. When both could be either, `/` puts the month first, as in the United States; any
/// other mark puts the day first, as in most of the world (on the receipts this was checked with, `-` and `.` did so in
/// 98 of 100 clear cases).
fn day_and_month(first: u32, second: u32, separator: Option<char>) -> (u32, u32) {
    let month_first = if first > 12 || second > 12 { second > 12 } else { separator == Some('/') };
    if month_first { (second, first) } else { (first, second) }
}

/// `th` of `13th`, `of` in `13th of May`.
fn is_filler(part: &Part<'_>) -> bool {
    let Token::Word(word) = part.token else { return false };
    let ordinal =
        part.separator.is_none() && ["st", "nd", "rd", "th"].iter().any(|s| word.eq_ignore_ascii_case(s));
    ordinal || word.eq_ignore_ascii_case("of")
}

fn in_figures_or_words(parts: &[Part<'_>]) -> Option<NaiveDate> {
    use Token::{Number, Word};
    let clock = |after: usize| parts.get(after).is_some_and(|part| part.separator == Some(':'));
    let part = |i: usize| parts.get(i).map(|part| part.token);
    let marks = [parts.get(1).and_then(|p| p.separator), parts.get(2).and_then(|p| p.separator)];
    if marks.contains(&Some(':')) {
        return None;
    }
    match (part(0)?, part(1)?, part(2)) {
        (Number(y), Number(m), Some(Number(d))) if y.len() == 4 => {
            date(year(y, false)?, short(m)?, short(d)?)
        }
        (Number(first), Number(second), Some(Number(y))) => {
            let (day, month) =
                day_and_month(short(first)?, short(second)?, marks.into_iter().flatten().next());
            date(year(y, clock(3))?, month, day)
        }
        (Number(y), Word(m), Some(Number(d))) if y.len() == 4 => date(year(y, false)?, month(m)?, short(d)?),
        (Number(d), Word(m), Some(Number(y))) => date(year(y, clock(3))?, month(m)?, short(d)?),
        (Word(m), Number(run), _) if matches!(run.len(), 5 | 6) => {
            let (d, y) = run.split_at_checked(run.len() - 4)?;
            date(year(y, false)?, month(m)?, short(d)?)
        }
        (Word(m), Number(d), Some(Number(y))) => date(year(y, clock(3))?, month(m)?, short(d)?),
        _ => None,
    }
}

/// `20180318`, `20180318123000`, or, where that is no date, `18032018`.
fn compact(parts: &[Part<'_>]) -> Option<NaiveDate> {
    let Token::Number(run) = parts.first()?.token else { return None };
    if !matches!(run.len(), 8 | 12 | 14) {
        return None;
    }
    let figures = |range: std::ops::Range<usize>| run.get(range)?.parse::<u32>().ok();
    let year_first = || date(year(run.get(..4)?, false)?, figures(4..6)?, figures(6..8)?);
    let year_last = || {
        let (day, month) = day_and_month(figures(0..2)?, figures(2..4)?, None);
        date(year(run.get(4..)?, false)?, month, day)
    };
    year_first().or_else(year_last)
}

fn date(year: i32, month: u32, day: u32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(year, month, day)
}

/// A day or month: one or two figures.
fn short(run: &str) -> Option<u32> {
    if run.len() <= 2 { run.parse().ok() } else { None }
}

fn month(word: &str) -> Option<u32> {
    if word.eq_ignore_ascii_case("sept") {
        return Some(Month::September.number_from_month());
    }
    Month::from_str(word).ok().map(|month| month.number_from_month())
}

/// A year of four figures, or of two; with a clock time behind it (`:` follows) the hour may be stuck to it.
fn year(run: &str, clock_follows: bool) -> Option<i32> {
    let run = match split_year_and_hour(run) {
        Some((year, _)) if clock_follows => year,
        // 12 05 16:30 has no year.
        None if clock_follows && run.len() < 4 => return None,
        _ => run,
    };
    let number: i32 = run.parse().ok()?;
    match run.len() {
        4 => YEARS.contains(&number).then_some(number),
        2 => Some(if number < 70 { 2000 + number } else { 1900 + number }),
        _ => None,
    }
}

/// Takes apart a year and the hour stuck to it in front of `:`, as in `4/4/20127:33AM` and `05.11.1318:30`.
pub(super) fn split_year_and_hour(run: &str) -> Option<(&str, &str)> {
    let is_year = |y: &str| y.parse().is_ok_and(|y: i32| YEARS.contains(&y));
    match run.len() {
        3 => run.split_at_checked(2),
        4 if !is_year(run) => run.split_at_checked(2),
        5 | 6 => run.split_at_checked(4).filter(|(year, _)| is_year(year)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            assert_eq!(normalize(text).as_deref().unwrap_or("-"), *expected, "{text}");
        }
    }

    #[test]
    fn common_forms_become_iso_dates() {
        check(&[
            ("2025-11-13", "2025-11-13"),
            ("13/11/2025", "2025-11-13"),
            ("11/13/25", "2025-11-13"),
            ("13-NOV-2025", "2025-11-13"),
            ("Nov 13, 2025", "2025-11-13"),
            ("20180318", "2018-03-18"),
            ("25032018", "2018-03-25"),
            ("20180428/191204", "2018-04-28"),
            ("09/02/2018 8:30 PM", "2018-09-02"),
            ("NOVEMBER 13,2010", "2010-11-13"),
            ("10 MAY 18", "2018-05-10"),
            ("30-06-14", "2014-06-30"),
            ("2014.10.16", "2014-10-16"),
            ("2018-03-18T10:22:00Z", "2018-03-18"),
            ("FRI23-10-92", "1992-10-23"),
        ]);
    }

    #[test]
    fn words_and_marks_around_and_between_do_not_matter() {
        check(&[
            ("DATE:07/13/17", "2017-07-13"),
            ("[19/06/17]", "2017-06-19"),
            ("001-2018/03/27", "2018-03-27"),
            ("12/30/2016FRI", "2016-12-30"),
            ("JAN09'03", "2003-01-09"),
            ("12Mar\u{b4}18", "2018-03-12"),
            ("#001JAN.06'07REG0001", "2007-01-06"),
            ("Tuesday,March27th2018", "2018-03-27"),
            ("13th of November 2025", "2025-11-13"),
            ("Aug262017", "2017-08-26"),
            ("04sept.16", "2016-09-04"),
            ("3CLOSED23Nov17", "2017-11-23"),
            ("NO/DATE:15403-119386(29/07/2016)", "2016-07-29"),
        ]);
    }

    #[test]
    fn a_clock_time_stuck_to_the_year_is_cut_off() {
        check(&[
            ("4/4/20127:33AM", "2012-04-04"),
            ("05.11.1318:30Uhr", "2013-11-05"),
            ("21/05/2018TIME:", "2018-05-21"),
            ("12/06/2016-13:30:10-28", "2016-12-06"),
            ("12 05 16:30", "-"),
        ]);
    }

    #[test]
    fn an_ambiguous_day_and_month_follow_the_mark_between_them() {
        check(&[("03/04/2018", "2018-03-04"), ("03-04-2018", "2018-04-03"), ("03.04.18", "2018-04-03")]);
        assert_eq!(day_and_month(13, 4, Some('/')), (13, 4));
        assert_eq!(day_and_month(4, 13, Some('-')), (13, 4));
    }

    #[test]
    fn impossible_and_incomplete_dates_have_no_value() {
        check(&[
            ("31/02/2018", "-"),
            ("2018-13-01", "-"),
            ("29/02/2019", "-"),
            ("29/02/2020", "2020-02-29"),
            ("13/13/2018", "-"),
            ("01/01/3018", "-"),
            ("10/17", "-"),
            ("DEC23", "-"),
            ("DECEMBER2016", "-"),
            ("20:37", "-"),
            ("", "-"),
        ]);
    }
}
