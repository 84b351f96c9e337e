//! Boxes of words cut from boxes of lines, and page sizes.

use std::path::Path;

use super::layout::PartFolders;
use super::stem;

/// A word of a longer text, with its share of the text's box.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) bbox: [f64; 4],
    /// Where the word starts in the text, in characters.
    pub(super) start: usize,
}

/// Splits a text on white space and cuts its box in proportion to the character counts, a separator counting as one.
pub(super) fn cut_words(text: &str, [x0, y0, x1, y1]: [f64; 4]) -> Vec<Piece> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let length = words.iter().map(|w| w.chars().count()).sum::<usize>() + words.len().saturating_sub(1);
    let at = |offset: usize| (x0 + (x1 - x0) * offset as f64 / length.max(1) as f64).round();
    let mut offset = 0;
    let cut = |word: &str| {
        let start = offset;
        offset += word.chars().count() + 1;
        let (left, right) = (at(start), at(offset - 1));
        Piece { text: word.to_string(), bbox: [left, y0, right.max(left + 1.0), y1.max(y0 + 1.0)], start }
    };
    words.into_iter().map(cut).collect()
}

/// The upright box around points `[x, y]`.
pub(super) fn around(points: &[[f64; 2]]) -> [f64; 4] {
    points.iter().fold([f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY], |b, p| {
        [b[0].min(p[0]), b[1].min(p[1]), b[2].max(p[0]), b[3].max(p[1])]
    })
}

/// Width and height of a receipt's image, when it lies beside its annotations; only the file's head is read.
pub(super) fn image_size(annotation: &Path, part: &PartFolders) -> Option<(f64, f64)> {
    let folder = part.images.as_ref()?;
    let name = stem(annotation);
    let sized = ["jpg", "jpeg", "png", "JPG", "PNG"]
        .iter()
        .find_map(|ending| imagesize::size(folder.join(format!("{name}.{ending}"))).ok())?;
    (sized.width > 0 && sized.height > 0).then_some((sized.width as f64, sized.height as f64))
}

/// A box inside its page, where the page is known (sides of at least 1), with no side below one.
pub(super) fn inside([x0, y0, x1, y1]: [f64; 4], page: Option<(f64, f64)>) -> [f64; 4] {
    let (width, height) = page.unwrap_or((f64::MAX, f64::MAX));
    let (x0, y0) = (x0.clamp(0.0, width - 1.0), y0.clamp(0.0, height - 1.0));
    [x0, y0, x1.clamp(x0 + 1.0, width), y1.clamp(y0 + 1.0, height)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_box_is_cut_by_characters() {
        let pieces = cut_words(" TAN  WOON YANN ", [0.0, 5.0, 130.0, 9.0]);
        let boxes: Vec<[f64; 4]> = pieces.iter().map(|p| p.bbox).collect();
        assert_eq!(boxes, [[0.0, 5.0, 30.0, 9.0], [40.0, 5.0, 80.0, 9.0], [90.0, 5.0, 130.0, 9.0]]);
        assert_eq!(pieces.iter().map(|p| p.start).collect::<Vec<_>>(), [0, 4, 9]);
        assert!(cut_words("  ", [0.0; 4]).is_empty());
    }

    #[test]
    fn boxes_stay_on_the_page_and_keep_a_side() {
        assert_eq!(inside([-3.0, 98.0, 500.0, 98.0], Some((100.0, 99.0))), [0.0, 98.0, 100.0, 99.0]);
        assert_eq!(inside([4.0, 4.0, 4.0, 4.0], None), [4.0, 4.0, 5.0, 5.0]);
    }
}
