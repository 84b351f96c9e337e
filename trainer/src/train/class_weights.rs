//! The loss of a run: smoothing, class weights from the training windows, the factor on product labels.

use layoutlm_core::label::{LabelId, LabelSet};

use super::examples::Example;
use crate::config::{ClassWeights, PRODUCT_DETAIL, TrainConfig};
use crate::loss::{LossConfig, Normalization};

pub(super) fn loss_config(config: &TrainConfig, labels: &LabelSet, examples: &[Example]) -> LossConfig {
    let class_weights = class_weights(config, labels, examples);
    let normalization = if class_weights.is_some() { Normalization::WeightSum } else { Normalization::Items };
    LossConfig { label_smoothing: config.label_smoothing, class_weights, normalization }
}

/// total / (classes · count) of each class, clipped, and the product classes times their factor, clipped anew.
fn class_weights(config: &TrainConfig, labels: &LabelSet, examples: &[Example]) -> Option<Vec<f32>> {
    let factor = config.product_detail_loss_weight;
    if config.class_weights == ClassWeights::None && factor == 1.0 {
        return None;
    }
    let (low, high) = (config.class_weight_min, config.class_weight_max);
    let mut counts = vec![0usize; labels.len()];
    for label in examples.iter().flat_map(labelled_words) {
        if let Some(count) = counts.get_mut(label.index()) {
            *count += 1;
        }
    }
    let total: usize = counts.iter().sum();
    let weight = |(index, &count): (usize, &usize)| {
        let balanced = match (config.class_weights, count) {
            (ClassWeights::None, _) | (_, 0) => 1.0,
            (ClassWeights::Balanced, n) => (total as f64 / (labels.len() * n) as f64).clamp(low, high),
        };
        let kind = labels.at(index).and_then(|id| labels.tag(id).entity());
        let weight = match kind.filter(|k| PRODUCT_DETAIL.contains(k)) {
            Some(_) if factor != 1.0 => (balanced * factor).clamp(low, high * factor.max(1.0)),
            _ => balanced,
        };
        weight as f32
    };
    Some(counts.iter().enumerate().map(weight).collect())
}

fn labelled_words(example: &Example) -> impl Iterator<Item = LabelId> + '_ {
    example.window.first_subtokens().filter_map(|(_, word)| example.labels.get(word).copied().flatten())
}

#[cfg(test)]
mod tests {
    use layoutlm_core::bbox::NormalizedBox;
    use layoutlm_core::window::Window;

    use super::*;

    /// One window of one-token words with these tags.
    fn example(labels: &LabelSet, tags: &[&str]) -> Example {
        let words = tags.len();
        let inner = (0..words as u32).map(Some);
        Example {
            receipt: "a".into(),
            window: Window {
                word_indices: (0..words).collect(),
                input_ids: vec![7; words + 2],
                bbox: vec![NormalizedBox::ZERO; words + 2],
                word_ids: std::iter::once(None).chain(inner).chain([None]).collect(),
            },
            labels: tags.iter().map(|t| labels.id(t)).collect(),
            tags: tags.iter().map(ToString::to_string).collect(),
        }
    }

    fn weights(config: TrainConfig) -> Option<Vec<f32>> {
        let labels = LabelSet::from_entities(["DATE", "QUANTITY"].map(String::from)).unwrap();
        let tags: Vec<&str> = ["O"; 40].into_iter().chain(["B-DATE"; 2]).chain(["B-QUANTITY"; 8]).collect();
        class_weights(&config, &labels, &[example(&labels, &tags)])
    }

    /// In the order O, B-DATE, B-QUANTITY, I-DATE, I-QUANTITY; the last two never occur.
    #[test]
    fn balanced_weights_are_total_over_classes_times_count_within_the_clip() {
        let balanced = TrainConfig { class_weights: ClassWeights::Balanced, ..TrainConfig::default() };
        assert_eq!(weights(balanced.clone()).unwrap(), [0.3, 5.0, 1.25, 1.0, 1.0]);
        let wide = TrainConfig { class_weight_min: 0.1, class_weight_max: 4.0, ..balanced };
        assert_eq!(weights(wide).unwrap(), [0.25, 4.0, 1.25, 1.0, 1.0]);
        assert_eq!(weights(TrainConfig::default()), None);
    }

    #[test]
    fn the_product_factor_multiplies_its_classes_and_widens_their_clip() {
        let alone = TrainConfig { product_detail_loss_weight: 3.0, ..TrainConfig::default() };
        assert_eq!(weights(alone.clone()).unwrap(), [1.0, 1.0, 3.0, 1.0, 3.0]);
        let both = TrainConfig { class_weights: ClassWeights::Balanced, ..alone };
        assert_eq!(weights(both.clone()).unwrap(), [0.3, 5.0, 3.75, 1.0, 3.0]);
        let clipped = TrainConfig { product_detail_loss_weight: 100.0, ..both.clone() };
        assert_eq!(weights(clipped).unwrap()[2], 125.0);
        let little = TrainConfig { product_detail_loss_weight: 0.01, ..both };
        assert_eq!(weights(little).unwrap()[2], 0.3);
    }
}
