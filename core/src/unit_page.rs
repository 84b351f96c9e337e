//! Pages of receipts whose coordinates are shares of the page, 0..1, as OCR engines that count from the bottom left
//! give them.
//!
//! Some rows lie a little beyond 1 and old ones hold pixels, so the page is as large as its furthest word, but never
//! smaller than 1.

use std::collections::BTreeMap;

use crate::bbox::Origin;
use crate::receipt::Receipt;

/// Sets each receipt's page size to the largest x (and y) of all words of the same *image* where that is above 1, to 1
/// otherwise, and its origin to the bottom left.
///
/// Source: the Python trainer's loader, which measures all receipts of an image together.
pub fn scale_unit_pages<'a>(receipts: impl IntoIterator<Item = &'a mut Receipt>) {
    let receipts: Vec<&mut Receipt> = receipts.into_iter().collect();
    let mut largest: BTreeMap<String, [f64; 2]> = BTreeMap::new();
    for receipt in &receipts {
        let size = largest.entry(receipt.image_id.clone()).or_insert([1.0; 2]);
        for [x0, y0, x1, y1] in receipt.words.iter().map(|w| w.bbox) {
            *size = [size[0].max(x0).max(x1), size[1].max(y0).max(y1)];
        }
    }
    for receipt in receipts {
        let [width, height] = largest.get(&receipt.image_id).copied().unwrap_or([1.0; 2]);
        (receipt.width, receipt.height) = (Some(width), Some(height));
        receipt.origin = Origin::BottomLeft;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(image: &str, x1: f64) -> Receipt {
        let word = format!(r#"{{"line_id":1,"word_id":1,"text":"a","box":[0,0,{x1},0.5]}}"#);
        Receipt::from_json(&format!(r#"{{"image_id":"{image}","words":[{word}]}}"#)).unwrap()
    }

    #[test]
    fn one_word_beyond_the_edge_widens_all_receipts_of_its_image_and_no_other() {
        let mut receipts = [receipt("a", 0.5), receipt("a", 1.25), receipt("b", 0.5)];
        scale_unit_pages(&mut receipts);
        let sizes: Vec<_> = receipts.iter().map(|r| (r.width, r.height)).collect();
        assert_eq!(sizes, [(Some(1.25), Some(1.0)), (Some(1.25), Some(1.0)), (Some(1.0), Some(1.0))]);
        assert!(receipts.iter().all(|r| r.origin == Origin::BottomLeft));
    }
}
