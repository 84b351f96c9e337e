//! How telling an answer of the models is: learned from the audited receipts themselves.
//!
//! Models are surer of some things than of others. A date that looks like an amount to them is rare, an amount that they
//! overlook is not, however sure they are that there is none. So an answer is weighed by how often it is given to words
//! of each label: the log likelihood ratio of the answer under the proposed label and under the given one. Most labels
//! are right, so the counts are good although some labels are wrong.
//!
//! Source: the likelihood ratio as the most powerful test (Neyman and Pearson 1933).

use std::collections::BTreeMap;

/// Upper edges of the ranges of confidence, but for the last.
const EDGES: [f64; 5] = [0.5, 0.7, 0.85, 0.95, 0.99];
/// Added to every count, so that what was never seen is unlikely and not impossible.
const PRIOR: f64 = 0.5;

/// What the models say of one word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Answer<'a> {
    /// The most probable label.
    pub(super) label: &'a str,
    /// Its probability.
    pub(super) probability: f64,
}

impl Answer<'_> {
    fn range(&self) -> usize {
        EDGES.iter().filter(|edge| self.probability > **edge).count()
    }
}

/// Answers counted by the label that words carry.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    answers: BTreeMap<String, BTreeMap<(String, usize), usize>>,
}

impl Evidence {
    /// Counts one word's answer.
    pub(super) fn count(&mut self, given: &str, answer: Answer<'_>) {
        let of_given = self.answers.entry(given.to_string()).or_default();
        *of_given.entry((answer.label.to_string(), answer.range())).or_default() += 1;
    }

    /// ln of how much likelier the answer is for words of the label it proposes than for words of the given one.
    pub(super) fn for_change(&self, given: &str, answer: Answer<'_>) -> f64 {
        self.log_share(answer.label, answer) - self.log_share(given, answer)
    }

    /// ln of the share of a label's words that get this answer.
    fn log_share(&self, label: &str, answer: Answer<'_>) -> f64 {
        let cells = (self.answers.len().max(1) * (EDGES.len() + 1)) as f64;
        let of_label = self.answers.get(label);
        let total: usize = of_label.map_or(0, |m| m.values().sum());
        let key = (answer.label.to_string(), answer.range());
        let n = of_label.and_then(|m| m.get(&key)).copied().unwrap_or(0);
        ((n as f64 + PRIOR) / (total as f64 + PRIOR * cells)).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rare_confusion_weighs_more_than_one_the_models_make_all_the_time() {
        let mut evidence = Evidence::default();
        let sure = |label| Answer { label, probability: 0.97 };
        for (given, label, n) in [
            ("O", "O", 900),
            ("TOTAL", "TOTAL", 60),
            ("TOTAL", "O", 40),
            ("DATE", "DATE", 99),
            ("TOTAL", "DATE", 1),
        ] {
            (0..n).for_each(|_| evidence.count(given, sure(label)));
        }
        let overlooked = evidence.for_change("TOTAL", sure("O"));
        let mistaken = evidence.for_change("TOTAL", sure("DATE"));
        assert!(mistaken > overlooked + 2.0, "{mistaken} {overlooked}");
        assert!(evidence.for_change("DATE", Answer { label: "DATE", probability: 0.97 }).abs() < 1e-12);
    }
}
