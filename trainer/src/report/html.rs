//! Sections → one HTML page that needs nothing else: no script, no outside file, readable on a phone and in the dark.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::document::{Align, Block, Section, Table};

const STYLE: &str = include_str!("style.css");
/// Refuses whatever a browser could fetch; the page's own style is inside it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// The complete page.
pub fn page(title: &str, sections: &[Section]) -> String {
    let numbered = || sections.iter().enumerate();
    frame(
        title,
        html! {
            nav aria-label="Sections" {
                @for (i, section) in numbered() { a href=(format!("#s{i}")) { (section.title) } " " }
            }
            main {
                @for (i, one) in numbered() {
                    section id=(format!("s{i}")) { h2 { (one.title) } (blocks(&one.blocks)) }
                }
            }
        },
    )
}

/// A page around some content: its style inside, and a policy that lets a browser fetch nothing.
pub(crate) fn frame(title: &str, content: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body { header { h1 { (title) } } (content) }
        }
    };
    page.into_string()
}

fn blocks(blocks: &[Block]) -> Markup {
    let is_chart = |b: &Block| matches!(b, Block::Chart(_));
    html! {
        @for run in blocks.chunk_by(|a, b| is_chart(a) == is_chart(b)) {
            @if run.first().is_some_and(is_chart) {
                div class="plots" { @for one in run { (block(one)) } }
            } @else {
                @for one in run { (block(one)) }
            }
        }
    }
}

fn block(block: &Block) -> Markup {
    match block {
        Block::Text(text) => html! { p { (text) } },
        Block::List(points) => html! { ul { @for point in points { li { (point) } } } },
        Block::Table(table) => table_markup(table),
        Block::Chart(chart) => chart.draw(),
    }
}

fn table_markup(table: &Table) -> Markup {
    let class = |i: usize| match table.columns.get(i) {
        Some((_, Align::Right)) => "number",
        _ => "word",
    };
    html! {
        div class="scroll" {
            table {
                thead { tr { @for (i, (name, _)) in table.columns.iter().enumerate() { th class=(class(i)) { (name) } } } }
                tbody {
                    @for row in &table.rows {
                        tr { @for (i, cell) in row.iter().enumerate() { td class=(class(i)) { (cell) } } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_nothing_points_outside() {
        let mut table = Table::new(["<name", "n"]);
        table.push(["<script>".into(), "1".into()]);
        let blocks = vec![Block::Text("a & b".into()), Block::Table(table)];
        let page = page("<t>", &[Section::new("One", blocks)]);
        assert!(page.contains("&lt;script&gt;") && page.contains("a &amp; b") && !page.contains("<script"));
        assert!(
            !page.contains("http://") && !page.contains("https://") && !page.contains("@import"),
            "{page}"
        );
    }
}
