//! What was bought and paid: the facts a receipt prints.

use super::dice::Dice;
use super::formats::Moment;
use super::merchant::Merchant;

/// A line of the bill.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) name: Vec<String>,
    pub(super) code: String,
    pub(super) quantity: u32,
    /// Cents.
    pub(super) unit: u32,
    /// Cents.
    pub(super) total: u32,
}

/// How it was paid.
#[derive(Debug, Clone, Copy)]
pub(super) enum Payment {
    /// Cents handed over.
    Cash(u32),
    /// Network and last four digits.
    Card(&'static str, u32),
}

/// One sale; amounts in cents.
#[derive(Debug, Clone)]
pub(super) struct Sale {
    pub(super) at: Moment,
    pub(super) items: Vec<Item>,
    /// Taken off the sum of the items.
    pub(super) discount: u32,
    pub(super) subtotal: u32,
    /// One entry per tax the till knows.
    pub(super) taxes: Vec<u32>,
    pub(super) total: u32,
    pub(super) payment: Payment,
}

impl Sale {
    /// Draws a sale whose sums are right.
    pub(super) fn draw(merchant: &Merchant, dice: &mut Dice) -> Self {
        // Few lines are more common than many.
        let most = dice.pick(&[3, 5, 8, 12, 20]);
        let items: Vec<Item> = (0..dice.between(1, most)).map(|_| Item::draw(merchant, dice)).collect();
        let sum: u32 = items.iter().map(|i| i.total).sum();
        let discount = if dice.chance(0.12) { sum / dice.between(5, 20) } else { 0 };
        let subtotal = sum - discount;
        let rates = merchant.till.tax_words.len() as u32;
        let tax = (u64::from(subtotal) * u64::from(merchant.till.tax_rate) + 5_000) / 10_000;
        let taxes: Vec<u32> =
            (0..rates).map(|i| tax as u32 / rates + u32::from(i < tax as u32 % rates)).collect();
        let total = subtotal + taxes.iter().sum::<u32>();
        let payment = if dice.chance(0.35) {
            let note = dice.pick(&[100, 500, 1000, 2000, 5000]);
            Payment::Cash(total.div_ceil(note) * note)
        } else {
            let network = dice.pick(&["VISA", "MASTERCARD", "AMEX", "DISCOVER", "DEBIT", "Visa Credit"]);
            Payment::Card(network, dice.between(0, 9999))
        };
        Self { at: Moment::draw(dice), items, discount, subtotal, taxes, total, payment }
    }
}

impl Item {
    fn draw(merchant: &Merchant, dice: &mut Dice) -> Self {
        let (low, high) = merchant.trade.prices;
        // Squaring makes cheap things common.
        let share = dice.uniform(0.0, 1.0).powi(2);
        let raw = low + (f64::from(high - low) * share) as u32;
        let unit = if dice.chance(0.6) { raw / 10 * 10 + 9 } else { raw };
        let quantity = if dice.chance(0.75) { 1 } else { dice.between(2, 6) };
        let code = dice.pick(&[4, 6, 8, 12]);
        let code = dice.digits(code);
        Self { name: merchant.trade.product(dice), code, quantity, unit, total: unit * quantity }
    }
}

#[cfg(test)]
mod tests {
    use super::super::merchant::merchants;
    use super::*;

    #[test]
    fn the_sums_of_every_sale_are_right() {
        for (i, merchant) in merchants(3, 60).iter().enumerate() {
            let sale = Sale::draw(merchant, &mut Dice::new(3, &[9, i as u64]));
            let items: u32 = sale.items.iter().map(|i| i.total).sum();
            assert_eq!(items - sale.discount, sale.subtotal);
            assert_eq!(sale.subtotal + sale.taxes.iter().sum::<u32>(), sale.total);
            assert!(sale.items.iter().all(|i| i.quantity * i.unit == i.total && !i.name.is_empty()));
        }
    }
}
