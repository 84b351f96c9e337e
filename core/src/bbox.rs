//! Boxes: from whatever unit and origin they arrive in to the 0..=1000 grid LayoutLM was trained on.
//!
//! A [`NormalizedBox`] can't hold a value outside the grid or an inverted box. How raw boxes are scaled is a
//! [`BoxRule`]; it is part of the encoding and so of its fingerprint.

use serde::{Deserialize, Serialize};

/// A box on the 0..=1000 grid, `[x0, y0, x1, y1]`, `x0 <= x1`, `y0 <= y1`.
///
/// Source: LayoutLM (Xu et al. 2020), §3.1 (2-D position embedding).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(into = "[u16; 4]", try_from = "[u16; 4]")]
pub struct NormalizedBox([u16; 4]);

/// A box whose corners are out of 0..=1000 or in the wrong order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("box {0:?} is not x0 <= x1 <= 1000, y0 <= y1 <= 1000")]
pub struct InvalidBox(pub [u16; 4]);

impl NormalizedBox {
    /// The box of `[CLS]`, `[SEP]` and `[PAD]`.
    pub const ZERO: Self = Self([0; 4]);

    /// # Errors
    /// [`InvalidBox`] outside the grid or inverted.
    pub fn new(corners: [u16; 4]) -> Result<Self, InvalidBox> {
        let [x0, y0, x1, y1] = corners;
        if x0 <= x1 && y0 <= y1 && x1 <= 1000 && y1 <= 1000 {
            Ok(Self(corners))
        } else {
            Err(InvalidBox(corners))
        }
    }

    /// `[x0, y0, x1, y1]`, 0..=1000.
    pub fn corners(self) -> [u16; 4] {
        self.0
    }

    /// Height, 0..=1000: row of the h table.
    pub fn height(self) -> u16 {
        self.0[3] - self.0[1]
    }

    /// Width, 0..=1000: row of the w table.
    pub fn width(self) -> u16 {
        self.0[2] - self.0[0]
    }
}

impl From<NormalizedBox> for [u16; 4] {
    fn from(b: NormalizedBox) -> Self {
        b.0
    }
}

impl TryFrom<[u16; 4]> for NormalizedBox {
    type Error = InvalidBox;
    fn try_from(corners: [u16; 4]) -> Result<Self, InvalidBox> {
        Self::new(corners)
    }
}

/// What a raw coordinate is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoxScale {
    /// The page's width and height (extents when the receipt has no page size).
    PageSize,
    /// The largest x and y of the receipt's own words, as the Python trainer did.
    Extents,
}

/// Where y is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// y grows downwards, as LayoutLM was pre-trained.
    #[default]
    TopLeft,
    /// y grows upwards, as some OCR engines (and DynamoDB rows) have it.
    BottomLeft,
}

/// How raw boxes become the boxes the network sees. Rounding is to nearest, ties to even.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxRule {
    /// The divisor.
    pub scale: BoxScale,
    /// The origin the *network* sees; receipts state their own.
    pub origin: Origin,
}

impl Default for BoxRule {
    fn default() -> Self {
        Self { scale: BoxScale::PageSize, origin: Origin::TopLeft }
    }
}

/// The page a receipt's raw boxes lie on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Page {
    /// Width in the boxes' unit; `None` when unknown.
    pub width: Option<f64>,
    /// Height in the boxes' unit; `None` when unknown.
    pub height: Option<f64>,
    /// Where the raw y is 0.
    pub origin: Origin,
}

impl BoxRule {
    /// Normalises all boxes of one receipt: `[n][x0, y0, x1, y1]` finite, in the page's unit and origin.
    ///
    /// What lies outside the page is clamped to its edge; swapped corners are put right.
    pub fn normalize(&self, page: Page, boxes: &[[f64; 4]]) -> Vec<NormalizedBox> {
        let on_grid = |fraction: f64| (fraction * 1000.0).round_ties_even() as u16;
        self.fractions(page, boxes).into_iter().map(|corners| NormalizedBox(corners.map(on_grid))).collect()
    }

    /// The same before rounding: `[n][x0, y0, x1, y1]`, each 0..=1 of the page, `x0 <= x1`, `y0 <= y1`.
    pub fn fractions(&self, page: Page, boxes: &[[f64; 4]]) -> Vec<[f64; 4]> {
        let largest = |of: fn(&[f64; 4]) -> [f64; 2]| boxes.iter().flat_map(of).fold(0.0f64, f64::max);
        let extent_x = || largest(|&[x0, _, x1, _]| [x0, x1]);
        let extent_y = || largest(|&[_, y0, _, y1]| [y0, y1]);
        let known = |size: Option<f64>| size.filter(|s| s.is_finite() && *s > 0.0);
        let (page_width, page_height) = (known(page.width), known(page.height));
        let (width, height) = match self.scale {
            BoxScale::PageSize => (page_width.unwrap_or_else(extent_x), page_height.unwrap_or_else(extent_y)),
            BoxScale::Extents => (extent_x(), extent_y()),
        };
        let flip = page.origin != self.origin;
        boxes
            .iter()
            .map(|&[x0, y0, x1, y1]| {
                let x = [fraction(x0, width), fraction(x1, width)];
                let y = if flip {
                    let flipped = |v: f64| fraction(page_height.unwrap_or(height) - v, height);
                    [flipped(y1), flipped(y0)]
                } else {
                    [fraction(y0, height), fraction(y1, height)]
                };
                [x[0].min(x[1]), y[0].min(y[1]), x[0].max(x[1]), y[0].max(y[1])]
            })
            .collect()
    }
}

/// `v / size`, clamped to 0..=1; 0 when the size is 0 or either is not finite.
fn fraction(v: f64, size: f64) -> f64 {
    let fraction = v / size;
    if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(origin: Origin) -> Page {
        Page { width: Some(200.0), height: Some(400.0), origin }
    }

    #[test]
    fn page_size_scales_to_the_grid_and_ties_go_to_even() {
        let b = BoxRule::default().normalize(page(Origin::TopLeft), &[[0.1, 1.0, 0.3, 3.0]]);
        assert_eq!(b[0].corners(), [0, 2, 2, 8]); // 0.5 → 0, 2.5 → 2, 1.5 → 2, 7.5 → 8
    }

    #[test]
    fn a_bottom_left_page_is_turned_over() {
        let b = BoxRule::default().normalize(page(Origin::BottomLeft), &[[0.0, 0.0, 200.0, 40.0]]);
        assert_eq!(b[0].corners(), [0, 900, 1000, 1000]);
    }

    #[test]
    fn outside_the_page_is_clamped_and_swapped_corners_are_put_right() {
        let b = BoxRule::default().normalize(page(Origin::TopLeft), &[[900.0, 50.0, -5.0, 20.0]]);
        assert_eq!(b[0].corners(), [0, 50, 1000, 125]);
    }

    #[test]
    fn extents_use_the_largest_corner() {
        let rule = BoxRule { scale: BoxScale::Extents, origin: Origin::TopLeft };
        let b = rule.normalize(page(Origin::TopLeft), &[[0.0, 0.0, 50.0, 100.0], [50.0, 50.0, 100.0, 100.0]]);
        assert_eq!(b[0].corners(), [0, 0, 500, 1000]);
    }
}
