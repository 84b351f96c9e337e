//! Line items and their arithmetic as answers hold them.

use layoutlm_core::arithmetic::{Arithmetic, Basis, Outcome};
use layoutlm_core::line_items::LineItem;
use layoutlm_core::predict::WordPrediction;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::EntityAnswer;

/// One item bought; parts that were not found are `null`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LineItem)]
pub(super) struct LineItemAnswer {
    /// What it is.
    product: Option<EntityAnswer>,
    /// How many or how much.
    quantity: Option<EntityAnswer>,
    /// Price of one.
    unit_price: Option<EntityAnswer>,
    /// What its row adds to the bill.
    total: Option<EntityAnswer>,
    /// Lowest confidence of its parts.
    confidence: f32,
    /// `[x0, y0, x1, y1]` around its parts, in the unit and origin of the call.
    #[serde(rename = "box")]
    bbox: [f64; 4],
}

/// Whether Σ items − discounts + tax + tip + rounding is the total, with the numbers as decimals.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Arithmetic)]
pub(super) struct ArithmeticAnswer {
    outcome: OutcomeAnswer,
    /// What was added up; `null` when there was nothing.
    basis: Option<BasisAnswer>,
    /// Sum of the items, or the subtotal.
    lines: Option<String>,
    /// Sum of the discounts, without sign.
    discounts: Option<String>,
    /// Sum of the taxes.
    tax: Option<String>,
    /// Sum of tips and service charges.
    tip: Option<String>,
    /// Rounding to coins.
    rounding: Option<String>,
    /// The total as printed.
    total: Option<String>,
    /// Sum minus total.
    difference: Option<String>,
    /// The items' prices include the tax.
    tax_included: bool,
    /// The items' prices are net of the discounts.
    discounts_included: bool,
    /// What was needed and not found, e.g. `total`, `line_items[2].total`.
    missing: Vec<String>,
}

/// How the check went.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ArithmeticOutcome)]
enum OutcomeAnswer {
    /// The sum is the total.
    Holds,
    /// The sum is another.
    Differs,
    /// Something needed was not found.
    Incomplete,
}

/// What was added up.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ArithmeticBasis)]
enum BasisAnswer {
    /// The items.
    Lines,
    /// The printed subtotal, where no item has an amount.
    Subtotal,
}

impl LineItemAnswer {
    /// `words` are those of the receipt.
    pub(super) fn new(item: LineItem, words: &[WordPrediction]) -> Self {
        let LineItem { product, quantity, unit_price, total, confidence, bbox } = item;
        let part = |part: Option<_>| part.map(|part| EntityAnswer::new(part, words));
        let [product, quantity, unit_price, total] = [product, quantity, unit_price, total].map(part);
        Self { product, quantity, unit_price, total, confidence, bbox }
    }
}

impl From<Arithmetic> for ArithmeticAnswer {
    fn from(check: Arithmetic) -> Self {
        let outcome = match check.outcome {
            Outcome::Holds => OutcomeAnswer::Holds,
            Outcome::Differs => OutcomeAnswer::Differs,
            Outcome::Incomplete => OutcomeAnswer::Incomplete,
        };
        let basis = check.basis.map(|basis| match basis {
            Basis::Lines => BasisAnswer::Lines,
            Basis::Subtotal => BasisAnswer::Subtotal,
        });
        Self {
            outcome,
            basis,
            lines: check.lines,
            discounts: check.discounts,
            tax: check.tax,
            tip: check.tip,
            rounding: check.rounding,
            total: check.total,
            difference: check.difference,
            tax_included: check.tax_included,
            discounts_included: check.discounts_included,
            missing: check.missing,
        }
    }
}
