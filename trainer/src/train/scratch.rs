//! First weights of a model trained from nothing.

use layoutlm_core::config::ModelConfig;

use crate::weights::{Array, Weights};

/// Largest value of a table's sinusoids; the other tables are drawn with a deviation of 0.02.
const AMPLITUDE: f64 = 0.05;
/// Wavelengths run from 2π to 2π times this.
const LONGEST: f64 = 1000.0;

/// Random weights whose position tables (1-D and 2-D) are sinusoids.
///
/// With random rows every coordinate would have to be learned by itself; with sinusoids near coordinates look alike
/// from the start, which is what makes a few hundred receipts enough.
///
/// Source: Vaswani et al. 2017, §3.5 (the function; here only a starting point that is trained like any weight).
pub(super) fn weights(config: &ModelConfig, labels: usize, seed: u64) -> Weights {
    let mut weights = Weights::random(config, labels, seed);
    for (place, name) in ["", "x_", "y_", "h_", "w_"].into_iter().enumerate() {
        let name = format!("layoutlm.embeddings.{name}position_embeddings.weight");
        if let Some(table) = weights.remove(&name) {
            weights.insert(name, sinusoids(table.shape, place));
        }
    }
    weights
}

/// Tables take their dimensions in different orders (`place`), so that their sum keeps them apart.
fn sinusoids(shape: Vec<usize>, place: usize) -> Array {
    let width = shape.last().copied().unwrap_or(1).max(1);
    let rows = shape.first().copied().unwrap_or(0);
    let value = |row: usize, column: usize| {
        let turned = (column + place * width / 5) % width;
        let pair = (turned / 2 * 2) as f64 / width as f64;
        let angle = row as f64 / LONGEST.powf(pair) + place as f64;
        let wave = if turned.is_multiple_of(2) { angle.sin() } else { angle.cos() };
        (AMPLITUDE * wave) as f32
    };
    let data = (0..rows).flat_map(|row| (0..width).map(move |column| value(row, column))).collect();
    Array { shape, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_rows_look_alike_and_tables_differ() {
        let (a, b) = (sinusoids(vec![100, 16], 0), sinusoids(vec![100, 16], 1));
        let row = |t: &Array, r: usize| t.data[r * 16..(r + 1) * 16].to_vec();
        let distance = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        assert!(distance(&row(&a, 10), &row(&a, 11)) < distance(&row(&a, 10), &row(&a, 60)));
        assert_ne!(a.data, b.data);
    }
}
