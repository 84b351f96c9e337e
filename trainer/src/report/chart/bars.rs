//! One horizontal bar per name, in plain boxes, so that long names wrap and phones need no zoom.

use maud::{Markup, html};

/// One bar per name.
#[derive(Debug, Clone)]
pub struct Bars {
    /// What is shown.
    pub title: String,
    /// Name, value between 0 and 1 and what to write beside it.
    pub bars: Vec<(String, f64, String)>,
}

impl Bars {
    pub(super) fn draw(&self) -> Markup {
        html! {
            figure class="plot" {
                figcaption { (self.title) }
                div class="bars" role="img" aria-label=(self.title) {
                    @for (name, value, note) in &self.bars {
                        @let percent = format!("width:{:.1}%", value.clamp(0.0, 1.0) * 100.0);
                        span class="name" { (name) }
                        span class="track" { span class="bar" style=(percent) {} }
                        span class="note" { (note) }
                    }
                }
            }
        }
    }
}
