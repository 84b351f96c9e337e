//! How tills write amounts, dates, times and phone numbers. Each gives the words that OCR would see.

use super::dice::Dice;

/// A way to write money.
#[derive(Debug, Clone, Copy)]
pub(super) struct Money {
    symbol: &'static str,
    /// The symbol is a word of its own.
    apart: bool,
    decimal: char,
    thousands: Option<char>,
}

impl Money {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let symbol = dice.pick(&["", "", "", "$", "$", "$", "£", "€", "RM"]);
        let comma = symbol == "€" && dice.chance(0.7) || symbol.is_empty() && dice.chance(0.08);
        let (decimal, group) = if comma { (',', '.') } else { ('.', ',') };
        let thousands = dice.chance(0.7).then_some(group);
        Self { symbol, apart: !symbol.is_empty() && dice.chance(0.15), decimal, thousands }
    }

    /// The amount's words, one or two.
    pub(super) fn words(&self, cents: u32) -> Vec<String> {
        let mut whole = (cents / 100).to_string();
        if let (Some(mark), true) = (self.thousands, whole.len() > 3) {
            whole.insert(whole.len() - 3, mark);
        }
        let number = format!("{whole}{}{:02}", self.decimal, cents % 100);
        match (self.symbol, self.apart) {
            ("", _) => vec![number],
            (symbol, true) => vec![symbol.to_string(), number],
            (symbol, false) => vec![format!("{symbol}{number}")],
        }
    }

    /// The number alone.
    pub(super) fn bare(&self, cents: u32) -> String {
        Self { symbol: "", ..*self }.words(cents).concat()
    }
}

/// A moment of a sale.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) year: u32,
    pub(super) month: u32,
    pub(super) day: u32,
    pub(super) hour: u32,
    pub(super) minute: u32,
    pub(super) second: u32,
}

impl Moment {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        Self {
            year: dice.between(2012, 2026),
            month: dice.between(1, 12),
            day: dice.between(1, 28),
            hour: dice.between(7, 22),
            minute: dice.between(0, 59),
            second: dice.between(0, 59),
        }
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Ways to write a date; a merchant keeps to one.
pub(super) const DATE_STYLES: usize = 12;

/// A date's words.
pub(super) fn date_words(style: usize, m: &Moment) -> Vec<String> {
    let Moment { year: y, month: mo, day: d, .. } = *m;
    let short = y % 100;
    let name = MONTHS.get((mo as usize).saturating_sub(1)).copied().unwrap_or("Jan");
    let text = match style % DATE_STYLES {
        0 | 1 => format!("{mo:02}/{d:02}/{y}"),
        2 => format!("{mo:02}/{d:02}/{short:02}"),
        3 => format!("{mo}/{d}/{y}"),
        4 => format!("{d:02}/{mo:02}/{y}"),
        5 => format!("{d:02}-{mo:02}-{y}"),
        6 => format!("{d:02}.{mo:02}.{y}"),
        7 => format!("{y}-{mo:02}-{d:02}"),
        8 => format!("{d:02}-{name}-{y}"),
        9 => format!("{name} {d}, {y}"),
        10 => format!("{d:02} {name} {y}"),
        _ => format!("{d:02}-{mo:02}-{short:02}"),
    };
    text.split(' ').map(String::from).collect()
}

/// Ways to write a time of day.
pub(super) const TIME_STYLES: usize = 6;

/// A time's words.
pub(super) fn time_words(style: usize, m: &Moment) -> Vec<String> {
    let Moment { hour, minute, second, .. } = *m;
    let (half, twelve) = (if hour < 12 { "AM" } else { "PM" }, (hour + 11) % 12 + 1);
    let text = match style % TIME_STYLES {
        0 => format!("{hour:02}:{minute:02}"),
        1 => format!("{hour:02}:{minute:02}:{second:02}"),
        2 => format!("{twelve}:{minute:02} {half}"),
        3 => format!("{twelve:02}:{minute:02}{half}"),
        4 => format!("{twelve:02}:{minute:02}:{second:02} {half}"),
        _ => format!("{twelve}:{minute:02}{}", half.to_lowercase()),
    };
    text.split(' ').map(String::from).collect()
}

/// A phone number's words.
pub(super) fn phone_words(dice: &mut Dice) -> Vec<String> {
    let (area, exchange, line) = (dice.between(201, 989), dice.between(200, 999), dice.digits(4));
    let text = match dice.below(9) {
        0 | 1 => format!("({area}) {exchange}-{line}"),
        2 | 3 => format!("{area}-{exchange}-{line}"),
        4 => format!("{area}.{exchange}.{line}"),
        5 => format!("({area}){exchange}-{line}"),
        6 => format!("+1 {area} {exchange} {line}"),
        7 => format!("0{}-{exchange}{line}", area % 100),
        _ => format!("{area} {exchange} {line}"),
    };
    text.split(' ').map(String::from).collect()
}

/// Words of a text in a merchant's case.
pub(super) fn split(text: &str) -> Vec<String> {
    text.split_whitespace().map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_group_thousands_and_keep_two_decimals() {
        let dollars = Money { symbol: "$", apart: false, decimal: '.', thousands: Some(',') };
        assert_eq!(dollars.words(123_405), ["$1,234.05"]);
        let euros = Money { symbol: "€", apart: true, decimal: ',', thousands: None };
        assert_eq!(euros.words(7), ["€", "0,07"]);
        assert_eq!(euros.bare(199), "1,99");
    }

    #[test]
    fn midnight_and_noon_read_twelve() {
        let at = |hour| Moment { year: 2025, month: 11, day: 3, hour, minute: 5, second: 9 };
        assert_eq!(time_words(2, &at(0)), ["12:05", "AM"]);
        assert_eq!(time_words(3, &at(12)), ["12:05PM"]);
        assert_eq!(date_words(9, &at(1)), ["Nov", "3,", "2025"]);
    }
}
