//! The top of a receipt: who, where, when.

use super::dice::Dice;
use super::formats::{date_words, split, time_words};
use super::merchant::{DatePlace, Merchant};
use super::sale::Sale;
use super::sheet::{At, Segment, Sheet, plain, segment};
use super::words::{PEOPLE, WELCOMES};

/// Prints everything above the items.
pub(super) fn print(sheet: &mut Sheet, merchant: &Merchant, sale: &Sale, dice: &mut Dice) {
    let at = if merchant.till.centred { At::Centre } else { At::Left(0.0) };
    if dice.chance(0.15) {
        sheet.row(vec![plain(split(dice.pick(&WELCOMES)), "OTHER", at)]);
    }
    let name = sheet.entity();
    for line in &merchant.name_lines {
        let words = segment(line.clone(), "MERCHANT_NAME", "MERCHANT_NAME", Some(name), at);
        sheet.sized_row(vec![words], merchant.till.title_scale, 0.0);
    }
    if dice.chance(0.15) {
        let store = format!("Store #{}", dice.between(1, 9999));
        sheet.row(vec![plain(split(&store), "OTHER", at)]);
    }
    contact(sheet, merchant, at, dice);
    if dice.chance(0.2) {
        sheet.row(vec![plain(vec![merchant.website.clone()], "WEBSITE", at)]);
    }
    if merchant.till.date_place == DatePlace::Header {
        date_time(sheet, merchant, sale);
        sheet.space_before_last(0.5);
    }
    register(sheet, merchant, dice);
}

/// Address and phone, either of them sometimes missing.
fn contact(sheet: &mut Sheet, merchant: &Merchant, at: At, dice: &mut Dice) {
    let (with_address, with_phone) = (dice.chance(0.95), dice.chance(0.88));
    if with_phone && merchant.till.phone_first {
        phone(sheet, merchant, at);
    }
    if with_address {
        let entity = sheet.entity();
        for line in &merchant.address {
            sheet.row(vec![segment(line.clone(), "ADDRESS_LINE", "ADDRESS_LINE", Some(entity), at)]);
        }
    }
    if with_phone && !merchant.till.phone_first {
        phone(sheet, merchant, at);
    }
}

fn phone(sheet: &mut Sheet, merchant: &Merchant, at: At) {
    let number = sheet.labelled(merchant.phone.clone(), "PHONE_NUMBER", at);
    sheet.row(vec![plain(split(merchant.till.phone_prefix), "OTHER", at).then(number)]);
}

/// Date and time on one row or two.
pub(super) fn date_time(sheet: &mut Sheet, merchant: &Merchant, sale: &Sale) {
    let till = &merchant.till;
    let date = sheet.labelled(date_words(till.date_style, &sale.at), "DATE", At::Left(0.0));
    let date = plain(split(till.date_prefix), "OTHER", At::Left(0.0)).then(date);
    let time_at = if till.date_time_apart { At::Right(till.columns) } else { At::Left(0.0) };
    let time = sheet.labelled(time_words(till.time_style, &sale.at), "TIME", time_at);
    let time: Segment = plain(split(till.time_prefix), "OTHER", time_at).then(time);
    if till.date_time_apart {
        sheet.row(vec![date, time]);
    } else if till.time_prefix.is_empty() || till.date_prefix.is_empty() {
        sheet.row(vec![date.then(time)]);
    } else {
        sheet.row(vec![date]);
        sheet.row(vec![time]);
    }
}

/// Who served, at which table or register.
fn register(sheet: &mut Sheet, merchant: &Merchant, dice: &mut Dice) {
    let columns = merchant.till.columns;
    let person = dice.pick(&PEOPLE);
    let number = dice.between(1, 99_999);
    if merchant.trade.served {
        if dice.chance(0.7) {
            let table = format!("Table {}", dice.between(1, 60));
            let server = plain(split(&format!("Server: {person}")), "OTHER", At::Left(0.0));
            sheet.row(vec![server, plain(split(&table), "OTHER", At::Right(columns))]);
        }
        if dice.chance(0.5) {
            let guests = format!("Guests: {}", dice.between(1, 8));
            let check = plain(split(&format!("Check #{number}")), "OTHER", At::Left(0.0));
            sheet.row(vec![check, plain(split(&guests), "OTHER", At::Right(columns))]);
        }
    } else {
        if dice.chance(0.5) {
            let register = format!("REG {}", dice.between(1, 24));
            let cashier = plain(split(&format!("Cashier: {person}")), "OTHER", At::Left(0.0));
            sheet.row(vec![cashier, plain(split(&register), "OTHER", At::Right(columns))]);
        }
        if dice.chance(0.4) {
            let text = match dice.below(4) {
                0 => format!("Trans # {number}"),
                1 => format!("Receipt No: {number}"),
                2 => format!("Order {number}"),
                _ => format!("TC# {} {} {}", dice.digits(4), dice.digits(4), dice.digits(4)),
            };
            sheet.row(vec![plain(split(&text), "OTHER", At::Left(0.0))]);
        }
    }
}
