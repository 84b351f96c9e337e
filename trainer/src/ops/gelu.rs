//! GELU in its exact (erf) form. The forward pass leaves the derivative where its input was, so that the backward
//! pass is one multiplication.
//!
//! Source: Hendrycks and Gimpel, "Gaussian error linear units" (2016): x·Φ(x).

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::simd::{normal, vectorized};
use super::{ELEMENTS_PER_TASK, rows_per_task, storage};

vectorized! {
    fn activate(z: &mut [f32], bias: &[f32], out: &mut [f32]) {
        for ((z, bias), out) in z.iter_mut().zip(bias).zip(out) {
            let x = *z + bias;
            let (cdf, density) = normal(x);
            *out = x * cdf;
            *z = x.mul_add(density, cdf);
        }
    }

    fn activate_in_place(z: &mut [f32], bias: &[f32]) {
        for (z, bias) in z.iter_mut().zip(bias) {
            let x = *z + bias;
            *z = x * normal(x).0;
        }
    }

    fn multiply(x: &mut [f32], factor: &[f32]) {
        for (x, factor) in x.iter_mut().zip(factor) {
            *x *= factor;
        }
    }
}

/// `out = gelu(z + bias)` and `z = gelu'(z + bias)`; `[rows, width]` with a bias `[width]`.
pub(crate) fn gelu(z: &Tensor, bias: &Tensor, out: &Tensor) -> Result<()> {
    let (_, width) = z.dims2()?;
    let task = rows_per_task(width) * width;
    storage::write(z, |z| {
        storage::write(out, |out| {
            storage::read([bias], |[bias]| {
                z.par_chunks_mut(task).zip(out.par_chunks_mut(task)).for_each(|(z, out)| {
                    for (z, out) in z.chunks_exact_mut(width).zip(out.chunks_exact_mut(width)) {
                        activate(z, bias, out);
                    }
                });
                Ok(())
            })
        })
    })
}

/// `z = gelu(z + bias)`, for passes without a backward.
pub(crate) fn gelu_in_place(z: &Tensor, bias: &Tensor) -> Result<()> {
    let (_, width) = z.dims2()?;
    storage::write(z, |z| {
        storage::read([bias], |[bias]| {
            z.par_chunks_mut(rows_per_task(width) * width).for_each(|rows| {
                rows.chunks_exact_mut(width).for_each(|row| activate_in_place(row, bias));
            });
            Ok(())
        })
    })
}

/// `gradient = gradient ∘ derivative`, with the derivative that [`gelu`] left.
pub(crate) fn gelu_gradient(gradient: &Tensor, derivative: &Tensor) -> Result<()> {
    storage::write(gradient, |gradient| {
        storage::read([derivative], |[derivative]| {
            let tasks =
                gradient.par_chunks_mut(ELEMENTS_PER_TASK).zip(derivative.par_chunks(ELEMENTS_PER_TASK));
            tasks.for_each(|(gradient, derivative)| multiply(gradient, derivative));
            Ok(())
        })
    })
}
