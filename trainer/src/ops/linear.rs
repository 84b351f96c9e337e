//! Linear layers `y = x·Wᵀ + b` with weights `[out, in]` as Hugging Face stores them.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::gemm::{Threads, gemm, matrix, matrix_mut};
use super::simd::vectorized;
use super::storage;

/// `y [tokens, out] = x [tokens, in] · weight [out, in]ᵀ (+ bias [out])`.
pub(crate) fn linear(y: &Tensor, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<()> {
    let ((tokens, inputs), (outputs, _)) = (x.dims2()?, weight.dims2()?);
    if let Some(bias) = bias {
        storage::write(y, |y| {
            storage::read([bias], |[bias]| {
                y.par_chunks_mut(64 * outputs).for_each(|rows| {
                    rows.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias));
                });
                Ok(())
            })
        })?;
    }
    storage::write(y, |y| {
        storage::read([x, weight], |[x, weight]| {
            let (x, weight) = (matrix(x, tokens, inputs)?, matrix(weight, outputs, inputs)?);
            gemm(matrix_mut(y, tokens, outputs)?, x, weight.t(), 1.0, bias.is_some(), Threads::Columns);
            Ok(())
        })
    })
}

/// Gradient of the input: `dx [tokens, in] (+)= dy [tokens, out] · weight [out, in]`.
pub(crate) fn linear_input_gradient(
    dx: &Tensor,
    dy: &Tensor,
    weight: &Tensor,
    accumulate: bool,
) -> Result<()> {
    let ((tokens, outputs), (_, inputs)) = (dy.dims2()?, weight.dims2()?);
    storage::write(dx, |dx| {
        storage::read([dy, weight], |[dy, weight]| {
            let (dy, weight) = (matrix(dy, tokens, outputs)?, matrix(weight, outputs, inputs)?);
            gemm(matrix_mut(dx, tokens, inputs)?, dy, weight, 1.0, accumulate, Threads::Columns);
            Ok(())
        })
    })
}

/// Gradient of the weight: `dw [out, in] (+)= dy [tokens, out]ᵀ · x [tokens, in]`.
pub(crate) fn linear_weight_gradient(dw: &Tensor, dy: &Tensor, x: &Tensor, accumulate: bool) -> Result<()> {
    let ((tokens, outputs), (_, inputs)) = (dy.dims2()?, x.dims2()?);
    storage::write(dw, |dw| {
        storage::read([dy, x], |[dy, x]| {
            let (dy, x) = (matrix(dy, tokens, outputs)?, matrix(x, tokens, inputs)?);
            gemm(matrix_mut(dw, outputs, inputs)?, dy.t(), x, 1.0, accumulate, Threads::Rows);
            Ok(())
        })
    })
}

/// Gradient of the bias: `db [out] (+)=` column sums of `dy [tokens, out]`.
pub(crate) fn linear_bias_gradient(db: &Tensor, dy: &Tensor, accumulate: bool) -> Result<()> {
    let (_, outputs) = dy.dims2()?;
    storage::write(db, |db| {
        storage::read([dy], |[dy]| {
            column_sums(db, dy, outputs, accumulate);
            Ok(())
        })
    })
}

/// Rows summed into one partial sum. Fixed, so that the result does not depend on the number of threads.
const ROWS: usize = 64;

/// `sums (+)=` column sums of a row-major matrix of `width` columns.
pub(super) fn column_sums(sums: &mut [f32], data: &[f32], width: usize, accumulate: bool) {
    let partial: Vec<Vec<f32>> = data
        .par_chunks(ROWS * width)
        .map(|rows| {
            let mut partial = vec![0f32; width];
            add_rows(&mut partial, rows);
            partial
        })
        .collect();
    if !accumulate {
        sums.fill(0.0);
    }
    partial.iter().for_each(|part| add_rows(sums, part));
}

vectorized! {
    /// Adds each row of `rows` to `sums`.
    fn add_rows(sums: &mut [f32], rows: &[f32]) {
        for row in rows.chunks_exact(sums.len()) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += x;
            }
        }
    }
}
