//! Self-attention over packed windows: every token looks at the tokens of its own window only.
//!
//! Each (window, head) is one task that writes its own block. Probabilities are computed again in the backward pass
//! instead of being kept.
//!
//! Source: Vaswani et al., "Attention is all you need" (2017), §3.2; dropout on the probabilities as in BERT.

use std::cell::RefCell;

use candle_core::{Result, Tensor};
use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

use super::dropout::{Dropout, mask_row, mask_row_in_place};
use super::gemm::{Threads, gemm, matrix, matrix_mut};
use super::simd::{dot, exp, max, sum, vectorized};
use super::storage;

/// How tokens are grouped and the width is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attention<'a> {
    /// Starts of the windows, and the number of tokens.
    pub(crate) cu_seqlens: &'a [usize],
    /// Number of heads.
    pub(crate) heads: usize,
    /// Dropout on the probabilities.
    pub(crate) site: Option<&'a Dropout>,
}

/// `context [tokens, hidden]` from `qkv [tokens, 3·hidden]` (queries, keys, values side by side).
pub(crate) fn attention(context: &Tensor, qkv: &Tensor, layout: &Attention<'_>) -> Result<()> {
    let (tokens, hidden) = context.dims2()?;
    let size = hidden / layout.heads;
    storage::write(context, |context| {
        storage::read([qkv], |[qkv]| {
            let qkv = matrix(qkv, tokens, 3 * hidden)?;
            let outputs = blocks_mut(matrix_mut(context, tokens, hidden)?, layout.cu_seqlens, size);
            let tasks: Vec<_> =
                blocks(qkv, layout, size).into_iter().zip(outputs.into_iter().flatten()).collect();
            tasks.into_par_iter().with_max_len(1).for_each(|(block, out)| block.forward(layout, out));
            Ok(())
        })
    })
}

/// `d_qkv [tokens, 3·hidden]` from `d_context [tokens, hidden]` and the forward pass's `qkv`.
pub(crate) fn attention_gradient(
    d_qkv: &Tensor,
    d_context: &Tensor,
    qkv: &Tensor,
    layout: &Attention<'_>,
) -> Result<()> {
    let (tokens, hidden) = d_context.dims2()?;
    let (heads, size) = (layout.heads, hidden / layout.heads);
    storage::write(d_qkv, |d_qkv| {
        storage::read([qkv, d_context], |[qkv, d_context]| {
            let qkv = matrix(qkv, tokens, 3 * hidden)?;
            let d_context = matrix(d_context, tokens, hidden)?;
            let mut tasks = Vec::with_capacity((layout.cu_seqlens.len().max(1) - 1) * heads);
            let mut inputs = blocks(qkv, layout, size).into_iter();
            for outputs in blocks_mut(matrix_mut(d_qkv, tokens, 3 * hidden)?, layout.cu_seqlens, size) {
                let mut d_q = outputs;
                let mut d_k = d_q.split_off(heads);
                let d_v = d_k.split_off(heads);
                // The blocks come last: a zip asks its left side first and would swallow one.
                for (((d_q, d_k), d_v), block) in d_q.into_iter().zip(d_k).zip(d_v).zip(inputs.by_ref()) {
                    tasks.push((block, [d_q, d_k, d_v]));
                }
            }
            tasks.into_par_iter().with_max_len(1).for_each(|(block, outputs)| {
                let rows = block.first..block.first + block.q.nrows();
                let columns = block.head * size..(block.head + 1) * size;
                block.backward(layout, d_context.slice(ndarray::s![rows, columns]), outputs);
            });
            Ok(())
        })
    })
}

/// Queries, keys and values of one head in one window, each `[length, head size]`.
struct Block<'a> {
    first: usize,
    head: usize,
    q: ArrayView2<'a, f32>,
    k: ArrayView2<'a, f32>,
    v: ArrayView2<'a, f32>,
}

fn blocks<'a>(qkv: ArrayView2<'a, f32>, layout: &Attention<'_>, size: usize) -> Vec<Block<'a>> {
    let windows = layout.cu_seqlens.windows(2).filter_map(|w| Some(*w.first()?..*w.last()?));
    windows
        .flat_map(|rows| {
            (0..layout.heads).map(move |head| {
                let part = |i: usize| {
                    let start = (i * layout.heads + head) * size;
                    qkv.slice_move(ndarray::s![rows.clone(), start..start + size])
                };
                Block { first: rows.start, head, q: part(0), k: part(1), v: part(2) }
            })
        })
        .collect()
}

/// Cuts a matrix into windows and these into blocks of `size` columns, all disjoint.
fn blocks_mut<'a>(
    matrix: ArrayViewMut2<'a, f32>,
    cu_seqlens: &[usize],
    size: usize,
) -> Vec<Vec<ArrayViewMut2<'a, f32>>> {
    let mut rest = matrix;
    let mut windows = Vec::with_capacity(cu_seqlens.len());
    for bounds in cu_seqlens.windows(2) {
        let (window, later) = rest.split_at(Axis(0), bounds[1] - bounds[0]);
        rest = later;
        let mut columns = window;
        let mut parts = Vec::with_capacity(columns.ncols() / size);
        while columns.ncols() > 0 {
            let (part, others) = columns.split_at(Axis(1), size);
            parts.push(part);
            columns = others;
        }
        windows.push(parts);
    }
    windows
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Lends `N` square matrices of `length` rows that keep their memory between calls. `f` must not enter a parallel
/// region, where another task could run on this thread.
fn with_squares<const N: usize, R>(length: usize, f: impl FnOnce([&mut [f32]; N]) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        let square = length * length;
        if scratch.len() < N * square {
            scratch.resize(N * square, 0.0);
        }
        let mut rest = scratch.as_mut_slice();
        f(std::array::from_fn(|_| {
            let (part, others) = std::mem::take(&mut rest).split_at_mut(square);
            rest = others;
            part
        }))
    })
}

impl Block<'_> {
    fn scale(&self) -> f32 {
        1.0 / (self.q.ncols() as f32).sqrt()
    }

    /// Writes softmax(q·kᵀ/√size) into `p` `[length, length]`.
    fn probabilities(&self, p: &mut [f32]) {
        let length = self.q.nrows();
        gemm(square(p, length), self.q, self.k.t(), 1.0, false, Threads::One);
        softmax_rows(p, length, self.scale());
    }

    /// Masks of the rows of this block.
    fn masks<'s>(&self, layout: &Attention<'s>) -> impl Iterator<Item = super::dropout::MaskRow> + 's {
        let (first, head, heads) = (self.first, self.head, layout.heads);
        layout
            .site
            .into_iter()
            .flat_map(move |site| (first..).map(move |token| site.row((token * heads + head) as u64)))
    }

    fn forward(&self, layout: &Attention<'_>, out: ArrayViewMut2<'_, f32>) {
        let length = self.q.nrows();
        with_squares(length, |[p]| {
            self.probabilities(p);
            for (mask, row) in self.masks(layout).zip(p.chunks_exact_mut(length.max(1))) {
                mask_row_in_place(mask, row);
            }
            gemm(out, square(p, length).view(), self.v, 1.0, false, Threads::One);
        });
    }

    fn backward(
        &self,
        layout: &Attention<'_>,
        d_out: ArrayView2<'_, f32>,
        [d_q, d_k, d_v]: [ArrayViewMut2<'_, f32>; 3],
    ) {
        let length = self.q.nrows();
        with_squares(length, |[p, dropped, d_p]| {
            self.probabilities(p);
            for ((mask, p), dropped) in self
                .masks(layout)
                .zip(p.chunks_exact(length.max(1)))
                .zip(dropped.chunks_exact_mut(length.max(1)))
            {
                mask_row(mask, p, dropped);
            }
            let dropped: &mut [f32] = if layout.site.is_some() {
                dropped
            } else {
                dropped.copy_from_slice(p);
                dropped
            };
            gemm(d_v, square(dropped, length).t(), d_out, 1.0, false, Threads::One);
            gemm(square(d_p, length), d_out, self.v.t(), 1.0, false, Threads::One);
            softmax_rows_gradient(d_p, p, dropped, length);
            gemm(d_q, square(d_p, length).view(), self.k, self.scale(), false, Threads::One);
            gemm(d_k, square(d_p, length).t(), self.q, self.scale(), false, Threads::One);
        });
    }
}

/// A square view of a scratch buffer, whose length is always right.
fn square(data: &mut [f32], length: usize) -> ArrayViewMut2<'_, f32> {
    ndarray::aview_mut1(data).into_shape_with_order((length, length)).unwrap_or_else(|_| unreachable!())
}

vectorized! {
    /// Softmax of each row of `x·scale`.
    fn softmax_rows(x: &mut [f32], length: usize, scale: f32) {
        for row in x.chunks_exact_mut(length) {
            let largest = max(row);
            for x in row.iter_mut() {
                *x = exp((*x - largest) * scale);
            }
            let inverse = (1.0 / sum(row)) as f32;
            for x in row.iter_mut() {
                *x *= inverse;
            }
        }
    }

    /// Turns the gradient of the dropped probabilities into that of the scores:
    /// `d = dropped ∘ d − p·Σ(dropped ∘ d)` in each row.
    fn softmax_rows_gradient(d: &mut [f32], p: &[f32], dropped: &[f32], length: usize) {
        for ((d, p), dropped) in
            d.chunks_exact_mut(length).zip(p.chunks_exact(length)).zip(dropped.chunks_exact(length))
        {
            let total = dot(dropped, d) as f32;
            for ((d, p), dropped) in d.iter_mut().zip(p).zip(dropped) {
                *d = dropped.mul_add(*d, -(p * total));
            }
        }
    }
}
