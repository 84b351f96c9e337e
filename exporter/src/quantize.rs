//! Symmetric int8: value ≈ scale × q, q in −127..=127, zero point 0.
//!
//! −128 is never used, so that a weight and its negative quantise alike.

use layoutlm_trainer::weights::Array;

const LARGEST: f32 = 127.0;
/// Keeps an all-zero channel from dividing by zero.
const SMALLEST_SCALE: f32 = 1e-12;

/// 1.5 · 2²³: where f32 has no digits behind the point, so that adding it rounds, ties to even.
const ROUNDS: f32 = 12_582_912.0;

/// One element under a scale; ties go to even. (The library's rounding is a call for each element on processors of the
/// baseline, and most of the time of writing int8.)
pub(crate) fn quantize(value: f32, scale: f32) -> i8 {
    let steps = (value / scale).clamp(-LARGEST, LARGEST);
    ((steps + ROUNDS) - ROUNDS) as i8
}

/// The scale of each row of a `[rows, columns]` array: of each output channel of a linear weight, `[rows]`. Columns are
/// multiplied by `factors` first, where there are any.
pub(crate) fn row_scales(array: &Array, factors: &[f32]) -> Vec<f32> {
    let columns = array.shape.last().copied().unwrap_or(1).max(1);
    let factors = || factors.iter().copied().chain(std::iter::repeat(1.0));
    let largest = |row: &[f32]| row.iter().zip(factors()).fold(0.0f32, |m, (v, f)| m.max((v * f).abs()));
    array.data.chunks(columns).map(|row| (largest(row) / LARGEST).max(SMALLEST_SCALE)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_the_librarys() {
        for step in -130_000i32..130_000 {
            let value = step as f32 / 1000.0;
            assert_eq!(
                quantize(value, 1.0),
                value.round_ties_even().clamp(-LARGEST, LARGEST) as i8,
                "{value}"
            );
        }
        assert_eq!([0.5, 1.5, 2.5, -0.5, -1.5].map(|v| quantize(v, 1.0)), [0, 2, 2, 0, -2]);
    }

    #[test]
    fn the_largest_element_of_a_row_maps_to_127_and_every_error_is_within_half_a_step() {
        let data = vec![0.5, -2.0, 1.99, 0.0, 0.0, 0.0];
        let array = Array { shape: vec![2, 3], data: data.clone() };
        let scales = row_scales(&array, &[]);
        assert_eq!(row_scales(&array, &[4.0, 0.5, 1.0])[0], 2.0 / 127.0);
        assert_eq!(quantize(-2.0, scales[0]), -127);
        for (i, v) in data.iter().enumerate() {
            let scale = scales[i / 3];
            assert!((f32::from(quantize(*v, scale)) * scale - v).abs() <= scale / 2.0 + 1e-9);
        }
        assert_eq!(quantize(0.0, scales[1]), 0);
    }
}
