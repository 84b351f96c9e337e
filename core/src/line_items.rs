//! Entities → what was bought: one item per product with quantity, unit price and total, and the amounts below them.
//!
//! Words on one visual row belong together. A product starts an item; quantity, unit price and total on its row are
//! its own. A row without a product (`2 x 3.00   6.00`) completes the item above it where that one lacks what the row
//! has, and a product name of several rows is one name.
//!
//! Models whose amounts were merged to `AMOUNT` tell items as well: on the row of a product the last amount is its
//! total, the one before it its unit price; on any other row the printed words decide (`SUBTOTAL`, `TAX`, `TOTAL` …),
//! or the words alone on the row above. Amounts that nothing names are left out.
//!
//! What the numbers add up to is [`arithmetic`](crate::arithmetic)'s business.

mod piece;
mod role;

use serde::{Deserialize, Serialize};

use piece::{Piece, Row, cut};
pub use role::SummaryKind;
use role::{Role, RowName};

use crate::entity::{Entity, union};
use crate::predict::ReceiptPrediction;
use crate::receipt::Receipt;

/// One item bought. Parts that were not printed or not found are `None`; at least one is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LineItem {
    /// What it is.
    pub product: Option<Entity>,
    /// How many or how much.
    pub quantity: Option<Entity>,
    /// Price of one.
    pub unit_price: Option<Entity>,
    /// What its row adds to the bill.
    pub total: Option<Entity>,
    /// Lowest confidence of its parts, 0..=1.
    pub confidence: f32,
    /// `[x0, y0, x1, y1]` around its parts, in the receipt's unit and origin.
    #[serde(rename = "box")]
    pub bbox: [f64; 4],
}

/// An amount outside the items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SummaryAmount {
    /// What it stands for.
    pub kind: SummaryKind,
    /// Where and how it is printed.
    pub amount: Entity,
}

/// A receipt as a sale.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sale {
    /// From top to bottom.
    pub items: Vec<LineItem>,
    /// From top to bottom.
    pub summary: Vec<SummaryAmount>,
}

/// Groups a labelled receipt's entities into items and amounts. Every entity of a sale's types is used once or left out.
pub fn group(receipt: &Receipt, prediction: &ReceiptPrediction) -> Sale {
    let rows = cut(receipt, prediction);
    let mut sale = Builder::default();
    let mut above: Option<RowName> = None;
    for (index, row) in rows.iter().enumerate() {
        let name = row.name.or(above.filter(|_| !row.has_words));
        above = row.name.filter(|_| !row.has_amount());
        sale.take(index, row, name);
    }
    sale.finish()
}

/// An item while its rows are read.
#[derive(Debug, Default)]
struct Draft {
    product: Vec<Entity>,
    quantity: Option<Entity>,
    unit_price: Option<Entity>,
    total: Option<Entity>,
    /// The entity its name was last cut from.
    name_entity: Option<usize>,
    last_row: usize,
}

/// What one segment of a row says of an item.
#[derive(Debug, Default)]
struct Segment {
    product: Vec<(usize, Entity)>,
    quantity: Option<Entity>,
    unit_price: Option<Entity>,
    amounts: Vec<Entity>,
    /// Whether an amount is a line's total by its own label, not by its place.
    labelled: bool,
}

#[derive(Debug, Default)]
struct Builder {
    drafts: Vec<Draft>,
    summary: Vec<SummaryAmount>,
    /// Quantity and unit price printed above their product.
    ahead: Segment,
    /// A summary row was met since the last item.
    closed: bool,
}

impl Builder {
    fn take(&mut self, index: usize, row: &Row, name: Option<RowName>) {
        let has_product = row.has(Role::Product);
        let item_like = row.has(Role::Quantity) || row.has(Role::UnitPrice) || row.has(Role::LineTotal);
        let mut segment = Segment::default();
        for piece in &row.pieces {
            let role = match (piece.role, name) {
                (Role::Amount, _) if has_product => Role::LineTotal,
                (Role::Amount, Some(RowName::Summary(kind))) => Role::Summary(kind),
                (Role::Amount, Some(RowName::Other)) => continue,
                (Role::Amount, None) if item_like || self.awaits_total(index) => Role::LineTotal,
                (Role::Amount, None) => continue,
                (role, _) => role,
            };
            if role == Role::Product && !segment.product.is_empty() && !segment.amounts.is_empty() {
                self.add(index, std::mem::take(&mut segment));
            }
            match role {
                Role::Summary(kind) => {
                    self.closed = true;
                    self.summary.push(SummaryAmount { kind, amount: piece.part.clone() });
                }
                role => segment.push(role, piece),
            }
        }
        self.add(index, segment);
    }

    /// Whether the last item is on the row above and has no total yet.
    fn awaits_total(&self, row: usize) -> bool {
        !self.closed && self.drafts.last().is_some_and(|d| d.total.is_none() && d.last_row + 1 == row)
    }

    fn add(&mut self, row: usize, segment: Segment) {
        if segment.is_empty() {
            return;
        }
        if let Some(&(entity, _)) = segment.product.first() {
            let goes_on = |d: &Draft| d.total.is_none() && d.name_entity == Some(entity);
            if !self.drafts.last().is_some_and(goes_on) {
                self.drafts.push(Draft::default());
                let ahead = std::mem::take(&mut self.ahead);
                self.fill(row, ahead);
            }
            self.closed = false;
            self.fill(row, segment);
        } else if !self.closed && self.drafts.last().is_some_and(|draft| draft.lacks(&segment)) {
            self.fill(row, segment);
        } else if segment.labelled && !segment.amounts.is_empty() {
            self.drafts.push(Draft::default());
            self.fill(row, segment);
        } else if segment.amounts.is_empty() {
            self.ahead = segment;
        }
    }

    fn fill(&mut self, row: usize, mut segment: Segment) {
        let Some(draft) = self.drafts.last_mut() else { return };
        let total = segment.amounts.pop();
        let earlier = segment.amounts.pop();
        draft.name_entity = segment.product.last().map(|(entity, _)| *entity).or(draft.name_entity);
        draft.product.extend(segment.product.into_iter().map(|(_, part)| part));
        draft.quantity = draft.quantity.take().or(segment.quantity);
        draft.unit_price = draft.unit_price.take().or(segment.unit_price).or(earlier);
        draft.total = draft.total.take().or(total);
        draft.last_row = row;
    }

    fn finish(self) -> Sale {
        Sale { items: self.drafts.into_iter().filter_map(Draft::finish).collect(), summary: self.summary }
    }
}

impl Segment {
    fn push(&mut self, role: Role, piece: &Piece) {
        let part = piece.part.clone();
        match role {
            Role::Product => self.product.push((piece.entity, part)),
            Role::Quantity => self.quantity = self.quantity.take().or(Some(part)),
            Role::UnitPrice => self.unit_price = self.unit_price.take().or(Some(part)),
            Role::LineTotal => {
                self.labelled |= piece.role == Role::LineTotal;
                self.amounts.push(part);
            }
            Role::Amount | Role::Summary(_) => {}
        }
    }

    fn is_empty(&self) -> bool {
        self.product.is_empty()
            && self.quantity.is_none()
            && self.unit_price.is_none()
            && self.amounts.is_empty()
    }
}

impl Draft {
    /// Whether the item has none of what a row without a product brings.
    fn lacks(&self, segment: &Segment) -> bool {
        let free = |own: &Option<Entity>, brought: bool| !brought || own.is_none();
        free(&self.quantity, segment.quantity.is_some())
            && free(&self.unit_price, segment.unit_price.is_some())
            && free(&self.total, !segment.amounts.is_empty())
    }

    fn finish(self) -> Option<LineItem> {
        let product = self.product.into_iter().reduce(|mut name, next| {
            let (words, more) = (name.word_indices.len() as f32, next.word_indices.len() as f32);
            name.confidence = (name.confidence * words + next.confidence * more) / (words + more);
            name.text = format!("{} {}", name.text, next.text);
            name.bbox = union(name.bbox, next.bbox);
            name.word_indices.extend(next.word_indices);
            name
        });
        let item = LineItem {
            product,
            quantity: self.quantity,
            unit_price: self.unit_price,
            total: self.total,
            confidence: 0.0,
            bbox: [0.0; 4],
        };
        let confidence = item.parts().map(|part| part.confidence).reduce(f32::min)?;
        let bbox = item.parts().map(|part| part.bbox).reduce(union)?;
        Some(LineItem { confidence, bbox, ..item })
    }
}

impl LineItem {
    /// Product, quantity, unit price and total, as far as they are there.
    pub fn parts(&self) -> impl Iterator<Item = &Entity> {
        [&self.product, &self.quantity, &self.unit_price, &self.total].into_iter().flatten()
    }
}
