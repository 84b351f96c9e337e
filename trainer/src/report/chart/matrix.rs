//! A confusion matrix: rows gold, columns predicted, coloured by the share of the row.

use maud::{Markup, html};

/// Counts by row and column.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// What is shown.
    pub title: String,
    /// Names of rows and columns.
    pub labels: Vec<String>,
    /// `[row][column]`.
    pub counts: Vec<Vec<usize>>,
}

impl Matrix {
    pub(super) fn draw(&self) -> Markup {
        html! {
            figure class="plot wide" {
                figcaption { (self.title) }
                div class="scroll" {
                    table class="matrix" {
                        thead { tr {
                            th { "gold ↓ predicted →" }
                            @for label in &self.labels { th scope="col" { span { (label) } } }
                        } }
                        tbody {
                            @for (row, (label, counts)) in self.labels.iter().zip(&self.counts).enumerate() {
                                tr {
                                    th scope="row" { (label) }
                                    @let total = counts.iter().sum::<usize>();
                                    @for (column, &n) in counts.iter().enumerate() { (cell(n, total, row == column)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(n: usize, total: usize, right: bool) -> Markup {
    // The square root keeps rare confusions visible beside the diagonal.
    let share = (n as f64 / total.max(1) as f64).sqrt() * 100.0;
    let style = format!("--share:{share:.0}%");
    html! {
        td class=(if right { "hit" } else { "miss" }) style=(style) { @if n > 0 { (super::super::format::count(n)) } }
    }
}
