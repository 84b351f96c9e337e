//! How far the inputs of the products reach, channel by channel, and the factors that tame their outliers.
//!
//! An int8 product rounds its whole input on one scale, so a single channel that reaches ten times as far as the rest
//! leaves the rest a tenth of the steps. Such channels are divided down to the reach of the others and their weights,
//! which have a scale per output, multiplied up. Source: SmoothQuant (Xiao et al. 2023), §4; only outliers are moved
//! here, as moving all channels made the second feed-forward product worse.

use std::collections::BTreeMap;
use std::sync::Mutex;

use candle_core::{Storage, Tensor};
use layoutlm_core::classifier::{ClassifierError, TokenClassifier};
use layoutlm_core::window::Window;
use layoutlm_trainer::model::{LayoutLm, PackedBatch};

use crate::graph::{Product, Smoothing};

/// Channels that may count as outliers.
const OUTLIERS: usize = 4;
/// An outlier reaches this many times as far as the furthest ordinary channel; less is not worth an operator.
const WORTH: f32 = 2.0;

/// Largest |value| of each input channel of each product, `[in]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Ranges(BTreeMap<(usize, Product), Vec<f32>>);

impl Ranges {
    /// Takes in some rows of one product's input, `[tokens, width]`.
    fn add(&mut self, product: (usize, Product), rows: &[f32], width: usize) {
        let largest = self.0.entry(product).or_insert_with(|| vec![0.0; width]);
        for row in rows.chunks(width.max(1)) {
            for (largest, value) in largest.iter_mut().zip(row) {
                // Not `max`, whose care for NaN would be most of the time; a NaN is found by the proof.
                *largest = if value.abs() > *largest { value.abs() } else { *largest };
            }
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

/// A model behind the classifier's seam that looks at what its products read while it answers.
#[derive(Debug)]
pub(crate) struct Observer<'m> {
    model: &'m LayoutLm,
    seen: Mutex<Ranges>,
}

impl<'m> Observer<'m> {
    pub(crate) fn new(model: &'m LayoutLm) -> Self {
        Self { model, seen: Mutex::default() }
    }

    /// What was seen so far.
    pub(crate) fn into_ranges(self) -> Ranges {
        self.seen.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn answer(&self, window: &Window) -> Result<Vec<f32>, ClassifierError> {
        let look = |layer: usize, inputs: [&Tensor; 4]| {
            let mut seen = self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            for (product, input) in Product::ALL.into_iter().zip(inputs) {
                let (_, width) = input.dims2()?;
                // Read in place: copies of all inputs would make the model look slow in the certificate.
                let (storage, layout) = input.storage_and_layout();
                let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets())
                else {
                    candle_core::bail!("the reference model's activations are not in memory in one piece");
                };
                let rows = storage.as_slice::<f32>()?.get(start..end).unwrap_or_default();
                seen.add((layer, product), rows, width);
            }
            Ok(())
        };
        let logits = self.model.forward_showing_products(&PackedBatch::pack(&[window]), look)?;
        Ok(logits.flatten_all()?.to_vec1()?)
    }
}

impl TokenClassifier for Observer<'_> {
    fn num_labels(&self) -> usize {
        self.model.num_labels()
    }

    fn logits(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ClassifierError> {
        windows.iter().map(|window| self.answer(window)).collect()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use layoutlm_core::bbox::NormalizedBox;
    use layoutlm_trainer::model::CandleClassifier;

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
    fn every_product_of_every_layer_is_measured_and_the_answer_is_the_models() {
        let model = LayoutLm::new(test_model::config(), test_model::weights(), &Device::Cpu).unwrap();
        let observer = Observer::new(&model);
        let answered = observer.logits(&[&window()]).unwrap();
        assert_eq!(answered, CandleClassifier::new(&model).logits(&[&window()]).unwrap());
        let ranges = observer.into_ranges();
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
