//! How far the inputs of the products reach, channel by channel, and the factors that tame their outliers.
//!
//! An int8 product rounds its whole input on one scale, so a single channel that reaches ten times as far as the rest
//! leaves the rest a tenth of the steps. Such channels are divided down to the reach of the others and their weights,
//! which have a scale per output, multiplied up. Source: SmoothQuant (Xiao et al. 2023), §4; only outliers are moved
//! here, as moving all channels made the second feed-forward product worse.

use std::collections::BTreeMap;

use layoutlm_core::window::Window;
use layoutlm_trainer::model::{LayoutLm, ModelError, PackedBatch};

use crate::graph::{Product, Smoothing};

/// Windows looked at; more move no maximum that matters.
const WINDOWS: usize = 32;
/// Channels that may count as outliers.
const OUTLIERS: usize = 4;
/// An outlier reaches this many times as far as the furthest ordinary channel; less is not worth an operator.
const WORTH: f32 = 2.0;

/// Largest |value| of each input channel of each product, `[in]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Ranges(BTreeMap<(usize, Product), Vec<f32>>);

impl Ranges {
    /// Runs a model over some of the windows, evenly spread.
    ///
    /// # Errors
    /// [`ModelError`].
    pub(crate) fn measure(model: &LayoutLm, windows: &[&Window]) -> Result<Self, ModelError> {
        let mut ranges = Self::default();
        let step = windows.len().div_ceil(WINDOWS).max(1);
        for window in windows.iter().step_by(step).filter(|w| !w.is_empty()) {
            model.product_inputs(&PackedBatch::pack(&[window]), |layer, inputs| {
                for (product, input) in Product::ALL.into_iter().zip(inputs) {
                    let (_, width) = input.dims2()?;
                    ranges.add((layer, product), &input.flatten_all()?.to_vec1::<f32>()?, width);
                }
                Ok(())
            })?;
        }
        Ok(ranges)
    }

    /// Takes in some rows of one product's input, `[tokens, width]`.
    fn add(&mut self, product: (usize, Product), rows: &[f32], width: usize) {
        let largest = self.0.entry(product).or_insert_with(|| vec![0.0; width]);
        for row in rows.chunks(width.max(1)) {
            largest.iter_mut().zip(row).for_each(|(max, value)| *max = max.max(value.abs()));
        }
    }

    /// Factors of the products that have outliers, 1 for ordinary channels.
    pub(crate) fn smoothing(&self) -> Smoothing {
        let factors = |channels: &Vec<f32>| {
            let mut sorted = channels.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let ordinary = sorted.get(OUTLIERS.min(channels.len() / 8)).copied().unwrap_or(0.0);
            let furthest = sorted.first().copied().unwrap_or(0.0);
            let worth = ordinary > 0.0 && furthest.is_finite() && furthest >= WORTH * ordinary;
            worth.then(|| channels.iter().map(|c| (c / ordinary).max(1.0)).collect())
        };
        self.0.iter().filter_map(|(&product, channels)| Some((product, factors(channels)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use layoutlm_core::bbox::NormalizedBox;

    use super::*;
    use crate::test_model;

    fn window() -> Window {
        Window {
            word_indices: vec![0],
            input_ids: vec![2, 7, 9, 3],
            bbox: vec![NormalizedBox::ZERO; 4],
            word_ids: vec![None, Some(0), Some(0), None],
        }
    }

    #[test]
    fn every_product_of_every_layer_is_measured() {
        let model = LayoutLm::new(test_model::config(), test_model::weights(), &Device::Cpu).unwrap();
        let ranges = Ranges::measure(&model, &[&window()]).unwrap();
        assert_eq!(ranges.0.len(), 8);
        assert_eq!(ranges.0[&(1, Product::Output)].len(), 24);
        let input = &ranges.0[&(0, Product::Qkv)];
        assert!(input.len() == 16 && input.iter().all(|v| *v > 0.0));
    }

    #[test]
    fn only_outliers_are_divided_down_to_the_reach_of_the_rest() {
        let mut ranges = Ranges::default();
        let mut row = vec![1.0; 64];
        (row[5], row[6]) = (-30.0, 3.0);
        row[7..11].fill(2.0);
        ranges.add((0, Product::Intermediate), &row, 64);
        ranges.add((0, Product::Output), &[1.0; 64], 64);
        let smoothing = ranges.smoothing();
        assert_eq!(smoothing.keys().collect::<Vec<_>>(), [&(0, Product::Intermediate)]);
        let factors = &smoothing[&(0, Product::Intermediate)];
        assert_eq!((factors[5], factors[6], factors[0], factors[7]), (15.0, 1.5, 1.0, 1.0));
    }
}
