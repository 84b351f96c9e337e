//! GELU in its exact (erf) form. The forward pass leaves the derivative where its input was, so that the backward
//! pass is one multiplication.
//!
//! Source: Hendrycks and Gimpel, "Gaussian error linear units" (2016): x·Φ(x).

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::simd::{normal, vectorized};
use super::{ELEMENTS_PER_TASK, storage};

vectorized! {
    fn activate(z: &mut [f32], out: &mut [f32]) {
        for (z, out) in z.iter_mut().zip(out) {
            let x = *z;
            let (cdf, density) = normal(x);
            *out = x * cdf;
            *z = x.mul_add(density, cdf);
        }
    }

    fn activate_in_place(z: &mut [f32]) {
        for z in z.iter_mut() {
            *z *= normal(*z).0;
        }
    }

    fn multiply(x: &mut [f32], factor: &[f32]) {
        for (x, factor) in x.iter_mut().zip(factor) {
            *x *= factor;
        }
    }
}

/// `out = gelu(z)` and `z = gelu'(z)`, element by element.
pub(crate) fn gelu(z: &Tensor, out: &Tensor) -> Result<()> {
    storage::write(z, |z| {
        storage::write(out, |out| {
            let tasks = z.par_chunks_mut(ELEMENTS_PER_TASK).zip(out.par_chunks_mut(ELEMENTS_PER_TASK));
            tasks.for_each(|(z, out)| activate(z, out));
            Ok(())
        })
    })
}

/// `z = gelu(z)`, for passes without a backward.
pub(crate) fn gelu_in_place(z: &Tensor) -> Result<()> {
    storage::write(z, |z| {
        z.par_chunks_mut(ELEMENTS_PER_TASK).for_each(activate_in_place);
        Ok(())
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
