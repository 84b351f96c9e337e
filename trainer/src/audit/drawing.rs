//! A doubtful run of words where it stands on its receipt, as inline SVG.

use layoutlm_core::bbox::Origin;
use layoutlm_core::receipt::Receipt;
use maud::{Markup, html};

use super::doubt::Doubt;

/// Lines of text shown above and below the run.
const LINES_AROUND: f64 = 5.0;

/// The receipt around a doubt: every word at its place, the doubted ones marked.
pub(super) fn draw(receipt: &Receipt, doubt: &Doubt) -> Markup {
    let boxes: Vec<[f64; 4]> = receipt.words.iter().map(|w| upright(w.bbox)).collect();
    let bottom = boxes.iter().map(|b| b[3]).fold(receipt.height.unwrap_or(0.0), f64::max);
    let right = boxes.iter().map(|b| b[2]).fold(f64::MIN_POSITIVE, f64::max);
    let left = boxes.iter().map(|b| b[0]).fold(right, f64::min);
    let down = |b: [f64; 4]| match receipt.origin {
        Origin::TopLeft => b,
        Origin::BottomLeft => [b[0], bottom - b[3], b[2], bottom - b[1]],
    };
    // One scale for both axes, so that boxes of 0..1 are drawn as large as those in pixels.
    let scale = 600.0 / (right - left).max(f64::MIN_POSITIVE);
    let place = |b: [f64; 4]| down(b).map(|v| v * scale);
    let heights = boxes.iter().map(|b| (b[3] - b[1]) * scale);
    let line = median(heights.collect()).max(6.0);
    let at = place(upright(doubt.bbox));
    let (top, height) = (at[1] - LINES_AROUND * line, at[3] - at[1] + 2.0 * LINES_AROUND * line);
    let shown = |b: &[f64; 4]| b[3] >= top && b[1] <= top + height;
    let marked =
        |line_id: u32, word_id: u32| doubt.words.iter().any(|w| (w.line_id, w.word_id) == (line_id, word_id));
    let view = format!("{:.1} {top:.1} 620 {height:.1}", left * scale - 10.0);
    html! {
        svg class="receipt" viewBox=(view) role="img" aria-label=(format!("{} on its receipt", doubt.text)) {
            @for (word, raw) in receipt.words.iter().zip(&boxes) {
                @let b = place(*raw);
                @if shown(&b) {
                    @let class = if marked(word.line_id, word.word_id) { "doubted" } else { "other" };
                    @let (width, tall) = ((b[2] - b[0]).max(1.0), (b[3] - b[1]).max(1.0));
                    rect class=(class) x=(one(b[0])) y=(one(b[1])) width=(one(width)) height=(one(tall)) {}
                    text class=(class) x=(one(b[0])) y=(one(b[1] + tall * 0.8)) font-size=(one(tall * 0.85))
                        textLength=(one(width)) lengthAdjust="spacingAndGlyphs" { (word.text) }
                }
            }
        }
    }
}

fn one(value: f64) -> String {
    format!("{value:.1}")
}

fn upright([x0, y0, x1, y1]: [f64; 4]) -> [f64; 4] {
    [x0.min(x1), y0.min(y1), x0.max(x1), y0.max(y1)]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
