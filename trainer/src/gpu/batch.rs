//! A packed batch as the kernels read it, in one upload.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::GpuError;
use super::kernels::TILE;
use super::memory::{Buffer, Card};
use crate::model::{PackedBatch, lookup_ids};
use crate::ops::LOOKUPS;

/// Reads of one embedding row that one block adds up: fixed, so that results do not depend on the card.
const SEGMENT: usize = 64;
/// Parts of the upload start at multiples of this many bytes.
const ALIGNMENT: usize = 32;

/// A tile of attention; laid out as the kernels' `Tile`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Tile {
    first: u32,
    length: u32,
    start: u32,
    unused: u32,
}

/// Which embedding rows a batch reads, and where: segments of at most [`SEGMENT`] reads, grouped by row.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// Token of every read.
    tokens: Vec<u32>,
    /// Where each segment starts in `tokens`, and their end.
    segment_starts: Vec<u32>,
    /// Offset of each row in the flat gradient.
    row_offsets: Vec<u64>,
    /// First segment of each row, and their end.
    row_segments: Vec<u32>,
}

impl Reads {
    /// Adds a table at `offset` of the flat buffers, read at `pairs` of (row, token), which this sorts.
    fn table(&mut self, offset: usize, width: usize, mut pairs: Vec<(u32, u32)>) {
        pairs.sort_unstable();
        for row in pairs.chunk_by(|a, b| a.0 == b.0) {
            let Some((index, _)) = row.first() else { continue };
            self.row_offsets.push((offset + *index as usize * width) as u64);
            self.row_segments.push(self.segment_starts.len() as u32);
            for segment in row.chunks(SEGMENT) {
                self.segment_starts.push(self.tokens.len() as u32);
                self.tokens.extend(segment.iter().map(|(_, token)| token));
            }
        }
    }

    fn close(&mut self) {
        self.row_segments.push(self.segment_starts.len() as u32);
        self.segment_starts.push(self.tokens.len() as u32);
    }
}

/// Offsets of the nine lookups' tables in the flat buffers; x and y tables occur twice.
pub(crate) type TableOffsets = [usize; LOOKUPS];

/// A batch in the card's memory.
#[derive(Debug)]
pub(crate) struct DeviceBatch {
    data: Buffer,
    pub(crate) tokens: usize,
    parts: Parts,
    tiles: usize,
    segments: usize,
    rows: usize,
}

/// Byte offsets of the upload's parts.
#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    labels: usize,
    tiles: usize,
    tokens: usize,
    segment_starts: usize,
    row_offsets: usize,
    row_segments: usize,
}

impl DeviceBatch {
    /// Lays a batch out and starts its upload. Without labels (evaluation) no reads are gathered.
    pub(crate) fn new(
        card: &Arc<Card>,
        batch: &PackedBatch,
        tables: &TableOffsets,
        width: usize,
        pad_token_id: u32,
    ) -> Result<Self, GpuError> {
        let ids = lookup_ids(batch);
        let mut bytes: Vec<u8> = Vec::new();
        for lookup in &ids {
            bytes.extend_from_slice(bytemuck::cast_slice(lookup));
        }
        let mut parts = Parts::default();
        let tiles = tiles(&batch.cu_seqlens);
        parts.tiles = append(&mut bytes, &tiles);
        let mut reads = Reads::default();
        if let Some(labels) = &batch.labels {
            let labels: Vec<i32> = labels.iter().map(|l| l.map_or(-1, |l| l.index() as i32)).collect();
            parts.labels = append(&mut bytes, &labels);
            reads = gather(&ids, tables, width, pad_token_id);
            parts.tokens = append(&mut bytes, &reads.tokens);
            parts.segment_starts = append(&mut bytes, &reads.segment_starts);
            parts.row_offsets = append(&mut bytes, &reads.row_offsets);
            parts.row_segments = append(&mut bytes, &reads.row_segments);
        }
        Ok(Self {
            data: card.holding(&bytes)?,
            tokens: batch.tokens(),
            parts,
            tiles: tiles.len(),
            segments: reads.segment_starts.len().saturating_sub(1),
            rows: reads.row_offsets.len(),
        })
    }

    fn at(&self, offset: usize) -> u64 {
        self.data.address() + offset as u64
    }

    /// Row indices of the nine lookups, `[9, tokens]`.
    pub(crate) fn ids(&self) -> u64 {
        self.at(0)
    }

    /// Labels, −1 where there is none, `[tokens]`.
    pub(crate) fn labels(&self) -> u64 {
        self.at(self.parts.labels)
    }

    /// Address and number of the attention tiles.
    pub(crate) fn tiles(&self) -> (u64, usize) {
        (self.at(self.parts.tiles), self.tiles)
    }

    /// Addresses of the reads' tokens, segment starts, row offsets and row segments; numbers of segments and rows.
    pub(crate) fn reads(&self) -> ([u64; 4], usize, usize) {
        let p = self.parts;
        let parts = [p.tokens, p.segment_starts, p.row_offsets, p.row_segments];
        (parts.map(|offset| self.at(offset)), self.segments, self.rows)
    }
}

/// Appends at an aligned offset, which it gives back.
fn append<T: bytemuck::NoUninit>(bytes: &mut Vec<u8>, part: &[T]) -> usize {
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    let offset = bytes.len();
    bytes.extend_from_slice(bytemuck::cast_slice(part));
    offset
}

/// Tiles of all windows, long windows first so that the last blocks are short.
fn tiles(cu_seqlens: &[usize]) -> Vec<Tile> {
    let mut windows: Vec<(u32, u32)> = cu_seqlens
        .windows(2)
        .filter_map(|w| Some((*w.first()? as u32, (*w.last()? - *w.first()?) as u32)))
        .collect();
    windows.sort_by_key(|(first, length)| (std::cmp::Reverse(*length), *first));
    let cut = |(first, length): (u32, u32)| {
        (0..length).step_by(TILE).map(move |start| Tile { first, length, start, unused: 0 })
    };
    windows.into_iter().flat_map(cut).collect()
}

fn gather(ids: &[Vec<u32>; LOOKUPS], tables: &TableOffsets, width: usize, pad_token_id: u32) -> Reads {
    let mut reads = Reads::default();
    for (lookup, &offset) in tables.iter().enumerate() {
        // A table that is read twice was handled at its first lookup.
        if tables.iter().position(|t| *t == offset) != Some(lookup) {
            continue;
        }
        let of_table = tables.iter().zip(ids).filter(|(t, _)| **t == offset);
        let pairs = of_table.flat_map(|(_, ids)| ids.iter().copied().zip(0u32..));
        // The word table's [PAD] row is never trained, as an embedding's `padding_idx` elsewhere.
        let pairs = pairs.filter(|(row, _)| !(lookup == 0 && *row == pad_token_id)).collect();
        reads.table(offset, width, pairs);
    }
    reads.close();
    reads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_token_of_every_window_once() {
        let tiles = tiles(&[0, 70, 70, 75]);
        let covered: Vec<(u32, u32)> =
            tiles.iter().map(|t| (t.first + t.start, (t.length - t.start).min(TILE as u32))).collect();
        assert_eq!(covered, [(0, 32), (32, 32), (64, 6), (70, 5)]);
    }

    #[test]
    fn a_row_read_often_is_cut_into_segments_and_stays_one_row() {
        let mut reads = Reads::default();
        reads.table(1000, 10, (0..150).map(|token| (3, token)).chain([(1, 7)]).collect());
        reads.close();
        assert_eq!(reads.row_offsets, [1010, 1030]);
        assert_eq!(reads.row_segments, [0, 1, 4]);
        assert_eq!(reads.segment_starts, [0, 1, 65, 129, 151]);
        assert_eq!(reads.tokens.len(), 151);
    }

    #[test]
    fn the_padding_row_of_words_is_left_out_and_shared_tables_are_read_once() {
        let mut ids: [Vec<u32>; LOOKUPS] = Default::default();
        for (lookup, ids) in ids.iter_mut().enumerate() {
            *ids = vec![0, lookup as u32];
        }
        let tables = [0, 100, 200, 300, 200, 300, 400, 500, 600];
        let reads = gather(&ids, &tables, 1, 0);
        // Word row 0 is [PAD]; the other lookups read row 0 and their own.
        assert_eq!(reads.row_offsets, [100, 101, 200, 202, 204, 300, 303, 305, 400, 406, 500, 507, 600, 608]);
        assert_eq!(reads.tokens.len(), 16);
    }
}
