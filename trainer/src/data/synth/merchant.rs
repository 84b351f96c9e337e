//! Invented merchants and the till each of them prints with.

use std::collections::BTreeSet;

use super::dice::Dice;
use super::formats::{DATE_STYLES, Money, TIME_STYLES, phone_words};
use super::products::{TRADES, Trade};
use super::words::{NAME_END, NAME_FIRST, NAME_START, STATES, STREET_KINDS, STREETS, TOWN_END, TOWN_START};
use crate::data::merchant::merchant_key;

/// A shop.
#[derive(Debug, Clone)]
pub(super) struct Merchant {
    pub(super) name: String,
    /// The name as printed, one entry per line.
    pub(super) name_lines: Vec<Vec<String>>,
    /// The address, one entry per line.
    pub(super) address: Vec<Vec<String>>,
    pub(super) phone: Vec<String>,
    pub(super) website: String,
    pub(super) trade: Trade,
    pub(super) till: Till,
}

/// Where date and time are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DatePlace {
    Header,
    Totals,
    Footer,
}

/// How a line of the bill is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemLayout {
    /// `NAME … 3.98`
    NameTotal,
    /// `2 NAME … 3.98`
    QtyNameTotal,
    /// `NAME  2  1.99  3.98`
    NameQtyUnitTotal,
    /// `2  NAME  1.99  3.98`
    QtyNameUnitTotal,
    /// `0123456789 NAME … 3.98 F`
    CodeNameTotal,
    /// `NAME` and below it `2 @ 1.99 … 3.98`
    NameAboveTotal,
    /// `NAME` and below it `0123456789 … 3.98`
    NameAboveCode,
    /// `2 x NAME … 3.98`
    TimesNameTotal,
}

const LAYOUTS: [ItemLayout; 10] = [
    ItemLayout::NameTotal,
    ItemLayout::NameTotal,
    ItemLayout::QtyNameTotal,
    ItemLayout::QtyNameTotal,
    ItemLayout::NameQtyUnitTotal,
    ItemLayout::QtyNameUnitTotal,
    ItemLayout::CodeNameTotal,
    ItemLayout::NameAboveTotal,
    ItemLayout::NameAboveCode,
    ItemLayout::TimesNameTotal,
];

/// How a merchant's receipts look.
#[derive(Debug, Clone)]
pub(super) struct Till {
    /// Characters on a line.
    pub(super) columns: f64,
    /// Pixels per character.
    pub(super) char_width: f64,
    /// Pixels from line to line.
    pub(super) pitch: f64,
    /// Height of the print as a share of the pitch.
    pub(super) body: f64,
    pub(super) proportional: bool,
    pub(super) upper: bool,
    pub(super) centred: bool,
    pub(super) title_scale: f64,
    /// Pixels around the print.
    pub(super) margin: f64,
    pub(super) money: Money,
    pub(super) date_style: usize,
    pub(super) time_style: usize,
    pub(super) date_place: DatePlace,
    pub(super) date_prefix: &'static str,
    pub(super) time_prefix: &'static str,
    pub(super) date_time_apart: bool,
    pub(super) phone_prefix: &'static str,
    pub(super) phone_first: bool,
    pub(super) layout: ItemLayout,
    pub(super) item_header: bool,
    /// Column at which amounts end.
    pub(super) amount_column: f64,
    /// Totals are set in the middle instead of at the left margin.
    pub(super) totals_indent: f64,
    pub(super) flag: &'static str,
    pub(super) rule: &'static str,
    pub(super) subtotal_word: &'static str,
    pub(super) tax_words: Vec<&'static str>,
    /// Tax in hundredths of a percent.
    pub(super) tax_rate: u32,
    pub(super) total_word: &'static str,
    pub(super) total_scale: f64,
}

/// `count` merchants with names that differ in more than spelling.
pub(super) fn merchants(seed: u64, count: usize) -> Vec<Merchant> {
    let mut names = BTreeSet::new();
    let mut all = Vec::with_capacity(count);
    let mut attempt = 0u64;
    while all.len() < count {
        let mut merchant = Merchant::draw(&mut Dice::new(seed, &[0, attempt]));
        attempt += 1;
        if attempt > 50 * count as u64 + 1000 {
            // Names run out; a branch number keeps them apart.
            merchant.name.push_str(&format!(" No {attempt}"));
        }
        if names.insert(merchant_key(&merchant.name)) {
            all.push(merchant);
        }
    }
    all
}

impl Merchant {
    fn draw(dice: &mut Dice) -> Self {
        let trade = TRADES.get(dice.below(TRADES.len())).copied().unwrap_or(TRADES[0]);
        let till = Till::draw(dice);
        let core = name_core(dice);
        let mut words: Vec<String> = core.clone();
        words.extend(dice.pick(trade.name_ends).split(' ').map(String::from));
        let suffix = dice.pick(&["", "", "", "", "", "LLC", "Inc.", "& Co.", "Ltd"]);
        words.extend(suffix.split_whitespace().map(String::from));
        let break_at = if words.len() > 2 && dice.chance(0.35) { core.len() } else { words.len() };
        let (first, second) = words.split_at(break_at);
        let name_lines =
            [first, second].into_iter().filter(|l| !l.is_empty()).map(<[String]>::to_vec).collect();
        let site: String = core.concat().chars().filter(char::is_ascii_alphanumeric).collect();
        let ending = dice.pick(&[".com", ".com", ".net", ".co", "-shop.com"]);
        Self {
            name: words.join(" "),
            name_lines,
            address: address(dice),
            phone: phone_words(dice),
            website: format!("www.{}{ending}", site.to_lowercase()),
            trade,
            till,
        }
    }
}

fn name_core(dice: &mut Dice) -> Vec<String> {
    let invented = |dice: &mut Dice| format!("{}{}", dice.pick(&NAME_START), dice.pick(&NAME_END));
    match dice.below(7) {
        0 | 1 => vec![dice.pick(&NAME_FIRST).to_string()],
        2 | 3 => vec![invented(dice)],
        4 => vec![format!("{}'s", invented(dice))],
        5 => vec![dice.pick(&NAME_FIRST).to_string(), invented(dice)],
        _ => vec![invented(dice), "&".into(), invented(dice)],
    }
}

fn address(dice: &mut Dice) -> Vec<Vec<String>> {
    let number = dice.between(1, 9899).to_string();
    let compass = dice.pick(&["", "", "", "", "N", "S", "E.", "W."]);
    let street = [number.as_str(), compass, dice.pick(&STREETS), dice.pick(&STREET_KINDS)].map(String::from);
    let mut street: Vec<String> = street.into_iter().filter(|w| !w.is_empty()).collect();
    let unit = format!("{} {}", dice.pick(&["Suite", "Ste", "Unit", "#"]), dice.between(1, 420));
    let unit: Vec<String> = unit.split(' ').map(String::from).collect();
    let town = format!("{}{}", dice.pick(&TOWN_START), dice.pick(&TOWN_END));
    let mut town_line = match dice.below(5) {
        0..=2 => vec![format!("{town},"), dice.pick(&STATES).to_string(), dice.digits(5)],
        3 => vec![dice.digits(5), town],
        _ => vec![town, dice.pick(&STATES).to_string(), format!("{}-{}", dice.digits(5), dice.digits(4))],
    };
    match dice.below(8) {
        0 => {
            street.append(&mut town_line);
            vec![street]
        }
        1 => vec![street, unit, town_line],
        2 => {
            street.extend(unit);
            vec![street, town_line]
        }
        _ => vec![street, town_line],
    }
}

impl Till {
    fn draw(dice: &mut Dice) -> Self {
        let columns = f64::from(dice.between(30, 46));
        let char_width = dice.uniform(7.0, 15.0);
        let flag = dice.pick(&["", "", "", "", "T", "F", "A", "N", "TX"]);
        let room_for_flag = if flag.is_empty() { 0.0 } else { 2.5 };
        let tax_words: &[&[&str]] = &[
            &["TAX"],
            &["Tax"],
            &["SALES TAX"],
            &["Tax:"],
            &["STATE TAX", "CITY TAX"],
            &["VAT"],
            &["GST"],
            &["TAX 1", "TAX 2"],
            &["HST"],
            &["Sales Tax"],
        ];
        let tax_count = tax_words.len();
        Self {
            columns,
            char_width,
            pitch: char_width * dice.uniform(1.9, 3.0),
            body: dice.uniform(0.55, 0.85),
            proportional: dice.chance(0.35),
            upper: dice.chance(0.5),
            centred: dice.chance(0.75),
            title_scale: dice.uniform(1.0, 1.9),
            margin: dice.uniform(8.0, 70.0),
            money: Money::draw(dice),
            date_style: dice.below(DATE_STYLES),
            time_style: dice.below(TIME_STYLES),
            date_place: dice_place(dice),
            date_prefix: dice.pick(&["", "", "", "Date:", "DATE", "Date", "DATE:"]),
            time_prefix: dice.pick(&["", "", "", "Time:", "TIME", "AT"]),
            date_time_apart: dice.chance(0.4),
            phone_prefix: dice.pick(&["", "", "", "Tel:", "TEL", "Phone:", "PH:", "Ph.", "Call"]),
            phone_first: dice.chance(0.12),
            layout: LAYOUTS.get(dice.below(LAYOUTS.len())).copied().unwrap_or(ItemLayout::NameTotal),
            item_header: dice.chance(0.4),
            amount_column: columns - room_for_flag - dice.pick(&[0.0, 0.0, 1.0, 2.0]),
            totals_indent: dice.pick(&[0.0, 0.0, 0.0, 0.25, 0.45]),
            flag,
            rule: dice.pick(&["", "", "", "", "", "", "-", "=", "*"]),
            subtotal_word: dice.pick(&[
                "SUBTOTAL",
                "SUBTOTAL",
                "Subtotal",
                "SUB TOTAL",
                "Sub Total:",
                "Subtotal:",
                "NET TOTAL",
                "SUB-TOTAL",
            ]),
            tax_words: tax_words.get(dice.below(tax_count)).map_or(vec!["TAX"], |w| w.to_vec()),
            tax_rate: dice.pick(&[500, 600, 625, 700, 725, 825, 875, 1000, 1300, 2000]),
            total_word: dice.pick(&[
                "TOTAL",
                "TOTAL",
                "TOTAL",
                "Total",
                "Total:",
                "GRAND TOTAL",
                "AMOUNT DUE",
                "BALANCE DUE",
                "TOTAL DUE",
                "Total Due",
                "BALANCE",
                "TOTAL USD",
            ]),
            total_scale: dice.pick(&[1.0, 1.0, 1.0, 1.25, 1.5]),
        }
    }
}

fn dice_place(dice: &mut Dice) -> DatePlace {
    match dice.below(10) {
        0..=5 => DatePlace::Header,
        6 => DatePlace::Totals,
        _ => DatePlace::Footer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merchants_are_repeatable_and_their_names_distinct() {
        let (a, b) = (merchants(7, 300), merchants(7, 300));
        let names = |all: &[Merchant]| all.iter().map(|m| merchant_key(&m.name)).collect::<Vec<_>>();
        assert_eq!(names(&a), names(&b));
        assert_eq!(names(&a).into_iter().collect::<BTreeSet<_>>().len(), 300);
        assert_ne!(names(&a), names(&merchants(8, 300)));
    }
}
