//! A receipt before it has pixels: rows of labelled words at character columns.

/// A word with its label.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) text: String,
    /// Source label; `O` where no label of interest applies.
    pub(super) label: &'static str,
    /// The finer class, also where `label` is `O`.
    pub(super) class: &'static str,
    /// Words of one entity share it.
    pub(super) entity: Option<u32>,
}

/// Where a segment stands on its row, in characters of the paper's width.
#[derive(Debug, Clone, Copy)]
pub(super) enum At {
    /// Starts at a column.
    Left(f64),
    /// Ends at a column.
    Right(f64),
    /// In the middle of the paper.
    Centre,
}

/// Words printed together.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) pieces: Vec<Piece>,
    pub(super) at: At,
}

/// One printed line.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) segments: Vec<Segment>,
    /// Size of the print against the till's normal one.
    pub(super) scale: f64,
    /// Blank space before it, in lines.
    pub(super) gap: f64,
}

/// Rows from top to bottom.
#[derive(Debug, Clone, Default)]
pub(super) struct Sheet {
    pub(super) rows: Vec<Row>,
    entities: u32,
}

impl Sheet {
    /// An id for a new entity.
    pub(super) fn entity(&mut self) -> u32 {
        self.entities += 1;
        self.entities - 1
    }

    /// Prints a line.
    pub(super) fn row(&mut self, segments: Vec<Segment>) {
        self.rows.push(Row { segments, scale: 1.0, gap: 0.0 });
    }

    /// Prints a line of its own size after a gap.
    pub(super) fn sized_row(&mut self, segments: Vec<Segment>, scale: f64, gap: f64) {
        self.rows.push(Row { segments, scale, gap });
    }

    /// Leaves space before the next row printed.
    pub(super) fn space_before_last(&mut self, gap: f64) {
        if let Some(row) = self.rows.last_mut() {
            row.gap += gap;
        }
    }

    /// Words of one new entity; `O` makes none.
    pub(super) fn labelled(&mut self, words: Vec<String>, label: &'static str, at: At) -> Segment {
        let entity = (label != "O").then(|| self.entity());
        segment(words, label, label, entity, at)
    }
}

/// Words without a label of interest, of some finer class.
pub(super) fn plain(words: Vec<String>, class: &'static str, at: At) -> Segment {
    segment(words, "O", class, None, at)
}

/// Words of an entity given.
pub(super) fn segment(
    words: Vec<String>,
    label: &'static str,
    class: &'static str,
    entity: Option<u32>,
    at: At,
) -> Segment {
    let piece = |text| Piece { text, label, class, entity };
    Segment { pieces: words.into_iter().filter(|t| !t.is_empty()).map(piece).collect(), at }
}

impl Segment {
    /// The segment followed, after a blank, by another one's words.
    pub(super) fn then(mut self, next: Self) -> Self {
        self.pieces.extend(next.pieces);
        self
    }
}
