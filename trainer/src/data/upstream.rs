//! The mode that reproduces the Python trainer's loader, for comparison with its runs.
//!
//! Boxes keep their bottom-left origin, words are sorted by `(y0, x0)`, coordinates are rescaled only when some word
//! of the same *image* lies beyond 1, and unknown labels are `O`. Whoever trains anew is better served by the
//! defaults: here the receipt is read from its bottom to its top.

use std::collections::BTreeSet;

use layoutlm_core::bbox::{BoxRule, BoxScale, Origin};
use layoutlm_core::encoding::Granularity;
use layoutlm_core::label::{LabelError, LabelScheme, Merges, core_labels};
use layoutlm_core::reading_order::ReadingOrder;
use layoutlm_core::receipt::Receipt;
use layoutlm_core::unit_page::scale_unit_pages;
use layoutlm_core::window::WindowRule;

use super::examples::{ExampleRules, Scope};

/// The loader's rules for a window size and stride in words.
pub fn upstream_rules(scheme: LabelScheme, size: usize, stride: usize) -> ExampleRules {
    ExampleRules {
        box_rule: BoxRule { scale: BoxScale::PageSize, origin: Origin::BottomLeft },
        reading_order: ReadingOrder::Yx,
        window: WindowRule { size, stride, ..WindowRule::default() },
        scheme,
        granularity: Granularity::Receipt,
        scope: Scope::Full,
        item_windows: None,
    }
}

/// The loader's scheme: labels that are neither known nor a merge's target are `O`, in the allow list too.
///
/// # Errors
/// [`LabelError::ContradictoryMerge`].
pub fn upstream_scheme(merges: Merges, allowed: Option<Vec<String>>) -> Result<LabelScheme, LabelError> {
    let known = core_labels();
    let targets: BTreeSet<String> = merges.keys().map(|t| t.to_uppercase()).collect();
    let allowed = match allowed {
        Some(names) => {
            let upper = names.iter().map(|n| n.trim().to_uppercase());
            upper.filter(|n| known.contains(n) || targets.contains(n)).collect()
        }
        None => known.iter().cloned().collect(),
    };
    LabelScheme::new(merges, Some(allowed), &known)
}

/// Sets each receipt's page size so that coordinates in 0..=1 are scaled as the loader scales them: by the largest x
/// (y) of all words of the same image where that is above 1, by 1 otherwise.
///
/// Receipts whose origin is top left are turned over first: the loader knows bottom-left geometry only.
pub fn upstream_pages(receipts: &mut [Receipt]) {
    receipts.iter_mut().filter(|r| r.origin == Origin::TopLeft).for_each(turn_over);
    scale_unit_pages(receipts);
}

fn turn_over(receipt: &mut Receipt) {
    let lowest = receipt.words.iter().map(|w| w.bbox[1].max(w.bbox[3])).fold(0.0, f64::max);
    let height = receipt.height.unwrap_or(lowest);
    for word in &mut receipt.words {
        let [x0, y0, x1, y1] = word.bbox;
        word.bbox = [x0, height - y1, x1, height - y0];
    }
    receipt.origin = Origin::BottomLeft;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_left_receipts_are_turned_over_and_bottom_left_ones_are_not() {
        let json = r#"{"image_id":"a","width":100,"height":200,"words":[
            {"line_id":0,"word_id":0,"text":"top","box":[10,0,20,40]},
            {"line_id":1,"word_id":0,"text":"low","box":[10,150,90,200]}]}"#;
        let top_left = Receipt::from_json(json).unwrap();
        let mut both = [top_left.clone(), Receipt { origin: Origin::BottomLeft, ..top_left }];
        both[1].image_id = "b".into();
        upstream_pages(&mut both);
        assert_eq!(both[0].words[0].bbox, [10.0, 160.0, 20.0, 200.0]);
        assert_eq!((both[0].width, both[0].height), (Some(90.0), Some(200.0)));
        assert_eq!(both[1].words[0].bbox, [10.0, 0.0, 20.0, 40.0]);
    }
}
