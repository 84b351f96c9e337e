//! Logits → probabilities → class ids: the softmax and the two decodings every program shares.
//!
//! Promises: one class per word, the same on every machine for the same numbers, and no panic whatever the numbers
//! are. A class whose score is NaN never wins. Does not merge windows; rows arrive as one per word.

use crate::encoding::Decoding;
use crate::label::{LabelId, LabelSet, Tag};

/// ln p of a class that the network gave no probability; far below the smallest `f32` (ln ≈ -103), so that a path
/// takes such a class only where every allowed path must.
const IMPOSSIBLE: f64 = -1e6;

/// Class probabilities of one row of logits, `[labels]` → `[labels]`, summing to 1.
///
/// Logits are divided by `temperature` (finite, above 0; [`crate::encoding::Encoding::check`] sees to it). Computed in
/// `f64` around the largest logit, so large logits do not overflow. NaN logits get probability 0; a row with nothing
/// to choose from (all NaN or −∞, or a temperature that is no number) is all zeros and so decodes to `O`.
pub fn softmax(logits: &[f32], temperature: f32) -> Vec<f32> {
    let top = logits.iter().copied().filter(|l| !l.is_nan()).fold(f32::NEG_INFINITY, f32::max);
    let weight = |&logit: &f32| {
        // Infinite logits: equal ones share, and their difference must not become NaN.
        let distance = if logit == top { 0.0 } else { f64::from(logit) - f64::from(top) };
        let weight = (distance / f64::from(temperature)).exp();
        if weight.is_finite() && logit > f32::NEG_INFINITY { weight } else { 0.0 }
    };
    let weights: Vec<f64> = logits.iter().map(weight).collect();
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 && sum.is_finite() {
        weights.into_iter().map(|w| (w / sum) as f32).collect()
    } else {
        vec![0.0; logits.len()]
    }
}

/// The class of every word from its class probabilities, `[words, labels]` row-major.
///
/// A row without any positive number (a word without a token) is `O` under either decoding, and an `I-X` can't
/// continue across it. A last row that is too short counts as filled up with zeros.
pub fn decode(probabilities: &[f32], labels: &LabelSet, decoding: Decoding) -> Vec<LabelId> {
    match decoding {
        Decoding::Argmax => probabilities.chunks(labels.len()).map(|row| argmax(row, labels)).collect(),
        Decoding::Bio => Viterbi::new(labels).decode(probabilities),
    }
}

/// The first of the largest positive entries, or `O`.
fn argmax(row: &[f32], labels: &LabelSet) -> LabelId {
    let mut best = (LabelId::OUTSIDE, 0.0f32);
    for (index, &p) in row.iter().enumerate() {
        // NaN compares false; ties keep the lower id.
        if p > best.1 {
            best = (labels.at(index).unwrap_or(LabelId::OUTSIDE), p);
        }
    }
    best.0
}

/// The most probable tag sequence in which every `I-X` follows a `B-X` or `I-X`.
struct Viterbi<'a> {
    labels: &'a LabelSet,
    /// Per class: the classes it may follow; `None` when it may follow any and begin a sequence.
    follows: Vec<Option<Vec<usize>>>,
}

impl<'a> Viterbi<'a> {
    fn new(labels: &'a LabelSet) -> Self {
        let kinds: Vec<Tag<'_>> =
            labels.tags().iter().map(|t| Tag::parse(t).unwrap_or(Tag::Outside)).collect();
        let follows = kinds
            .iter()
            .map(|tag| match tag {
                Tag::Inside(kind) => {
                    let same = |(_, before): &(usize, &Tag<'_>)| before.entity() == Some(kind);
                    Some(kinds.iter().enumerate().filter(same).map(|(id, _)| id).collect())
                }
                _ => None,
            })
            .collect();
        Self { labels, follows }
    }

    fn decode(&self, probabilities: &[f32]) -> Vec<LabelId> {
        let classes = self.labels.len();
        let mut scores: Vec<f64> = Vec::new();
        let mut came_from: Vec<Vec<usize>> = Vec::new();
        for row in probabilities.chunks(classes) {
            let (next, back) = self.step(&scores, &emissions(row, classes));
            scores = next;
            came_from.push(back);
        }
        let mut class = best_of(&scores, 0..scores.len()).unwrap_or(0);
        let mut path = Vec::with_capacity(came_from.len());
        for back in came_from.iter().rev() {
            path.push(self.labels.at(class).unwrap_or(LabelId::OUTSIDE));
            class = back.get(class).copied().unwrap_or(0);
        }
        path.reverse();
        path
    }

    /// Best scores of the paths that end in each class at this word, and the class each came from.
    fn step(&self, before: &[f64], emissions: &[f64]) -> (Vec<f64>, Vec<usize>) {
        let first = before.is_empty();
        let any = best_of(before, 0..before.len());
        self.follows
            .iter()
            .zip(emissions)
            .map(|(follows, &emission)| {
                let from = match follows {
                    None => any,
                    Some(allowed) => best_of(before, allowed.iter().copied()),
                };
                let so_far = match from.and_then(|id| before.get(id)) {
                    Some(&score) => score,
                    None if first && follows.is_none() => 0.0,
                    None => f64::NEG_INFINITY,
                };
                (so_far + emission, from.unwrap_or(0))
            })
            .unzip()
    }
}

/// The first id with the highest score among `ids`.
fn best_of(scores: &[f64], ids: impl Iterator<Item = usize>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for id in ids {
        let Some(&score) = scores.get(id) else { continue };
        if best.is_none_or(|(_, top)| score > top) {
            best = Some((id, score));
        }
    }
    best.map(|(id, _)| id)
}

/// ln p of each class; a row without a positive number allows nothing but `O`.
fn emissions(row: &[f32], classes: usize) -> Vec<f64> {
    if !row.iter().any(|&p| p > 0.0) {
        return (0..classes).map(|id| if id == 0 { 0.0 } else { f64::NEG_INFINITY }).collect();
    }
    let ln = |id: usize| match row.get(id) {
        Some(&p) if p > 0.0 => f64::from(p.min(f32::MAX)).ln(),
        _ => IMPOSSIBLE,
    };
    (0..classes).map(ln).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels() -> LabelSet {
        LabelSet::from_entities(["A".to_string(), "B".to_string()]).unwrap() // O B-A B-B I-A I-B
    }

    fn names(probabilities: &[f32], decoding: Decoding) -> Vec<String> {
        let labels = labels();
        decode(probabilities, &labels, decoding).iter().map(|&id| labels.name(id).to_string()).collect()
    }

    /// ln p of a sequence, or `None` where BIO forbids it.
    fn score(path: &[usize], probabilities: &[f32], labels: &LabelSet) -> Option<f64> {
        let mut total = 0.0;
        let mut before = Tag::Outside;
        for (row, &id) in probabilities.chunks(labels.len()).zip(path) {
            let tag = labels.tag(labels.at(id).unwrap());
            if matches!(tag, Tag::Inside(kind) if before.entity() != Some(kind)) {
                return None;
            }
            total += f64::from(row[id]).ln();
            before = tag;
        }
        Some(total)
    }

    #[test]
    fn softmax_sums_to_one_and_survives_large_and_broken_logits() {
        assert_eq!(softmax(&[0.0, 0.0], 1.0), [0.5, 0.5]);
        assert_eq!(softmax(&[1e30, 0.0], 1.0), [1.0, 0.0]);
        assert_eq!(softmax(&[f32::INFINITY, f32::INFINITY, 3.0], 1.0), [0.5, 0.5, 0.0]);
        assert_eq!(softmax(&[f32::NAN, 2.0, f32::NEG_INFINITY], 1.0), [0.0, 1.0, 0.0]);
        assert_eq!(softmax(&[f32::NAN, f32::NEG_INFINITY], 1.0), [0.0, 0.0]);
        assert_eq!(softmax(&[1.0, 2.0], f32::NAN), [0.0, 0.0]);
        assert!(softmax(&[], 1.0).is_empty());
    }

    #[test]
    fn a_higher_temperature_flattens() {
        let (sharp, flat) = (softmax(&[2.0, 0.0], 1.0), softmax(&[2.0, 0.0], 4.0));
        assert!(
            (sharp[0] - 0.880_797).abs() < 1e-6 && (flat[0] - 0.622_459_3).abs() < 1e-6,
            "{sharp:?} {flat:?}"
        );
    }

    #[test]
    fn argmax_gives_ties_to_the_lowest_id_and_empty_rows_to_o() {
        let rows = [[0.1, 0.3, 0.3, 0.3, 0.0], [0.0; 5], [f32::NAN, f32::NAN, 0.2, f32::NAN, 0.1]].concat();
        assert_eq!(names(&rows, Decoding::Argmax), ["B-A", "O", "B-B"]);
        assert_eq!(names(&[f32::NAN; 5], Decoding::Argmax), ["O"]);
    }

    #[test]
    fn bio_opens_an_entity_where_argmax_would_begin_inside() {
        let rows = [[0.1, 0.3, 0.0, 0.6, 0.0], [0.1, 0.0, 0.0, 0.9, 0.0]].concat();
        assert_eq!(names(&rows, Decoding::Argmax), ["I-A", "I-A"]);
        assert_eq!(names(&rows, Decoding::Bio), ["B-A", "I-A"]);
    }

    #[test]
    fn bio_gives_ties_to_the_lowest_id_too() {
        assert_eq!(names(&[0.1, 0.3, 0.3, 0.3, 0.0].repeat(2), Decoding::Bio), ["B-A", "B-A"]);
    }

    #[test]
    fn bio_lets_no_entity_cross_a_word_without_tokens() {
        let rows = [[0.0, 1.0, 0.0, 0.0, 0.0], [0.0; 5], [0.2, 0.1, 0.0, 0.7, 0.0]].concat();
        assert_eq!(names(&rows, Decoding::Bio), ["B-A", "O", "O"]);
    }

    #[test]
    fn bio_still_answers_where_every_allowed_path_is_impossible() {
        let rows = [[0.0, 0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]].concat();
        assert_eq!(names(&rows, Decoding::Bio).len(), 2);
        assert!(!names(&rows, Decoding::Bio)[0].starts_with("I-"));
        assert_eq!(names(&[f32::NAN; 10], Decoding::Bio), ["O", "O"]);
        assert_eq!(names(&[f32::INFINITY, f32::NAN, 0.0, -1.0, f32::NEG_INFINITY], Decoding::Bio), ["O"]);
        assert!(names(&[], Decoding::Bio).is_empty());
    }

    proptest! {
        #[test]
        fn bio_finds_the_best_allowed_sequence(rows in prop::collection::vec(0.001f32..1.0, 20)) {
            let labels = labels();
            let found: Vec<usize> = decode(&rows, &labels, Decoding::Bio).iter().map(|id| id.index()).collect();
            let found_score = score(&found, &rows, &labels).expect("an allowed sequence");
            for code in 0..5usize.pow(4) {
                let path: Vec<usize> = (0..4).map(|i| code / 5usize.pow(i) % 5).collect();
                if let Some(other) = score(&path, &rows, &labels) {
                    prop_assert!(other <= found_score + 1e-9, "{path:?} beats {found:?}");
                }
            }
        }

        #[test]
        fn any_numbers_give_one_class_per_word_and_bio_stays_valid(
            bits in prop::collection::vec(any::<u32>(), 0..60), temperature in any::<u32>()
        ) {
            let numbers: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            let p = softmax(&numbers, f32::from_bits(temperature));
            prop_assert!(p.iter().all(|p| p.is_finite()));
            for decoding in [Decoding::Argmax, Decoding::Bio] {
                let found = decode(&numbers, &labels(), decoding);
                prop_assert_eq!(found.len(), numbers.len().div_ceil(5));
                if decoding == Decoding::Bio {
                    let path: Vec<usize> = found.iter().map(|id| id.index()).collect();
                    let valid = score(&path, &vec![1.0; found.len() * 5], &labels());
                    prop_assert!(valid.is_some(), "{:?}", path);
                }
            }
        }
    }
}
