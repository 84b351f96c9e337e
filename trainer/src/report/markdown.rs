//! Sections → Markdown, and tables → aligned text for terminals.

use super::document::{Align, Block, Section, Table};

/// The whole report. Charts are left out: the tables beside them hold the same numbers.
pub fn markdown(title: &str, sections: &[Section]) -> String {
    let mut out = format!("# {}\n", escape(title));
    for section in sections {
        out.push_str(&format!("\n## {}\n", escape(&section.title)));
        for block in &section.blocks {
            match block {
                Block::Text(text) => out.push_str(&format!("\n{}\n", escape(text))),
                Block::List(points) => {
                    out.push('\n');
                    points.iter().for_each(|p| out.push_str(&format!("* {}\n", escape(p))));
                }
                Block::Table(table) => out.push_str(&format!("\n{}", table_markdown(table))),
                Block::Chart(_) => {}
            }
        }
    }
    out
}

/// Sections as plain text for terminals: tables aligned, points indented.
pub fn plain(sections: &[Section]) -> String {
    let blocks = sections.iter().flat_map(|s| &s.blocks);
    let texts = blocks.filter_map(|block| match block {
        Block::Text(text) => Some(format!("{text}\n")),
        Block::List(points) => Some(points.iter().map(|p| format!("  {p}\n")).collect()),
        Block::Table(table) => Some(table_text(table)),
        Block::Chart(_) => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// Names of jobs and labels must not turn into markup.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '`' | '<' | '\\' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            _ => out.push(c),
        }
    }
    out
}

fn table_markdown(table: &Table) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut out = line(table.columns.iter().map(|(name, _)| escape(name)).collect());
    let rule = |align: &Align| if *align == Align::Right { "---:" } else { "---" };
    out.push_str(&line(table.columns.iter().map(|(_, a)| rule(a).to_string()).collect()));
    for row in &table.rows {
        out.push_str(&line(row.iter().map(|c| escape(c)).collect()));
    }
    out
}

/// A table as aligned text, one row per line.
pub fn table_text(table: &Table) -> String {
    let width = |i: usize| {
        let cells = table.rows.iter().filter_map(|r| r.get(i)).chain(table.columns.get(i).map(|(n, _)| n));
        cells.map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.columns.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &String>| {
        let padded: Vec<String> = cells
            .zip(table.columns.iter().zip(&widths))
            .map(|(cell, ((_, align), &width))| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            })
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut out = line(&mut table.columns.iter().map(|(name, _)| name));
    table.rows.iter().for_each(|row| out.push_str(&line(&mut row.iter())));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["<run", "F1"]);
        table.push(["a|b".into(), "0.5".into()]);
        table.push(["long name".into(), "0.75".into()]);
        table
    }

    #[test]
    fn markdown_tables_keep_their_columns_whatever_the_cells_hold() {
        let text =
            markdown("T", &[Section::new("S", vec![Block::Table(table()), Block::Text("x*y".into())])]);
        assert_eq!(
            text,
            "# T\n\n## S\n\n| run | F1 |\n| --- | ---: |\n| a\\|b | 0.5 |\n| long name | 0.75 |\n\nx\\*y\n"
        );
    }

    #[test]
    fn terminal_tables_are_aligned() {
        assert_eq!(table_text(&table()), "run          F1\na|b         0.5\nlong name  0.75\n");
    }
}
