//! The order in which a receipt's words are read.

use serde::{Deserialize, Serialize};

use crate::bbox::{NormalizedBox, Origin};

/// How words are put in order before windows are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadingOrder {
    /// By visual line, top to bottom, and from left to right inside a line.
    #[default]
    Line,
    /// By `(y0, x0)` ascending, as the Python trainer sorted.
    Yx,
    /// As the words were given.
    Given,
}

impl ReadingOrder {
    /// Places → words: `result[k]` is the index of the word read k-th. Stable; every index occurs once.
    ///
    /// `origin` is where y is 0 in `boxes`; [`ReadingOrder::Yx`] sorts ascending in it whatever it is.
    pub fn sort(self, boxes: &[NormalizedBox], origin: Origin) -> Vec<usize> {
        let mut order: Vec<usize> = (0..boxes.len()).collect();
        let corners = |i: &usize| boxes.get(*i).map_or([0; 4], |b| b.corners());
        match self {
            Self::Given => {}
            Self::Yx => order.sort_by_key(|i| {
                let [x0, y0, ..] = corners(i);
                (y0, x0)
            }),
            Self::Line => {
                let lines = rows(boxes, origin);
                order.sort_by_key(|&i| (lines.get(i).copied(), corners(&i)[0]));
            }
        }
        order
    }
}

/// The visual row each box lies on, `[boxes]`, rows counted from the top; what [`ReadingOrder::Line`] reads by.
pub fn rows(boxes: &[NormalizedBox], origin: Origin) -> Vec<usize> {
    let down = |b: &NormalizedBox| match (b.corners(), origin) {
        ([_, y0, _, y1], Origin::TopLeft) => (y0, y1),
        ([_, y0, _, y1], Origin::BottomLeft) => (1000 - y1, 1000 - y0),
    };
    visual_lines(&boxes.iter().map(down).collect::<Vec<_>>())
}

/// Line number of each `(top, bottom)` span, lines counted from the top.
///
/// Spans are visited by their middle; one joins the current line when its middle lies inside the line's mean span,
/// so a line can drift with a tilted page without swallowing its neighbours.
fn visual_lines(spans: &[(u16, u16)]) -> Vec<usize> {
    let middle = |&(top, bottom): &(u16, u16)| u32::from(top) + u32::from(bottom);
    let mut by_middle: Vec<usize> = (0..spans.len()).collect();
    by_middle.sort_by_key(|&i| spans.get(i).map(middle));
    let mut lines = vec![0; spans.len()];
    let mut line = 0;
    let (mut top_sum, mut bottom_sum, mut members) = (0u32, 0u32, 0u32);
    for i in by_middle {
        let Some(span) = spans.get(i) else { continue };
        let twice_middle = middle(span) * members;
        let joins = members > 0 && twice_middle >= 2 * top_sum && twice_middle <= 2 * bottom_sum;
        if members > 0 && !joins {
            line += 1;
            (top_sum, bottom_sum, members) = (0, 0, 0);
        }
        top_sum += u32::from(span.0);
        bottom_sum += u32::from(span.1);
        members += 1;
        if let Some(slot) = lines.get_mut(i) {
            *slot = line;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxes(raw: &[[u16; 4]]) -> Vec<NormalizedBox> {
        raw.iter().map(|b| NormalizedBox::new(*b).unwrap()).collect()
    }

    #[test]
    fn words_of_a_line_are_read_left_to_right_although_they_are_not_level() {
        // "TOTAL" and its amount: the amount sits two units higher.
        let b = boxes(&[[100, 100, 200, 120], [700, 98, 800, 118], [100, 130, 200, 150], [50, 60, 90, 80]]);
        assert_eq!(ReadingOrder::Line.sort(&b, Origin::TopLeft), [3, 0, 1, 2]);
        assert_eq!(ReadingOrder::Yx.sort(&b, Origin::TopLeft), [3, 1, 0, 2]);
        assert_eq!(ReadingOrder::Given.sort(&b, Origin::TopLeft), [0, 1, 2, 3]);
    }

    #[test]
    fn a_bottom_left_receipt_is_read_from_its_top() {
        let b = boxes(&[[0, 100, 10, 120], [0, 900, 10, 920]]);
        assert_eq!(ReadingOrder::Line.sort(&b, Origin::BottomLeft), [1, 0]);
        assert_eq!(ReadingOrder::Yx.sort(&b, Origin::BottomLeft), [0, 1]);
    }

    #[test]
    fn equal_boxes_keep_their_order() {
        let b = boxes(&[[0, 0, 5, 5]; 4]);
        for order in [ReadingOrder::Line, ReadingOrder::Yx, ReadingOrder::Given] {
            assert_eq!(order.sort(&b, Origin::TopLeft), [0, 1, 2, 3]);
        }
    }
}
