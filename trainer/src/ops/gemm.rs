//! Matrix products on strided views: the only file that calls the `gemm` crate, whose interface takes raw pointers.

use gemm::Parallelism;
use ndarray::{ArrayView2, ArrayViewMut2};

/// How many threads a product may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The calling one: for products that run side by side.
    One,
    /// All of the current rayon pool. The result does not depend on how many there are.
    Pool,
}

/// `out = factor·a·b`, or `out += factor·a·b` with `accumulate`. `[m, n] = [m, k]·[k, n]`, any strides.
///
/// # Panics
/// When the shapes do not fit, which is a mistake in the calling kernel.
#[allow(unsafe_code)]
pub(crate) fn gemm(
    mut out: ArrayViewMut2<'_, f32>,
    a: ArrayView2<'_, f32>,
    b: ArrayView2<'_, f32>,
    factor: f32,
    accumulate: bool,
    threads: Threads,
) {
    let ((m, n), (rows, k), (depth, columns)) = (out.dim(), a.dim(), b.dim());
    assert!(
        m == rows && n == columns && k == depth,
        "product of {rows}x{k} and {depth}x{columns} into {m}x{n}"
    );
    let parallelism = match threads {
        Threads::One => Parallelism::None,
        Threads::Pool => match rayon::current_num_threads() {
            1 => Parallelism::None,
            many => Parallelism::Rayon(many),
        },
    };
    let (out_strides, a_strides, b_strides) =
        (out.strides().to_vec(), a.strides().to_vec(), b.strides().to_vec());
    // SAFETY: the three views are valid for their dimensions and strides (that is what an ndarray view is), `out` is
    // borrowed mutably and so overlaps neither `a` nor `b`, its elements are distinct, and the dimensions agree.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            out_strides[1],
            out_strides[0],
            accumulate,
            a.as_ptr(),
            a_strides[1],
            a_strides[0],
            b.as_ptr(),
            b_strides[1],
            b_strides[0],
            1.0,
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// A row-major view of a slice, `None`-free: a slice of another length is a mistake in the calling kernel.
pub(crate) fn matrix(data: &[f32], rows: usize, columns: usize) -> candle_core::Result<ArrayView2<'_, f32>> {
    ArrayView2::from_shape((rows, columns), data).map_err(candle_core::Error::wrap)
}

/// As [`matrix`], for writing.
pub(crate) fn matrix_mut(
    data: &mut [f32],
    rows: usize,
    columns: usize,
) -> candle_core::Result<ArrayViewMut2<'_, f32>> {
    ArrayViewMut2::from_shape((rows, columns), data).map_err(candle_core::Error::wrap)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn strided_products_agree_with_the_definition() {
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (1, 40, 33), (65, 1, 70), (70, 90, 600)] {
            let a = Array2::from_shape_fn((m, k), |(i, j)| ((i * 7 + j * 3) % 11) as f32 - 5.0);
            let b = Array2::from_shape_fn((n, k), |(i, j)| ((i * 5 + j) % 7) as f32 - 3.0);
            let mut out = Array2::from_elem((m, n), 1.0);
            gemm(out.view_mut(), a.view(), b.t(), 0.5, true, Threads::Pool);
            for ((i, j), &value) in out.indexed_iter() {
                let exact: f32 = (0..k).map(|l| a[[i, l]] * b[[j, l]]).sum();
                assert_eq!(value, 1.0 + 0.5 * exact, "{m}x{n}x{k} at {i},{j}");
            }
        }
    }
}
