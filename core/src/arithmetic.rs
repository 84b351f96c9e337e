//! Does the bill add up? Σ lines − discounts + tax + tip + rounding = total, in exact decimals.
//!
//! Receipts differ in what their lines already hold: prices may include the tax or be net of discounts, and a tax may
//! be printed twice. Each of these readings is tried, the plain one first; the one that adds up is reported. Nothing is
//! tolerated in the sum itself: a cent too much is a difference.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::entity::Entity;
use crate::line_items::{LineItem, Sale, SummaryKind};

/// How the check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The sum is the total, to the last digit.
    Holds,
    /// Everything needed was read and the sum is another.
    Differs,
    /// Something needed was not found or not readable; `missing` says what.
    Incomplete,
}

/// What was added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The items' totals (quantity × unit price where no total is printed).
    Lines,
    /// The printed subtotal, where no item has an amount.
    Subtotal,
}

/// The check with its numbers, plain decimals as in entities' values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arithmetic {
    /// How it went.
    pub outcome: Outcome,
    /// What was added up; `None` when there was nothing.
    pub basis: Option<Basis>,
    /// Sum of the items, or the subtotal.
    pub lines: Option<String>,
    /// Sum of the discounts, without sign.
    pub discounts: Option<String>,
    /// Sum of the taxes.
    pub tax: Option<String>,
    /// Sum of tips and service charges.
    pub tip: Option<String>,
    /// Rounding to coins.
    pub rounding: Option<String>,
    /// The total as printed; of several the most confident one.
    pub total: Option<String>,
    /// Sum minus total; `None` where there is no sum or no total.
    pub difference: Option<String>,
    /// The lines include the tax, so it was not added.
    pub tax_included: bool,
    /// The lines are net of the discounts, so they were not taken off.
    pub discounts_included: bool,
    /// What was needed and not found: `total`, `line_items`, `line_items[2].total`.
    pub missing: Vec<String>,
}

/// Checks a sale.
pub fn check(sale: &Sale) -> Arithmetic {
    let lines = Lines::of(sale);
    let amounts = |kind| sale.summary.iter().filter(move |s| s.kind == kind).map(|s| &s.amount);
    let total = most_confident(amounts(SummaryKind::Total));
    let discounts = sum(amounts(SummaryKind::Discount).filter_map(decimal).map(|d| d.abs()));
    let taxes: Vec<Decimal> = amounts(SummaryKind::Tax).filter_map(decimal).collect();
    let distinct = |kind| sum(amounts(kind).filter_map(decimal).collect::<BTreeSet<_>>());
    let (tip, rounding) = (distinct(SummaryKind::Tip), distinct(SummaryKind::Rounding));
    let mut missing = lines.missing;
    if total.is_none() {
        missing.push("total".into());
    }
    let mut result = Arithmetic {
        outcome: Outcome::Incomplete,
        basis: lines.basis,
        lines: print(lines.sum),
        discounts: print(discounts),
        tax: print(sum(taxes.iter().copied())),
        tip: print(tip),
        rounding: print(rounding),
        total: print(total),
        difference: None,
        tax_included: false,
        discounts_included: false,
        missing,
    };
    let (Some(lines), Some(total)) = (lines.sum, total) else { return result };
    let rest = [Some(lines), tip, rounding];
    for (i, reading) in readings(&taxes, discounts).into_iter().enumerate() {
        let terms = rest.into_iter().chain([reading.tax, reading.discounts.map(|d| -d)]).flatten();
        let difference = sum(terms).and_then(|sum| sum.checked_sub(total));
        let holds = difference.is_some_and(|d| d.is_zero());
        if i == 0 || holds {
            result.difference = print(difference);
        }
        if holds {
            result.outcome = Outcome::Holds;
            result.tax = print(reading.tax).or(result.tax);
            result.tax_included = reading.tax.is_none() && !taxes.is_empty();
            result.discounts_included = reading.discounts.is_none() && discounts.is_some();
            result.missing.clear();
            return result;
        }
    }
    if result.missing.is_empty() && result.difference.is_some() {
        result.outcome = Outcome::Differs;
    }
    result
}

/// What is added to the lines in one way to read a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    tax: Option<Decimal>,
    discounts: Option<Decimal>,
}

/// The plain reading first; no two are the same.
fn readings(taxes: &[Decimal], discounts: Option<Decimal>) -> Vec<Reading> {
    let once: BTreeSet<Decimal> = taxes.iter().copied().collect();
    let mut out: Vec<Reading> = Vec::new();
    for discounts in [discounts, None] {
        for tax in [sum(taxes.iter().copied()), sum(once.iter().copied()), None] {
            let reading = Reading { tax, discounts };
            if !out.contains(&reading) {
                out.push(reading);
            }
        }
    }
    out
}

/// What the items come to.
struct Lines {
    sum: Option<Decimal>,
    basis: Option<Basis>,
    missing: Vec<String>,
}

impl Lines {
    fn of(sale: &Sale) -> Self {
        let priced: Vec<Option<Decimal>> = sale.items.iter().map(line_total).collect();
        if priced.iter().any(Option::is_some) {
            let unpriced = priced.iter().enumerate().filter(|(_, total)| total.is_none());
            let missing = unpriced.map(|(i, _)| format!("line_items[{i}].total")).collect();
            return Self { sum: sum(priced.into_iter().flatten()), basis: Some(Basis::Lines), missing };
        }
        let subtotal = sale.summary.iter().filter(|s| s.kind == SummaryKind::Subtotal).map(|s| &s.amount);
        match most_confident(subtotal) {
            Some(subtotal) => Self { sum: Some(subtotal), basis: Some(Basis::Subtotal), missing: Vec::new() },
            None => Self { sum: None, basis: None, missing: vec!["line_items".into()] },
        }
    }
}

fn line_total(item: &LineItem) -> Option<Decimal> {
    let value = |part: &Option<Entity>| part.as_ref().and_then(decimal);
    match &item.total {
        Some(total) => decimal(total),
        None => {
            let unit = value(&item.unit_price)?;
            let quantity = if item.quantity.is_some() { value(&item.quantity)? } else { Decimal::ONE };
            quantity.checked_mul(unit)
        }
    }
}

/// The value printed with the highest confidence, all printings of one value counted together.
fn most_confident<'a>(amounts: impl Iterator<Item = &'a Entity>) -> Option<Decimal> {
    let mut votes: BTreeMap<Decimal, f32> = BTreeMap::new();
    for amount in amounts {
        if let Some(value) = decimal(amount) {
            *votes.entry(value).or_default() += amount.confidence;
        }
    }
    votes.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(value, _)| value)
}

fn decimal(amount: &Entity) -> Option<Decimal> {
    Decimal::from_str(amount.value.as_deref()?).ok()
}

/// `None` for nothing, and for more than a decimal can hold.
fn sum(terms: impl IntoIterator<Item = Decimal>) -> Option<Decimal> {
    let mut terms = terms.into_iter();
    let first = terms.next()?;
    terms.try_fold(first, |sum, term| sum.checked_add(term))
}

fn print(value: Option<Decimal>) -> Option<String> {
    value.map(|value| value.to_string())
}
