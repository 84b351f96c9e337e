//! Layer normalisation, with the dropout and residual addition that come before it in every encoder layer.
//!
//! Source: Ba, Kiros and Hinton, "Layer normalization" (2016). Means and variances are summed in f64.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::dropout::{Dropout, MaskRow, mask_row};
use super::simd::{dot, sum, sum_squares, vectorized};
use super::{rows_per_task, storage};

/// Scale, shift and ε of one normalisation; both tensors are `[width]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm<'a> {
    pub(crate) gamma: &'a Tensor,
    pub(crate) beta: &'a Tensor,
    pub(crate) epsilon: f64,
}

/// Mean and reciprocal standard deviation of a row.
#[inline(always)]
fn statistics(row: &[f32], epsilon: f64) -> (f32, f32) {
    let width = row.len() as f64;
    let mean = (sum(row) / width) as f32;
    let variance = sum_squares(row, mean) / width;
    (mean, (1.0 / (variance + epsilon).sqrt()) as f32)
}

vectorized! {
    fn norm_row(row: &[f32], gamma: &[f32], beta: &[f32], epsilon: f64, out: &mut [f32]) {
        let (mean, scale) = statistics(row, epsilon);
        for (((x, gamma), beta), out) in row.iter().zip(gamma).zip(beta).zip(out) {
            *out = ((x - mean) * scale).mul_add(*gamma, *beta);
        }
    }

    fn add_row(sum: &mut [f32], row: &[f32]) {
        for (sum, x) in sum.iter_mut().zip(row) {
            *sum += x;
        }
    }

    fn add_bias_and_residual(row: &mut [f32], bias: &[f32], residual: &[f32], mask: Option<MaskRow>) {
        match mask {
            None => {
                for ((x, bias), residual) in row.iter_mut().zip(bias).zip(residual) {
                    *x = (*x + bias) + residual;
                }
            }
            Some(mask) => {
                for (column, ((x, bias), residual)) in row.iter_mut().zip(bias).zip(residual).enumerate() {
                    *x = (*x + bias).mul_add(mask.factor(column as u32), *residual);
                }
            }
        }
    }

    /// Turns `dy` into the gradient of the row and adds to the gradients of γ and β. `scratch` is `[width]`.
    fn norm_row_gradient(
        dy: &mut [f32], row: &[f32], gamma: &[f32], epsilon: f64, d_gamma: &mut [f32], d_beta: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (mean, scale) = statistics(row, epsilon);
        let normalised = scratch;
        for ((n, x), ((dy, gamma), (d_gamma, d_beta))) in
            normalised.iter_mut().zip(row).zip(dy.iter_mut().zip(gamma).zip(d_gamma.iter_mut().zip(d_beta)))
        {
            *n = (x - mean) * scale;
            *d_gamma = dy.mul_add(*n, *d_gamma);
            *d_beta += *dy;
            *dy *= gamma;
        }
        let width = row.len() as f64;
        let mean_g = (sum(dy) / width) as f32;
        let mean_gn = (dot(dy, normalised) / width) as f32;
        for (dy, n) in dy.iter_mut().zip(normalised) {
            *dy = scale * (n.mul_add(-mean_gn, *dy) - mean_g);
        }
    }
}

/// `out = norm(x)`, both `[tokens, width]`.
pub(crate) fn layer_norm(out: &Tensor, x: &Tensor, norm: &Norm<'_>) -> Result<()> {
    let (_, width) = x.dims2()?;
    storage::write(out, |out| {
        storage::read([x, norm.gamma, norm.beta], |[x, gamma, beta]| {
            let task = rows_per_task(width) * width;
            out.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(out, x)| {
                for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                    norm_row(x, gamma, beta, norm.epsilon, out);
                }
            });
            Ok(())
        })
    })
}

/// `x = dropout(x + bias) + residual` and `out = norm(x)`, all `[tokens, width]` but the bias, `[width]`.
pub(crate) fn add_norm(
    x: &Tensor,
    out: &Tensor,
    [bias, residual]: [&Tensor; 2],
    norm: &Norm<'_>,
    site: Option<&Dropout>,
) -> Result<()> {
    let (_, width) = x.dims2()?;
    let rows = rows_per_task(width);
    let task = rows * width;
    storage::write(x, |x| {
        storage::write(out, |out| {
            storage::read([bias, residual, norm.gamma, norm.beta], |[bias, residual, gamma, beta]| {
                let tasks =
                    x.par_chunks_mut(task).zip(out.par_chunks_mut(task)).zip(residual.par_chunks(task));
                tasks.enumerate().for_each(|(i, ((x, out), residual))| {
                    let lines = x.chunks_exact_mut(width).zip(out.chunks_exact_mut(width));
                    for (j, ((x, out), residual)) in lines.zip(residual.chunks_exact(width)).enumerate() {
                        let mask = site.map(|site| site.row((i * rows + j) as u64));
                        add_bias_and_residual(x, bias, residual, mask);
                        norm_row(x, gamma, beta, norm.epsilon, out);
                    }
                });
                Ok(())
            })
        })
    })
}

/// Backward of [`layer_norm`] and [`add_norm`].
///
/// `gradient` `[tokens, width]` holds ∂/∂out and becomes ∂/∂(normalised input), which is also ∂/∂residual.
/// `columns` `[2, width]` receives the gradients of γ and β. With a dropout site, `dropped` receives the gradient of
/// what went into the dropout.
pub(crate) fn norm_gradient(
    gradient: &Tensor,
    columns: &Tensor,
    x: &Tensor,
    norm: &Norm<'_>,
    dropped: Option<(&Dropout, &Tensor)>,
) -> Result<()> {
    match dropped {
        None => norm_gradient_into(gradient, columns, x, norm, None),
        Some((site, out)) => {
            storage::write(out, |out| norm_gradient_into(gradient, columns, x, norm, Some((site, out))))
        }
    }
}

/// Rows whose γ and β gradients are summed before they are added up: fixed, so that results do not depend on threads.
const ROWS: usize = 64;

fn norm_gradient_into(
    gradient: &Tensor,
    columns: &Tensor,
    x: &Tensor,
    norm: &Norm<'_>,
    dropped: Option<(&Dropout, &mut [f32])>,
) -> Result<()> {
    let (_, width) = x.dims2()?;
    let (site, mut dropped) = dropped.unzip();
    let mut masked: Vec<Option<&mut [f32]>> = match &mut dropped {
        Some(out) => out.chunks_mut(ROWS * width).map(Some).collect(),
        None => Vec::new(),
    };
    let work = |gradient: &mut [f32], columns: &mut [f32], [x, gamma]: [&[f32]; 2]| {
        masked.resize_with(x.len().div_ceil(ROWS * width), || None);
        let tasks = gradient.par_chunks_mut(ROWS * width).zip(x.par_chunks(ROWS * width)).zip(masked);
        let partial: Vec<Vec<f32>> = tasks
            .enumerate()
            .map(|(i, ((gradient, x), mut masked))| {
                let mut sums = vec![0f32; 3 * width];
                let (d_gamma, rest) = sums.split_at_mut(width);
                let (d_beta, scratch) = rest.split_at_mut(width);
                for (j, (dy, x)) in gradient.chunks_exact_mut(width).zip(x.chunks_exact(width)).enumerate() {
                    norm_row_gradient(dy, x, gamma, norm.epsilon, d_gamma, d_beta, scratch);
                    let out = masked.as_deref_mut().and_then(|m| m.get_mut(j * width..(j + 1) * width));
                    if let (Some(site), Some(out)) = (site, out) {
                        mask_row(site.row((i * ROWS + j) as u64), dy, out);
                    }
                }
                sums.truncate(2 * width);
                sums
            })
            .collect();
        columns.fill(0.0);
        partial.iter().for_each(|part| add_row(columns, part));
        Ok(())
    };
    storage::write(gradient, |gradient| {
        storage::write(columns, |columns| {
            storage::read([x, norm.gamma], |inputs| work(gradient, columns, inputs))
        })
    })
}
