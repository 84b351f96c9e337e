//! Dropout whose mask is a hash of where it is, never stored: the backward pass draws it again.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::simd::vectorized;
use super::{rows_per_task, storage};
use crate::random::Stream;

/// A dropout site of one forward pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dropout {
    stream: Stream,
    /// A 32-bit hash below this is dropped.
    threshold: u32,
    /// What survivors are multiplied with.
    scale: f32,
}

/// The mask of one row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaskRow {
    keys: [u32; 2],
    threshold: u32,
    scale: f32,
}

impl Dropout {
    /// Dropout with `probability` (below 1) on a stream of its own; nothing at 0.
    pub(crate) fn new(probability: f64, stream: Stream) -> Option<Self> {
        let threshold = (probability * 4_294_967_296.0) as u32;
        (threshold > 0).then(|| Self { stream, threshold, scale: (1.0 / (1.0 - probability)) as f32 })
    }

    /// The stream's state, the threshold and the scale, for kernels that draw the same mask elsewhere.
    pub(crate) fn raw(&self) -> (u64, u32, f32) {
        (self.stream.state(), self.threshold, self.scale)
    }

    /// The mask of row `row`.
    #[inline(always)]
    pub(crate) fn row(&self, row: u64) -> MaskRow {
        let bits = self.stream.bits(row);
        MaskRow { keys: [bits as u32, (bits >> 32) as u32], threshold: self.threshold, scale: self.scale }
    }
}

impl MaskRow {
    /// What element `column` is multiplied with: 0 or 1/(1 − p).
    #[inline(always)]
    pub(crate) fn factor(&self, column: u32) -> f32 {
        // Two rounds of multiply and shift, a key before each. Constants: Wellons, "Prospecting for hash functions".
        let mut h = column.wrapping_mul(0x9E37_79B9).wrapping_add(self.keys[0]);
        h = (h ^ (h >> 16)).wrapping_mul(0x21F0_AAAD);
        h ^= self.keys[1];
        h = (h ^ (h >> 15)).wrapping_mul(0x735A_2D97);
        h ^= h >> 15;
        if h < self.threshold { 0.0 } else { self.scale }
    }
}

vectorized! {
    /// `out = mask ∘ x` for one row.
    pub(crate) fn mask_row(mask: MaskRow, x: &[f32], out: &mut [f32]) {
        for (column, (x, out)) in x.iter().zip(out).enumerate() {
            *out = x * mask.factor(column as u32);
        }
    }

    /// `x = mask ∘ x` for one row.
    pub(crate) fn mask_row_in_place(mask: MaskRow, x: &mut [f32]) {
        for (column, x) in x.iter_mut().enumerate() {
            *x *= mask.factor(column as u32);
        }
    }
}

/// Drops elements of `x` `[rows, width]` in place; the same call on a gradient is the backward pass.
pub(crate) fn dropout(x: &Tensor, site: Option<&Dropout>) -> Result<()> {
    let Some(site) = site else { return Ok(()) };
    let (_, width) = x.dims2()?;
    storage::write(x, |x| {
        let rows = rows_per_task(width);
        x.par_chunks_mut(rows * width).enumerate().for_each(|(task, chunk)| {
            for (i, row) in chunk.chunks_exact_mut(width).enumerate() {
                mask_row_in_place(site.row((task * rows + i) as u64), row);
            }
        });
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_dropped_and_the_mean_is_kept() {
        let site = Dropout::new(0.1, Stream::new(3).child(1)).unwrap();
        let (rows, columns) = (2000u64, 384u32);
        let mut dropped_by_column = vec![0u32; columns as usize];
        let mut sum = 0.0;
        for row in 0..rows {
            let mask = site.row(row);
            for (column, dropped) in (0..columns).zip(&mut dropped_by_column) {
                let factor = mask.factor(column);
                sum += f64::from(factor);
                *dropped += u32::from(factor == 0.0);
            }
        }
        let cells = rows as f64 * f64::from(columns);
        assert!((sum / cells - 1.0).abs() < 2e-3, "{}", sum / cells);
        // Each column: binomial(2000, 0.1), six standard deviations are 80.
        assert!(dropped_by_column.iter().all(|d| d.abs_diff(200) < 80));
    }

    #[test]
    fn neighbours_in_a_row_and_rows_of_a_site_are_independent() {
        let site = Dropout::new(0.5, Stream::new(9)).unwrap();
        let bit = |row: u64, column: u32| f64::from(site.row(row).factor(column)) - 1.0;
        let n = 400_000u32;
        let pairs = |f: &dyn Fn(u32) -> f64| (0..n).map(f).sum::<f64>() / f64::from(n);
        let along = pairs(&|i| bit(0, i) * bit(0, i + 1));
        let across = pairs(&|i| bit(u64::from(i) / 384, i % 384) * bit(u64::from(i) / 384 + 1, i % 384));
        assert!(along.abs() < 0.01 && across.abs() < 0.01, "{along} {across}");
    }

    #[test]
    fn no_dropout_at_probability_zero() {
        assert!(Dropout::new(0.0, Stream::new(1)).is_none());
    }
}
