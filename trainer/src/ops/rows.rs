//! Picking rows of a matrix, and putting them back.

use candle_core::{Result, Tensor};

use super::storage;

/// `out [rows, width] =` the given rows of `x [tokens, width]`.
pub(crate) fn gather_rows(out: &Tensor, x: &Tensor, rows: &[usize]) -> Result<()> {
    let (_, width) = out.dims2()?;
    storage::write(out, |out| {
        storage::read([x], |[x]| {
            for (out, &row) in out.chunks_exact_mut(width).zip(rows) {
                out.copy_from_slice(&x[row * width..(row + 1) * width]);
            }
            Ok(())
        })
    })
}

/// `out [tokens, width] =` the rows of `x [rows, width]` where they belong, zero elsewhere.
pub(crate) fn scatter_rows(out: &Tensor, x: &Tensor, rows: &[usize]) -> Result<()> {
    let (_, width) = out.dims2()?;
    storage::write(out, |out| {
        storage::read([x], |[x]| {
            out.fill(0.0);
            for (x, &row) in x.chunks_exact(width).zip(rows) {
                out[row * width..(row + 1) * width].copy_from_slice(x);
            }
            Ok(())
        })
    })
}
