//! The bottom of a receipt: courtesies, small print, codes.

use super::dice::Dice;
use super::formats::split;
use super::header::date_time;
use super::merchant::{DatePlace, Merchant};
use super::sale::Sale;
use super::sheet::{At, Sheet, plain};
use super::words::{NOTICES, THANKS};

/// Prints everything below the payment.
pub(super) fn print(sheet: &mut Sheet, merchant: &Merchant, sale: &Sale, dice: &mut Dice) {
    if dice.chance(0.3) {
        let count: u32 = sale.items.iter().map(|i| i.quantity).sum();
        let text =
            format!("{} {count}", dice.pick(&["ITEMS SOLD", "# ITEMS SOLD", "Item Count:", "TOTAL ITEMS"]));
        sheet.row(vec![plain(split(&text), "OTHER", At::Left(0.0))]);
    }
    if sale.discount > 0 && dice.chance(0.7) {
        let text = format!("YOU SAVED {}", merchant.till.money.words(sale.discount).concat());
        sheet.row(vec![plain(split(&text), "OTHER", At::Centre)]);
    }
    if merchant.till.date_place == DatePlace::Footer {
        date_time(sheet, merchant, sale);
        sheet.space_before_last(0.5);
    }
    if dice.chance(0.15) {
        let text = format!("MEMBER {}", dice.digits(10));
        sheet.row(vec![plain(split(&text), "LOYALTY_ID", At::Left(0.0))]);
    }
    if dice.chance(0.85) {
        sheet.row(vec![plain(split(dice.pick(&THANKS)), "OTHER", At::Centre)]);
        sheet.space_before_last(0.7);
    }
    for _ in 0..dice.below(3) {
        sheet.row(vec![plain(split(dice.pick(&NOTICES)), "OTHER", At::Centre)]);
    }
    if dice.chance(0.2) {
        sheet.row(vec![plain(vec![merchant.website.clone()], "WEBSITE", At::Centre)]);
    }
    if dice.chance(0.25) {
        let length = dice.pick(&[12, 16, 20]);
        sheet.row(vec![plain(vec![dice.digits(length)], "OTHER", At::Centre)]);
        sheet.space_before_last(0.5);
    }
}
