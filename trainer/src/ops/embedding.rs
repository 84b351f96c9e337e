//! Sums of table rows, and their gradients scattered back into the rows that were read.
//!
//! Source: LayoutLM (Xu et al. 2020), §3.1; height and width tables as in the published code.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::simd::vectorized;
use super::{rows_per_task, storage};

/// Number of rows added for each token.
pub(crate) const LOOKUPS: usize = 9;

/// A table and the row each token reads from it, `[tokens]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookup<'a> {
    pub(crate) table: &'a Tensor,
    pub(crate) ids: &'a [u32],
}

/// `out [tokens, width] =` the sum of the nine rows of each token, added in the order given.
pub(crate) fn embed(out: &Tensor, lookups: [Lookup<'_>; LOOKUPS]) -> Result<()> {
    let (_, width) = out.dims2()?;
    let rows = rows_per_task(width);
    storage::write(out, |out| {
        storage::read(lookups.map(|l| l.table), |tables| {
            out.par_chunks_mut(rows * width).enumerate().for_each(|(task, out)| {
                for (i, out) in out.chunks_exact_mut(width).enumerate() {
                    let token = task * rows + i;
                    let row = |l: usize| {
                        let id = lookups[l].ids[token] as usize;
                        &tables[l][id * width..(id + 1) * width]
                    };
                    sum_rows(out, std::array::from_fn(row));
                }
            });
            Ok(())
        })
    })
}

/// Adds to `d_table [rows, width]` the gradient `dy [tokens, width]` of every token that read a row, in token order;
/// `reads` are (row, token) pairs, sorted. Rows no token read are left as they are.
pub(crate) fn embed_gradient(d_table: &Tensor, dy: &Tensor, reads: &[(u32, u32)]) -> Result<()> {
    let (_, width) = dy.dims2()?;
    storage::write(d_table, |d_table| {
        storage::read([dy], |[dy]| {
            let mut tasks = Vec::new();
            let (mut rest, mut passed) = (d_table, 0);
            for group in reads.chunk_by(|a, b| a.0 == b.0) {
                let row = group[0].0 as usize;
                let (target, later) = rest.split_at_mut((row - passed) * width).1.split_at_mut(width);
                (rest, passed) = (later, row + 1);
                tasks.push((target, group));
            }
            tasks.into_par_iter().with_min_len(8).for_each(|(target, group)| {
                for &(_, token) in group {
                    let start = token as usize * width;
                    add(target, &dy[start..start + width]);
                }
            });
            Ok(())
        })
    })
}

vectorized! {
    fn sum_rows(out: &mut [f32], rows: [&[f32]; LOOKUPS]) {
        let [a, b, c, d, e, f, g, h, i] = rows;
        let n = out.len();
        let (a, b, c, d, e, f, g, h, i) =
            (&a[..n], &b[..n], &c[..n], &d[..n], &e[..n], &f[..n], &g[..n], &h[..n], &i[..n]);
        for (at, out) in out.iter_mut().enumerate() {
            *out = a[at] + b[at] + c[at] + d[at] + e[at] + f[at] + g[at] + h[at] + i[at];
        }
    }

    fn add(sum: &mut [f32], x: &[f32]) {
        for (sum, x) in sum.iter_mut().zip(x) {
            *sum += x;
        }
    }
}
