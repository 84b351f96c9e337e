//! From rows to pixels: word boxes as OCR of a photo or scan would give them.

use layoutlm_core::bbox::Origin;
use layoutlm_core::receipt::{Receipt, ValidationStatus, Word};

use super::dice::Dice;
use super::merchant::{Merchant, Till};
use super::sheet::{At, Piece, Row, Sheet};

/// How one copy of a receipt was captured.
struct Capture {
    /// Sideways drift in pixels down per pixel right.
    tilt: f64,
    /// Largest error of a box edge, pixels.
    jitter: f64,
    /// Share of words with a misread character.
    misread: f64,
    /// Blank border, pixels: left, top, right, bottom.
    border: [f64; 4],
}

impl Capture {
    fn draw(till: &Till, dice: &mut Dice) -> Self {
        let width = till.columns * till.char_width;
        // At most a third of a line over the whole width, so that rows stay rows.
        let steepest = till.pitch * 0.33 / width;
        let border = [0; 4].map(|_| till.margin * dice.uniform(0.6, 1.6));
        Self {
            tilt: if dice.chance(0.5) { dice.uniform(-steepest, steepest) } else { 0.0 },
            jitter: dice.uniform(0.2, 0.09 * till.pitch),
            misread: if dice.chance(0.2) { 0.015 } else { 0.0 },
            border,
        }
    }
}

/// Lays a sheet out in pixels; image id and merchant are left for the caller.
pub(super) fn render(sheet: &Sheet, merchant: &Merchant, dice: &mut Dice) -> Receipt {
    let till = &merchant.till;
    let capture = Capture::draw(till, dice);
    let [left, top, right, bottom] = capture.border;
    let paper = till.columns * till.char_width;
    let mut y = top + paper * capture.tilt.abs();
    let mut words = Vec::new();
    for (line, row) in sheet.rows.iter().enumerate() {
        y += till.pitch * (row.gap + 0.5 + 0.5 * row.scale);
        let height = till.pitch * till.body * row.scale;
        for (x0, x1, piece) in placed(row, till) {
            let drift = |x: f64| y + x * capture.tilt;
            let raw = [left + x0, drift(x0) - height, left + x1, drift(x1)];
            let word_id = words.len() as u32;
            words.push(word(line as u32, word_id, piece, raw, till, &capture, dice));
        }
    }
    number_words(&mut words);
    let (width, height) = ((left + paper + right).ceil(), (y + paper * capture.tilt.abs() + bottom).ceil());
    for word in &mut words {
        let [x0, y0, x1, y1] = word.bbox;
        word.bbox = [x0.clamp(0.0, width - 1.0), y0.clamp(0.0, height - 1.0), x1.min(width), y1.min(height)];
    }
    Receipt {
        image_id: String::new(),
        receipt_id: 1,
        width: Some(width),
        height: Some(height),
        origin: Origin::TopLeft,
        merchant: None,
        words,
    }
}

/// Left and right edge of every word of a row, in pixels from the paper's left edge.
fn placed<'a>(row: &'a Row, till: &Till) -> Vec<(f64, f64, &'a Piece)> {
    let paper = till.columns * till.char_width;
    let mut out = Vec::new();
    for segment in &row.segments {
        let mut unit = till.char_width * row.scale;
        let natural: f64 = line_width(&segment.pieces, till) * unit;
        if natural > paper {
            unit *= paper / natural;
        }
        let length = line_width(&segment.pieces, till) * unit;
        let mut x = match segment.at {
            At::Left(column) => column * till.char_width,
            At::Right(column) => column * till.char_width - length,
            At::Centre => (paper - length) / 2.0,
        };
        x = x.clamp(0.0, (paper - length).max(0.0));
        for piece in &segment.pieces {
            let width = text_width(&piece.text, till) * unit;
            out.push((x, x + width, piece));
            x += width + unit;
        }
    }
    out.sort_by(|a, b| a.0.total_cmp(&b.0));
    out
}

fn line_width(pieces: &[Piece], till: &Till) -> f64 {
    let words: f64 = pieces.iter().map(|p| text_width(&p.text, till)).sum();
    words + pieces.len().saturating_sub(1) as f64
}

/// Width of a text in characters of the till's font.
fn text_width(text: &str, till: &Till) -> f64 {
    let wide = |c: char| match c {
        _ if !till.proportional => 1.0,
        'i' | 'l' | 'j' | 't' | 'I' | '.' | ',' | ':' | '\'' | '1' | '-' => 0.6,
        'M' | 'W' | 'm' | 'w' | '@' => 1.35,
        _ => 1.0,
    };
    text.chars().map(wide).sum::<f64>().max(0.5)
}

fn word(
    line: u32,
    word_id: u32,
    piece: &Piece,
    raw: [f64; 4],
    till: &Till,
    capture: &Capture,
    dice: &mut Dice,
) -> Word {
    let mut off = || dice.uniform(-capture.jitter, capture.jitter);
    let [x0, y0, x1, y1] = raw.map(|v| (v + off()).round());
    let text = if till.upper { piece.text.to_uppercase() } else { piece.text.clone() };
    let text = if dice.chance(capture.misread) { misread(&text, dice) } else { text };
    Word {
        line_id: line,
        word_id,
        text,
        bbox: [x0, y0, x1.max(x0 + 1.0), y1.max(y0 + 1.0)],
        label: Some(piece.label.to_string()),
        validation_status: ValidationStatus::Valid,
        source_label: Some(piece.class.to_string()),
        entity_id: piece.entity,
    }
}

/// Numbers words inside their line from 0.
fn number_words(words: &mut [Word]) {
    let (mut line, mut next) = (None, 0);
    for word in words {
        if line != Some(word.line_id) {
            (line, next) = (Some(word.line_id), 0);
        }
        word.word_id = next;
        next += 1;
    }
}

/// One character taken for a look-alike.
fn misread(text: &str, dice: &mut Dice) -> String {
    let alike = |c: char| match c {
        'O' => '0',
        '0' => 'O',
        'l' | 'I' => '1',
        '1' => 'l',
        'S' => '5',
        '5' => 'S',
        'B' => '8',
        '8' => 'B',
        other => other,
    };
    let at = dice.below(text.chars().count());
    text.chars().enumerate().map(|(i, c)| if i == at { alike(c) } else { c }).collect()
}
