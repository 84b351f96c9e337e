//! Clock times as printed → 24-hour time.

use chrono::NaiveTime;

use super::date::split_year_and_hour;
use super::text::{Part, Token, fold, parts};

/// The first clock time in a text as `HH:MM`, or `HH:MM:SS` where seconds are printed; `None` when there is none.
///
/// Hours and minutes stand apart by `:`, else by `.` or `h` (`13.11`, `11h05`), or the hour stands alone before AM or PM.
/// `A` and `P` count as AM and PM; next to an hour above 12 they say nothing.
pub(super) fn normalize(text: &str) -> Option<String> {
    let folded = fold(text);
    let parts = parts(&folded);
    let starts = || (0..parts.len()).filter_map(|i| parts.get(i..));
    starts()
        .find_map(with_colon)
        .or_else(|| starts().find_map(with_point))
        .or_else(|| starts().find_map(with_h))
        .or_else(|| starts().find_map(hour_alone))
}

fn with_colon(parts: &[Part<'_>]) -> Option<String> {
    let [hour, minute, rest @ ..] = parts else { return None };
    if hour.separator == Some(':') || minute.separator != Some(':') {
        return None;
    }
    let hour = number(hour)?;
    let hour = split_year_and_hour(hour).map_or(hour, |(_, hour)| hour);
    match rest {
        [second, rest @ ..] if matches!(second.separator, Some(':' | '.')) && two(second).is_some() => {
            time(hour, two(minute)?, two(second), rest)
        }
        _ => time(hour, two(minute)?, None, rest),
    }
}

fn with_point(parts: &[Part<'_>]) -> Option<String> {
    let [hour, minute, rest @ ..] = parts else { return None };
    let point = Some('.');
    // 05.11.13 is a date.
    let part_of_a_date = rest.first().is_some_and(|next| next.separator == point && number(next).is_some());
    if hour.separator == point || minute.separator != point || part_of_a_date {
        return None;
    }
    time(number(hour)?, two(minute)?, None, rest)
}

fn with_h(parts: &[Part<'_>]) -> Option<String> {
    let [hour, h, minute, rest @ ..] = parts else { return None };
    let between = matches!(h.token, Token::Word(word) if word.eq_ignore_ascii_case("h"));
    if between { time(number(hour)?, two(minute)?, None, rest) } else { None }
}

fn hour_alone(parts: &[Part<'_>]) -> Option<String> {
    let [hour, rest @ ..] = parts else { return None };
    let spelled_out = matches!(rest.first().map(|p| p.token), Some(Token::Word(word)) if word.len() == 2);
    if spelled_out && half_of_day(rest).is_some() { time(number(hour)?, "00", None, rest) } else { None }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Am,
    Pm,
}

/// AM or PM right behind a time, not the first letter of a code (`18:10A1`).
fn half_of_day(rest: &[Part<'_>]) -> Option<Half> {
    let [part, after @ ..] = rest else { return None };
    let Token::Word(word) = part.token else { return None };
    let touches_code = after.first().is_some_and(|next| next.separator.is_none());
    if touches_code || !matches!(part.separator, None | Some(' ' | ':' | '.')) {
        return None;
    }
    match word.to_ascii_lowercase().as_str() {
        "am" | "a" => Some(Half::Am),
        "pm" | "p" => Some(Half::Pm),
        _ => None,
    }
}

fn time(hour: &str, minute: &str, second: Option<&str>, rest: &[Part<'_>]) -> Option<String> {
    if hour.len() > 2 {
        return None;
    }
    let hour = match (hour.parse::<u32>().ok()?, half_of_day(rest)) {
        (12, Some(Half::Am)) => 0,
        (hour @ 0..12, Some(Half::Pm)) => hour + 12,
        (hour, _) => hour,
    };
    let seconds = second.map_or(Some(0), |s| s.parse().ok())?;
    let time = NaiveTime::from_hms_opt(hour, minute.parse().ok()?, seconds)?;
    let form = if second.is_some() { "%H:%M:%S" } else { "%H:%M" };
    Some(time.format(form).to_string())
}

fn number<'a>(part: &Part<'a>) -> Option<&'a str> {
    if let Token::Number(run) = part.token { Some(run) } else { None }
}

/// A number of exactly two digits.
fn two<'a>(part: &Part<'a>) -> Option<&'a str> {
    number(part).filter(|run| run.len() == 2)
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn times_become_24_hour_times() {
        let cases = [
            ("19:19", "19:19"),
            ("7:57PM", "19:57"),
            ("8:30 p.m.", "20:30"),
            ("12:05 AM", "00:05"),
            ("12:42PM", "12:42"),
            ("1:38:27AM", "01:38:27"),
            ("7:50.45P", "19:50:45"),
            ("05:10:PM", "17:10"),
            ("(09:33PM)", "21:33"),
            ("13.11", "13:11"),
            ("9.38PM", "21:38"),
            ("11h05", "11:05"),
            ("8 PM", "20:00"),
            ("18:10A1", "18:10"),
            ("14:03Num.", "14:03"),
            ("19:13-R", "19:13"),
            ("09/02/2018 8:30 PM", "20:30"),
            ("09/02/20188:30PM", "20:30"),
            ("Datum05.11.1318:30Uhr", "18:30"),
            ("25:00", "-"),
            ("12:60", "-"),
            ("99:12:30", "-"),
            ("05.11.13", "-"),
            ("08/21/2008", "-"),
            ("TIME", "-"),
            ("", "-"),
        ];
        for (text, expected) in cases {
            assert_eq!(normalize(text).as_deref().unwrap_or("-"), expected, "{text}");
        }
    }
}
