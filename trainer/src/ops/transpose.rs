//! Turning a matrix over, in blocks that fit the registers.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::simd::vectorized;
use super::storage;

/// Width and height of a block.
const BLOCK: usize = 8;

/// `out [columns, rows] = x [rows, columns]ᵀ`.
pub(crate) fn transpose(out: &Tensor, x: &Tensor) -> Result<()> {
    let (rows, columns) = x.dims2()?;
    storage::write(out, |out| {
        storage::read([x], |[x]| {
            let task = 2 * BLOCK;
            out.par_chunks_mut((task * rows).max(1)).enumerate().for_each(|(i, out)| {
                turn_columns(x, columns, rows, i * task, out);
            });
            Ok(())
        })
    })
}

vectorized! {
    /// Writes the columns of `x` `[rows, columns]` from `first` on as the rows of `out`, as many as it holds.
    fn turn_columns(x: &[f32], columns: usize, rows: usize, first: usize, out: &mut [f32]) {
        let wanted = out.len() / rows;
        for row in (0..rows).step_by(BLOCK) {
            for column in (0..wanted).step_by(BLOCK) {
                if row + BLOCK <= rows && column + BLOCK <= wanted {
                    turn_block(&x[row * columns + first + column..], columns, &mut out[column * rows + row..], rows);
                } else {
                    for r in row..rows.min(row + BLOCK) {
                        for c in column..wanted.min(column + BLOCK) {
                            out[c * rows + r] = x[r * columns + first + c];
                        }
                    }
                }
            }
        }
    }
}

/// Turns the block at the start of `x` and `out`, whose rows are `x_stride` and `out_stride` apart.
#[inline(always)]
fn turn_block(x: &[f32], x_stride: usize, out: &mut [f32], out_stride: usize) {
    let mut block = [[0f32; BLOCK]; BLOCK];
    for (i, line) in block.iter_mut().enumerate() {
        line.copy_from_slice(&x[i * x_stride..][..BLOCK]);
    }
    let mut turned = [[0f32; BLOCK]; BLOCK];
    for i in 0..BLOCK {
        for (j, line) in turned.iter_mut().enumerate() {
            line[i] = block[i][j];
        }
    }
    for (i, line) in turned.iter().enumerate() {
        out[i * out_stride..][..BLOCK].copy_from_slice(line);
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn every_element_lands_in_its_place_also_beyond_whole_blocks() {
        for (rows, columns) in [(1, 1), (8, 16), (7, 9), (24, 17), (19, 40), (3, 100)] {
            let numbers = (0..rows * columns).map(|i| i as f32).collect::<Vec<_>>();
            let x = Tensor::from_vec(numbers, (rows, columns), &Device::Cpu).unwrap();
            let out = Tensor::zeros((columns, rows), DType::F32, &Device::Cpu).unwrap();
            transpose(&out, &x).unwrap();
            let expected = x.t().unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(out.to_vec2::<f32>().unwrap(), expected, "{rows}x{columns}");
        }
    }
}
