//! The middle of a receipt: what was bought, and the sums.

use super::dice::Dice;
use super::formats::split;
use super::header::date_time;
use super::merchant::{DatePlace, ItemLayout, Merchant, Till};
use super::sale::{Item, Payment, Sale};
use super::sheet::{At, Segment, Sheet, plain};

/// Prints items, totals and payment.
pub(super) fn print(sheet: &mut Sheet, merchant: &Merchant, sale: &Sale, dice: &mut Dice) {
    let till = &merchant.till;
    rule(sheet, till);
    if till.item_header {
        header_row(sheet, till);
    }
    for item in &sale.items {
        item_rows(sheet, till, item);
    }
    rule(sheet, till);
    totals(sheet, till, sale, dice);
    if till.date_place == DatePlace::Totals {
        date_time(sheet, merchant, sale);
        sheet.space_before_last(0.5);
    }
    payment(sheet, till, sale, dice);
    if merchant.trade.served && dice.chance(0.35) {
        for word in ["TIP", "TOTAL"] {
            sheet.row(vec![
                plain(split(word), "OTHER", At::Left(0.0)),
                plain(vec!["_".repeat(10)], "OTHER", At::Right(till.columns)),
            ]);
        }
    }
}

fn rule(sheet: &mut Sheet, till: &Till) {
    if !till.rule.is_empty() {
        // OCR sees a rule as a few marks, if at all.
        let line = till.rule.repeat(8);
        sheet.row(vec![plain(vec![line], "OTHER", At::Centre)]);
    }
}

fn header_row(sheet: &mut Sheet, till: &Till) {
    let amount = plain(split("AMOUNT"), "OTHER", At::Right(till.amount_column));
    let columns = Columns::of(till);
    let mut segments = match till.layout {
        ItemLayout::NameQtyUnitTotal => vec![
            plain(split("ITEM"), "OTHER", At::Left(0.0)),
            plain(split("QTY"), "OTHER", At::Right(columns.quantity)),
            plain(split("PRICE"), "OTHER", At::Right(columns.unit)),
        ],
        ItemLayout::QtyNameUnitTotal => vec![
            plain(split("QTY"), "OTHER", At::Left(0.0)),
            plain(split("DESCRIPTION"), "OTHER", At::Left(4.0)),
            plain(split("PRICE"), "OTHER", At::Right(columns.unit)),
        ],
        ItemLayout::QtyNameTotal | ItemLayout::TimesNameTotal => {
            vec![plain(split("QTY ITEM"), "OTHER", At::Left(0.0))]
        }
        _ => vec![plain(split("Description"), "OTHER", At::Left(0.0))],
    };
    segments.push(amount);
    sheet.row(segments);
}

/// Where the columns of a line end.
struct Columns {
    quantity: f64,
    unit: f64,
}

impl Columns {
    fn of(till: &Till) -> Self {
        Self { quantity: till.amount_column - 18.0, unit: till.amount_column - 9.5 }
    }
}

fn item_rows(sheet: &mut Sheet, till: &Till, item: &Item) {
    let columns = Columns::of(till);
    let quantity = item.quantity.to_string();
    let unit = till.money.bare(item.unit);
    let left = |words: Vec<String>, class| plain(words, class, At::Left(0.0));
    let amount = amount_segment(sheet, till, item.total, "LINE_TOTAL");
    let mut name = |room: f64, column: f64| {
        let words = fitting(&item.name, room - column);
        sheet.labelled(words, "PRODUCT_NAME", At::Left(column))
    };
    let room = till.amount_column - 10.0;
    match till.layout {
        ItemLayout::NameTotal => {
            let mut row = vec![name(room, 0.0)];
            row.extend(amount);
            sheet.row(row);
            if item.quantity > 1 {
                let text = format!("{quantity} @ {unit}");
                sheet.row(vec![plain(split(&text), "QUANTITY", At::Left(3.0))]);
            }
        }
        ItemLayout::QtyNameTotal | ItemLayout::TimesNameTotal => {
            let mut words = vec![quantity];
            words.extend((till.layout == ItemLayout::TimesNameTotal).then(|| "x".to_string()));
            let mut row = vec![left(words, "QUANTITY"), name(room, 4.0)];
            row.extend(amount);
            sheet.row(row);
        }
        ItemLayout::NameQtyUnitTotal => {
            let mut row = vec![
                name(columns.quantity - 3.0, 0.0),
                plain(vec![quantity], "QUANTITY", At::Right(columns.quantity)),
                plain(vec![unit], "UNIT_PRICE", At::Right(columns.unit)),
            ];
            row.extend(amount);
            sheet.row(row);
        }
        ItemLayout::QtyNameUnitTotal => {
            let name = name(columns.unit - 8.0, 4.0);
            let mut row = vec![
                left(vec![quantity], "QUANTITY"),
                name,
                plain(vec![unit], "UNIT_PRICE", At::Right(columns.unit)),
            ];
            row.extend(amount);
            sheet.row(row);
        }
        ItemLayout::CodeNameTotal => {
            let code: String = item.code.chars().take(6).collect();
            let mut row = vec![left(vec![code], "CODE"), name(room, 7.0)];
            row.extend(amount);
            sheet.row(row);
        }
        ItemLayout::NameAboveTotal => {
            let name = name(till.columns, 0.0);
            sheet.row(vec![name]);
            let text = format!("{quantity} @ {unit}");
            let mut row = vec![plain(split(&text), "QUANTITY", At::Left(2.0))];
            row.extend(amount);
            sheet.row(row);
        }
        ItemLayout::NameAboveCode => {
            let name = name(till.columns, 0.0);
            sheet.row(vec![name]);
            let mut row = vec![plain(vec![item.code.clone()], "CODE", At::Left(1.0))];
            row.extend(amount);
            sheet.row(row);
        }
    }
}

/// As many words as fit into `room` characters, at least one (cut if need be), as a till would print.
fn fitting(words: &[String], room: f64) -> Vec<String> {
    let room = room.max(4.0) as usize;
    let mut used = 0;
    let mut out = Vec::new();
    for word in words {
        let need = word.chars().count() + usize::from(!out.is_empty());
        if used + need > room {
            break;
        }
        used += need;
        out.push(word.clone());
    }
    if out.is_empty() {
        out.extend(words.first().map(|w| w.chars().take(room).collect()));
    }
    out
}

/// An amount at the right, with the till's tax flag after a line total.
fn amount_segment(sheet: &mut Sheet, till: &Till, cents: u32, label: &'static str) -> Vec<Segment> {
    let mut out = vec![sheet.labelled(till.money.words(cents), label, At::Right(till.amount_column))];
    if label == "LINE_TOTAL" && !till.flag.is_empty() {
        out.push(plain(vec![till.flag.to_string()], "OTHER", At::Left(till.amount_column + 0.7)));
    }
    out
}

/// `NAME … amount`, the name at the left or indented.
fn sum_row(sheet: &mut Sheet, till: &Till, name: &str, cents: u32, label: &'static str, scale: f64) {
    let at = At::Left((till.columns * till.totals_indent).floor());
    let mut row = vec![plain(split(name), "OTHER", at)];
    row.extend(amount_segment(sheet, till, cents, label));
    sheet.sized_row(row, scale, 0.0);
}

/// The same for an amount that is no label of interest.
fn other_sum(sheet: &mut Sheet, till: &Till, name: &str, words: Vec<String>, class: &'static str) {
    let at = At::Left((till.columns * till.totals_indent).floor());
    let amount = plain(words, class, At::Right(till.amount_column));
    sheet.row(vec![plain(split(name), class, at), amount]);
}

fn totals(sheet: &mut Sheet, till: &Till, sale: &Sale, dice: &mut Dice) {
    if sale.discount > 0 {
        let name = dice.pick(&["DISCOUNT", "COUPON", "MEMBER SAVINGS", "Discount", "PROMO"]);
        let amount = till.money.bare(sale.discount);
        let written = if dice.chance(0.5) { format!("-{amount}") } else { format!("{amount}-") };
        other_sum(sheet, till, name, vec![written], "DISCOUNT");
    }
    if dice.chance(0.85) {
        sum_row(sheet, till, till.subtotal_word, sale.subtotal, "SUBTOTAL", 1.0);
    }
    for (word, tax) in till.tax_words.iter().zip(&sale.taxes) {
        let percent = f64::from(till.tax_rate) / 100.0 / till.tax_words.len() as f64;
        let name = if dice.chance(0.25) { format!("{word} {percent}%") } else { (*word).to_string() };
        sum_row(sheet, till, &name, *tax, "TAX", 1.0);
    }
    sum_row(sheet, till, till.total_word, sale.total, "GRAND_TOTAL", till.total_scale);
    sheet.space_before_last(dice.pick(&[0.0, 0.0, 0.4]));
}

fn payment(sheet: &mut Sheet, till: &Till, sale: &Sale, dice: &mut Dice) {
    match sale.payment {
        Payment::Cash(given) => {
            let name = dice.pick(&["CASH", "Cash", "CASH TENDERED", "TENDER", "Amount Paid"]);
            other_sum(sheet, till, name, till.money.words(given), "CASH");
            let name = dice.pick(&["CHANGE", "Change", "CHANGE DUE", "Change:"]);
            other_sum(sheet, till, name, till.money.words(given - sale.total), "CHANGE");
        }
        Payment::Card(network, last) => {
            other_sum(sheet, till, network, till.money.words(sale.total), "PAYMENT_METHOD");
            if dice.chance(0.7) {
                let stars = dice.pick(&["************", "XXXXXXXXXXXX", "XXXX-XXXX-XXXX-", "****"]);
                let text = format!("{} {stars}{last:04}", dice.pick(&["ACCT", "Card", "CARD #:", "ACCOUNT"]));
                sheet.row(vec![plain(split(&text), "PAYMENT_METHOD", At::Left(0.0))]);
            }
            if dice.chance(0.6) {
                let text =
                    format!("{} {}", dice.pick(&["AUTH", "Auth Code:", "APPROVAL", "REF #"]), dice.digits(6));
                sheet.row(vec![plain(split(&text), "OTHER", At::Left(0.0))]);
            }
            if dice.chance(0.25) {
                sheet.row(vec![plain(split("APPROVED"), "OTHER", At::Centre)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_to_their_column() {
        let words: Vec<String> = split("Extra Virgin Olive Oil 750ML");
        assert_eq!(fitting(&words, 14.0), ["Extra", "Virgin"]);
        assert_eq!(fitting(&split("Thermometer"), 5.0), ["Therm"]);
    }
}
