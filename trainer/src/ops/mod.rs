//! The numeric kernels, one file each.
//!
//! A kernel writes into tensors it is given. Work is cut into pieces of fixed size, so that every result is the same
//! to the bit for any number of threads. Shapes are the caller's promise; indices have been checked before.
#![allow(clippy::indexing_slicing)] // Kernels index within lengths that their callers fix.

mod adamw;
mod attention;
mod average;
mod cross_entropy;
mod dropout;
mod embedding;
mod gelu;
mod gemm;
mod layer_norm;
mod linear;
mod rows;
mod simd;
mod storage;
mod workspace;

pub(crate) use adamw::{
    RowState, Update, accumulate, adamw, adamw_table, clear_rows, rows_in_use, sum_of_squares,
};
pub(crate) use attention::{Attention, attention, attention_gradient};
pub(crate) use average::average;
pub(crate) use cross_entropy::{CrossEntropy, cross_entropy};
pub(crate) use dropout::{Dropout, dropout};
pub(crate) use embedding::{LOOKUPS, Lookup, embed, embed_gradient};
pub(crate) use gelu::{gelu, gelu_gradient, gelu_in_place};
pub(crate) use layer_norm::{Norm, add_norm, layer_norm, norm_gradient};
pub(crate) use linear::{linear, linear_bias_gradient, linear_input_gradient, linear_weight_gradient};
pub(crate) use rows::{gather_rows, scatter_rows};
pub(crate) use storage::{with_elements, with_elements_mut};
pub(crate) use workspace::{Scratch, Workspace};

/// Elements one task of an element-wise kernel works on.
const ELEMENTS_PER_TASK: usize = 1 << 14;

/// Rows of `width` elements one task of a row-wise kernel works on.
fn rows_per_task(width: usize) -> usize {
    (ELEMENTS_PER_TASK / width.max(1)).max(1)
}
