//! Matrix products on strided views: the only file that calls the `gemm` crate, whose interface takes raw pointers.

use gemm::Parallelism;
use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

/// Who works out a product. The result does not depend on how many threads there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The calling one: for products that run side by side.
    One,
    /// All of the current rayon pool, each with rows of `out` and `a` of its own.
    Rows,
    /// All of the current rayon pool, each with columns of `out` and `b` of its own.
    Columns,
}

/// Rows or columns from which on a thread is worth its own share.
const SHARE: usize = 192;
/// The kernel's tile: shares are whole numbers of it.
const TILE: usize = 64;

/// `out = factor·a·b`, or `out += factor·a·b` with `accumulate`. `[m, n] = [m, k]·[k, n]`, any strides.
///
/// The `gemm` crate packs one of the matrices on a single thread while the others wait, which takes long for a weight
/// that comes from main memory. Cut along that matrix, every thread packs its own share.
///
/// # Panics
/// When the shapes do not fit, which is a mistake in the calling kernel.
pub(crate) fn gemm(
    mut out: ArrayViewMut2<'_, f32>,
    a: ArrayView2<'_, f32>,
    b: ArrayView2<'_, f32>,
    factor: f32,
    accumulate: bool,
    threads: Threads,
) {
    sizes(&out, &a, &b);
    let axis = match threads {
        Threads::One => return product(out, a, b, factor, accumulate, 1),
        Threads::Rows => Axis(0),
        Threads::Columns => Axis(1),
    };
    let (length, pool) = (out.len_of(axis), rayon::current_num_threads());
    let shares = (length / SHARE).clamp(1, pool);
    let width = length.div_ceil(shares).max(1).next_multiple_of(TILE);
    let outs = out.axis_chunks_iter_mut(axis, width);
    let tasks: Vec<_> = match threads {
        Threads::Rows => outs.zip(a.axis_chunks_iter(axis, width)).map(|(out, a)| (out, a, b)).collect(),
        _ => outs.zip(b.axis_chunks_iter(axis, width)).map(|(out, b)| (out, a, b)).collect(),
    };
    let tasks = tasks.into_par_iter().with_max_len(1);
    tasks.for_each(|(out, a, b)| product(out, a, b, factor, accumulate, pool / shares));
}

/// (m, n, k) of a product whose shapes fit.
fn sizes(
    out: &ArrayViewMut2<'_, f32>,
    a: &ArrayView2<'_, f32>,
    b: &ArrayView2<'_, f32>,
) -> (usize, usize, usize) {
    let ((m, n), (rows, k), (depth, columns)) = (out.dim(), a.dim(), b.dim());
    assert!(
        m == rows && n == columns && k == depth,
        "product of {rows}x{k} and {depth}x{columns} into {m}x{n}"
    );
    (m, n, k)
}

/// One product on `threads` threads.
#[allow(unsafe_code)]
fn product(
    mut out: ArrayViewMut2<'_, f32>,
    a: ArrayView2<'_, f32>,
    b: ArrayView2<'_, f32>,
    factor: f32,
    accumulate: bool,
    threads: usize,
) {
    let (m, n, k) = sizes(&out, &a, &b);
    let parallelism = if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::None };
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

    /// A product in a pool of so many threads.
    fn product_in(pool: usize, a: &Array2<f32>, b: ArrayView2<'_, f32>, threads: Threads) -> Array2<f32> {
        let mut out = Array2::from_elem((a.nrows(), b.ncols()), 1.0);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(pool).build().unwrap();
        pool.install(|| gemm(out.view_mut(), a.view(), b, 0.5, true, threads));
        out
    }

    #[test]
    fn strided_products_agree_with_the_definition() {
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (1, 40, 33), (65, 1, 70), (70, 90, 600), (450, 500, 20)] {
            let a = Array2::from_shape_fn((m, k), |(i, j)| ((i * 7 + j * 3) % 11) as f32 - 5.0);
            let b = Array2::from_shape_fn((n, k), |(i, j)| ((i * 5 + j) % 7) as f32 - 3.0);
            for threads in [Threads::One, Threads::Rows, Threads::Columns] {
                let out = product_in(3, &a, b.t(), threads);
                for ((i, j), &value) in out.indexed_iter() {
                    let exact: f32 = (0..k).map(|l| a[[i, l]] * b[[j, l]]).sum();
                    assert_eq!(value, 1.0 + 0.5 * exact, "{m}x{n}x{k} at {i},{j}, {threads:?}");
                }
            }
        }
    }

    #[test]
    fn shares_do_not_change_a_bit() {
        let a = Array2::from_shape_fn((700, 1100), |(i, j)| ((i * 31 + j * 17) as f32).sin());
        let b = Array2::from_shape_fn((1000, 1100), |(i, j)| ((i * 13 + j * 7) as f32).cos());
        let alone = product_in(1, &a, b.t(), Threads::One).mapv(f32::to_bits);
        for pool in [1, 2, 3, 4, 7] {
            for threads in [Threads::Rows, Threads::Columns] {
                let bits = product_in(pool, &a, b.t(), threads).mapv(f32::to_bits);
                assert!(bits == alone, "{threads:?} of {pool} threads");
            }
        }
    }
}
