//! Which examples make up each optimiser step: a pure function of seed, epoch and lengths.
//!
//! Nothing here holds state, so a resumed run sees the same batches: the cursor is just a number of steps.

use std::ops::Range;

/// How examples are put into micro-batches and steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRule {
    /// Most windows in a micro-batch.
    pub batch_size: usize,
    /// Most tokens in a micro-batch; a longer window gets one of its own.
    pub max_batch_tokens: Option<usize>,
    /// Whether windows of similar length share a micro-batch.
    pub group_by_length: bool,
    /// Micro-batches per optimiser step.
    pub accumulation: usize,
}

/// Micro-batches whose windows are sorted by length together: enough to find alike ones, few enough that epochs
/// still differ. Source: `LengthGroupedSampler` of the transformers library.
const BATCHES_PER_GROUP: usize = 50;

/// One epoch's order: steps, each of micro-batches, each of example indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochPlan {
    order: Vec<usize>,
    micro_batches: Vec<Range<usize>>,
    accumulation: usize,
}

impl EpochPlan {
    /// Shuffles examples of `lengths` tokens for `epoch` (from 0) and cuts them into steps.
    ///
    /// Grouped by length, runs of the shuffled order are sorted by length before they are cut, and the micro-batches
    /// are then shuffled.
    pub fn new(lengths: &[usize], rule: BatchRule, seed: u64, epoch: usize) -> Self {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        let mut random = SplitMix(seed ^ (epoch as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        random.shuffle(&mut order);
        if rule.group_by_length {
            for group in order.chunks_mut(rule.batch_size.saturating_mul(BATCHES_PER_GROUP).max(1)) {
                group.sort_by_key(|&example| lengths.get(example).copied());
            }
        }
        let mut micro_batches = Vec::new();
        let (mut start, mut tokens) = (0, 0usize);
        for (place, &example) in order.iter().enumerate() {
            let length = lengths.get(example).copied().unwrap_or(0);
            let full = place - start >= rule.batch_size.max(1);
            let heavy = rule.max_batch_tokens.is_some_and(|most| tokens + length > most);
            if place > start && (full || heavy) {
                micro_batches.push(start..place);
                (start, tokens) = (place, 0);
            }
            tokens += length;
        }
        if start < order.len() {
            micro_batches.push(start..order.len());
        }
        if rule.group_by_length {
            random.shuffle(&mut micro_batches);
        }
        Self { order, micro_batches, accumulation: rule.accumulation.max(1) }
    }

    /// Optimiser steps of the epoch; the last may have fewer micro-batches.
    pub fn steps(&self) -> usize {
        self.micro_batches.len().div_ceil(self.accumulation)
    }

    /// Example indices of each micro-batch of a step (from 0).
    pub fn step(&self, step: usize) -> Vec<&[usize]> {
        let ranges = self.micro_batches.iter().skip(step * self.accumulation).take(self.accumulation);
        ranges.map(|r| self.order.get(r.clone()).unwrap_or_default()).collect()
    }
}

/// A small counter generator for shuffles. Source: Steele, Lea, Flood 2014 (SplitMix64).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Fisher–Yates from the end.
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }

    /// Uniform in `0..bound`, by rejection.
    fn below(&mut self, bound: u64) -> u64 {
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            let value = self.next();
            if value < limit {
                return value % bound;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: BatchRule =
        BatchRule { batch_size: 3, max_batch_tokens: None, group_by_length: false, accumulation: 2 };

    fn flat(plan: &EpochPlan) -> Vec<usize> {
        (0..plan.steps()).flat_map(|s| plan.step(s).concat()).collect()
    }

    #[test]
    fn every_example_occurs_once_and_epochs_differ() {
        let lengths = vec![5; 20];
        let (a, b) = (EpochPlan::new(&lengths, RULE, 1, 0), EpochPlan::new(&lengths, RULE, 1, 1));
        assert_ne!(flat(&a), flat(&b));
        let mut all = flat(&a);
        all.sort_unstable();
        assert_eq!(all, (0..20).collect::<Vec<_>>());
        assert_eq!(a.steps(), 4);
        assert_eq!(a, EpochPlan::new(&lengths, RULE, 1, 0));
    }

    #[test]
    fn a_token_budget_closes_batches_and_a_long_window_stands_alone() {
        let rule = BatchRule { batch_size: 8, max_batch_tokens: Some(10), accumulation: 1, ..RULE };
        let lengths = [4, 4, 4, 50, 4];
        let plan = EpochPlan::new(&lengths, rule, 7, 0);
        for step in 0..plan.steps() {
            let batch = plan.step(step).concat();
            let tokens: usize = batch.iter().map(|&i| lengths[i]).sum();
            assert!(tokens <= 10 || batch.len() == 1, "{batch:?}");
        }
        assert_eq!(flat(&plan).len(), 5);
    }

    #[test]
    fn grouped_batches_hold_windows_of_similar_length_and_every_example_once() {
        let lengths: Vec<usize> = (0..90).map(|i| 1 + i * 37 % 90).collect();
        let spread = |plan: &EpochPlan| -> usize {
            let of = |batch: &[usize]| {
                let lengths = batch.iter().map(|&i| lengths[i]);
                lengths.clone().max().unwrap() - lengths.min().unwrap()
            };
            (0..plan.steps()).flat_map(|s| plan.step(s)).map(of).sum()
        };
        let grouped = BatchRule { group_by_length: true, ..RULE };
        let (mixed, alike) = (EpochPlan::new(&lengths, RULE, 1, 0), EpochPlan::new(&lengths, grouped, 1, 0));
        assert!(spread(&alike) * 5 < spread(&mixed), "{} against {}", spread(&alike), spread(&mixed));
        let mut all = flat(&alike);
        all.sort_unstable();
        assert_eq!(all, (0..90).collect::<Vec<_>>());
        assert_ne!(flat(&alike), flat(&EpochPlan::new(&lengths, grouped, 1, 1)));
        let firsts: Vec<usize> = (0..alike.steps()).map(|s| lengths[alike.step(s)[0][0]]).collect();
        assert!(!firsts.is_sorted(), "batches come in order of length: {firsts:?}");
    }

    #[test]
    fn no_examples_make_no_steps() {
        assert_eq!(EpochPlan::new(&[], RULE, 1, 0).steps(), 0);
    }
}
