//! Matrix products on strided views: the only file that calls the `gemm` crate, whose interface takes raw pointers.

use gemm::Parallelism;
use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

/// How many threads a product may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The calling one: for products that run side by side.
    One,
    /// All of the current rayon pool. The result does not depend on how many there are.
    Pool,
}

/// Rows from which on a thread of its own works out its part of a product quicker than all threads together.
const ROWS_OF_ONE: usize = 384;

/// `out = factor·a·b`, or `out += factor·a·b` with `accumulate`. `[m, n] = [m, k]·[k, n]`, any strides.
///
/// # Panics
/// When the shapes do not fit, which is a mistake in the calling kernel.
pub(crate) fn gemm(
    out: ArrayViewMut2<'_, f32>,
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
    let many = match threads {
        Threads::One => 1,
        Threads::Pool => rayon::current_num_threads(),
    };
    // Every element is summed in the same order either way. A `b` that has to be laid out anew is better shared.
    if many > 1 && m / many >= ROWS_OF_ONE && b.strides()[1] == 1 {
        parts(out, a, m.div_ceil(many))
            .into_par_iter()
            .for_each(|(out, a)| product(out, a, b, factor, accumulate, Parallelism::None));
    } else {
        let parallelism = if many > 1 { Parallelism::Rayon(many) } else { Parallelism::None };
        product(out, a, b, factor, accumulate, parallelism);
    }
}

/// Cuts two matrices below every `rows` rows.
fn parts<'v>(
    mut out: ArrayViewMut2<'v, f32>,
    a: ArrayView2<'v, f32>,
    rows: usize,
) -> Vec<(ArrayViewMut2<'v, f32>, ArrayView2<'v, f32>)> {
    let mut parts = Vec::new();
    let mut a = a;
    while a.nrows() > rows {
        let (this, rest) = out.split_at(Axis(0), rows);
        let (a_this, a_rest) = a.split_at(Axis(0), rows);
        parts.push((this, a_this));
        (out, a) = (rest, a_rest);
    }
    parts.push((out, a));
    parts
}

#[allow(unsafe_code)]
fn product(
    mut out: ArrayViewMut2<'_, f32>,
    a: ArrayView2<'_, f32>,
    b: ArrayView2<'_, f32>,
    factor: f32,
    accumulate: bool,
    parallelism: Parallelism,
) {
    let ((m, n), k) = (out.dim(), a.ncols());
    let (out_strides, a_strides, b_strides) =
        (out.strides().to_vec(), a.strides().to_vec(), b.strides().to_vec());
    // SAFETY: the three views are valid for their dimensions and strides (that is what an ndarray view is), `out` is
    // borrowed mutably and so overlaps neither `a` nor `b`, its elements are distinct, and the caller has seen to it that
    // the dimensions agree.
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

    #[test]
    fn a_product_has_the_same_bits_with_any_number_of_threads() {
        let (m, n, k) = (3 * ROWS_OF_ONE + 5, 70, 600);
        let a = Array2::from_shape_fn((m, k), |(i, j)| ((i * 7 + j * 3) % 11) as f32 / 7.0 - 0.5);
        let b = Array2::from_shape_fn((k, n), |(i, j)| ((i * 5 + j) % 13) as f32 / 3.0 - 1.5);
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut out = Array2::from_elem((m, n), 0.25);
            pool.install(|| gemm(out.view_mut(), a.view(), b.view(), 0.3, true, Threads::Pool));
            out
        };
        let alone = with(1);
        assert!(alone.iter().any(|v| *v != 0.25));
        assert!([2, 3, 4, 7].into_iter().all(|threads| with(threads) == alone));
    }
}
