//! Curves: figures by epoch, or confidence against accuracy.

use maud::{Markup, html};

use super::{tick_text, ticks};

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 38.0;

/// One curve.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// `(x, y)`, x ascending.
    pub points: Vec<(f64, f64)>,
}

/// Curves over a common x axis.
#[derive(Debug, Clone)]
pub struct Lines {
    /// What is shown.
    pub title: String,
    /// Name of the x axis.
    pub x_name: String,
    /// The curves; those without points are left out.
    pub series: Vec<Series>,
    /// Range of y; fitted to the points where there is none.
    pub y_range: Option<(f64, f64)>,
}

struct Frame {
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let share = |v: f64, (low, high): (f64, f64)| if high > low { (v - low) / (high - low) } else { 0.5 };
        let across = LEFT + share(x, self.x) * (WIDTH - LEFT - RIGHT);
        let down = HEIGHT - BOTTOM - share(y, self.y) * (HEIGHT - TOP - BOTTOM);
        (across, down.clamp(0.0, HEIGHT))
    }
}

impl Lines {
    pub(super) fn draw(&self) -> Markup {
        let series: Vec<&Series> = self.series.iter().filter(|s| !s.points.is_empty()).collect();
        let frame = self.frame(&series);
        html! {
            figure class="plot" {
                figcaption { (self.title) }
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.title) {
                    (self.axes(&frame))
                    @for (i, one) in series.iter().enumerate() { (curve(one, i, &frame)) }
                }
                p class="legend" {
                    @for (i, one) in series.iter().enumerate() {
                        span { i class=(format!("key c{}", i % 6)) {} (one.name) }
                    }
                }
            }
        }
    }

    fn frame(&self, series: &[&Series]) -> Frame {
        let points = || series.iter().flat_map(|s| &s.points);
        let range = |of: fn(&(f64, f64)) -> f64| {
            let low = points().map(of).fold(f64::INFINITY, f64::min);
            let high = points().map(of).fold(f64::NEG_INFINITY, f64::max);
            if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) }
        };
        let (low, high) = range(|p| p.1);
        let margin = ((high - low) * 0.08).max(1e-6);
        Frame { x: range(|p| p.0), y: self.y_range.unwrap_or((low - margin, high + margin)) }
    }

    fn axes(&self, frame: &Frame) -> Markup {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        html! {
            @for y in ticks(frame.y.0, frame.y.1, 5) {
                @let at = frame.place((frame.x.0, y)).1;
                line class="grid" x1=(LEFT) x2=(right) y1=(at) y2=(at) {}
                text class="tick end" x=(LEFT - 6.0) y=(at + 4.0) { (tick_text(y)) }
            }
            @for x in ticks(frame.x.0, frame.x.1, 8) {
                @let at = frame.place((x, frame.y.0)).0;
                text class="tick mid" x=(at) y=(bottom + 16.0) { (tick_text(x)) }
            }
            line class="axis" x1=(LEFT) x2=(right) y1=(bottom) y2=(bottom) {}
            text class="tick mid" x=((LEFT + right) / 2.0) y=(HEIGHT - 4.0) { (self.x_name) }
        }
    }
}

fn curve(series: &Series, index: usize, frame: &Frame) -> Markup {
    let places: Vec<(f64, f64)> = series.points.iter().map(|p| frame.place(*p)).collect();
    let path: Vec<String> = places
        .iter()
        .enumerate()
        .map(|(i, (x, y))| format!("{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' }))
        .collect();
    let class = format!("c{}", index % 6);
    html! {
        path class=(format!("curve {class}")) d=(path.concat()) {}
        @for ((x, y), point) in places.iter().zip(&series.points) {
            circle class=(format!("dot {class}")) cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="3.5" {
                title { (series.name) " " (tick_text(point.1)) " at " (tick_text(point.0)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_drawn_inside_the_picture_and_names_are_escaped() {
        let points = vec![(1.0, 0.2), (2.0, 0.9), (3.0, 7.0)];
        let series =
            vec![Series { name: "<F1>".into(), points }, Series { name: "empty".into(), points: vec![] }];
        let lines = Lines { title: "t".into(), x_name: "epoch".into(), series, y_range: Some((0.0, 1.0)) };
        let svg = lines.draw().into_string();
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(svg.contains("&lt;F1&gt;") && !svg.contains("empty") && !svg.contains("cy=\"-"), "{svg}");
    }

    #[test]
    fn a_single_point_stands_in_the_middle() {
        let series = vec![Series { name: "a".into(), points: vec![(1.0, 0.5)] }];
        let lines = Lines { title: "t".into(), x_name: "x".into(), series, y_range: None };
        assert!(!lines.draw().into_string().contains("NaN"));
    }
}
