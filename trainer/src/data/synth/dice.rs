//! Draws for the generator, each receipt and merchant from a stream of its own.

use super::super::python_random::PythonRandom;

/// A stream of draws.
#[derive(Debug)]
pub(super) struct Dice(PythonRandom);

impl Dice {
    /// The stream of a seed and a path of numbers, e.g. part and index.
    pub(super) fn new(seed: u64, path: &[u64]) -> Self {
        let mixed = path.iter().fold(seed ^ 0x51_7C_C1_B7_27_22_0A_95, |state, step| {
            (state ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15))
                .rotate_left(23)
                .wrapping_mul(0xBF58_476D_1CE4_E5B9)
        });
        Self(PythonRandom::new(mixed))
    }

    /// 0 to `bound - 1`; 0 for a bound of 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound)
    }

    /// `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below((high.max(low) - low + 1) as usize) as u32
    }

    /// `low` to `high` as a float.
    pub(super) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.random()
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.0.random() < p
    }

    /// One of the items; the default of the type when there is none.
    pub(super) fn pick<T: Copy + Default>(&mut self, items: &[T]) -> T {
        let index = self.below(items.len());
        items.get(index).copied().unwrap_or_default()
    }

    /// `count` decimal digits.
    pub(super) fn digits(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }
}
