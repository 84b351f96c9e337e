//! Which windows are computed together.

use std::time::{Duration, Instant};

use super::queue::Unit;

/// How windows of different requests are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchRule {
    /// Most tokens of a batch, padding counted; 0 computes every window alone.
    pub tokens: usize,
    /// How long a window may wait for others to share its batch.
    pub delay: Duration,
    /// Whether windows of different lengths may share a batch.
    pub padding: bool,
}

impl BatchRule {
    /// Every window alone.
    pub const ALONE: Self = Self { tokens: 0, delay: Duration::ZERO, padding: false };

    /// Shortest length that may join a batch of windows of `longest` tokens: padding stays below an eighth.
    fn shortest(&self, longest: usize) -> usize {
        if self.padding { longest - longest / 8 } else { longest }
    }
}

/// Windows that are about to be computed together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) units: Vec<Unit>,
    longest: usize,
    until: Instant,
}

impl Batch {
    pub(super) fn of(first: Unit, rule: &BatchRule) -> Self {
        let (longest, until) = (first.tokens, first.since() + rule.delay);
        Self { units: vec![first], longest, until }
    }

    /// Length of the longest window.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Whether a window of `tokens` may join.
    pub(super) fn takes(&self, tokens: usize, rule: &BatchRule) -> bool {
        let longest = self.longest.max(tokens);
        let shortest = self.units.iter().map(|u| u.tokens).min().unwrap_or(longest).min(tokens);
        shortest >= rule.shortest(longest) && (self.units.len() + 1) * longest <= rule.tokens
    }

    pub(super) fn add(&mut self, unit: Unit) {
        self.longest = self.longest.max(unit.tokens);
        self.units.push(unit);
    }

    /// How much longer the batch may wait for company.
    pub(super) fn patience(&self, rule: &BatchRule) -> Option<Duration> {
        let room = (self.units.len() + 1) * self.longest <= rule.tokens;
        let left = self.until.saturating_duration_since(Instant::now());
        (room && !left.is_zero()).then_some(left)
    }
}
