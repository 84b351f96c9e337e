//! A report before it has a form: sections of text, lists, tables and charts.

use super::chart::Chart;

/// Part of a report under a heading.
#[derive(Debug, Clone)]
pub struct Section {
    /// Heading.
    pub title: String,
    /// Content in order.
    pub blocks: Vec<Block>,
}

/// One piece of content.
#[derive(Debug, Clone)]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// Points.
    List(Vec<String>),
    /// Rows and columns.
    Table(Table),
    /// A plot, shown by browsers only.
    Chart(Chart),
}

/// Where a column's text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows and columns of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Name and alignment of each column.
    pub columns: Vec<(String, Align)>,
    /// `[rows][columns]`.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows; names that begin with `<` stand left, without it.
    pub fn new<const N: usize>(columns: [&str; N]) -> Self {
        let column = |name: &str| match name.strip_prefix('<') {
            Some(name) => (name.to_string(), Align::Left),
            None => (name.to_string(), Align::Right),
        };
        Self { columns: columns.into_iter().map(column).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn push<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }
}

impl Section {
    /// A section with content.
    pub fn new(title: &str, blocks: Vec<Block>) -> Self {
        Self { title: title.into(), blocks }
    }
}
