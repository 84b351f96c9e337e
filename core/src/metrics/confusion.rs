//! Figures over single tags, not entities: token accuracy and the confusion of tags.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::error::{MetricError, check_pairs};

/// How often each gold tag was predicted as each tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Every tag among the gold and predicted ones, sorted.
    pub labels: Vec<String>,
    /// `[gold][predicted]`, both in the order of `labels`.
    pub counts: Vec<Vec<usize>>,
}

impl Confusion {
    /// Words with this gold tag that were predicted as that tag.
    pub fn count(&self, gold: &str, predicted: &str) -> usize {
        let place = |tag: &str| self.labels.binary_search_by(|l| l.as_str().cmp(tag)).ok();
        let found = place(gold).zip(place(predicted));
        found.and_then(|(g, p)| self.counts.get(g)?.get(p)).copied().unwrap_or(0)
    }
}

/// Counts gold against predicted tags over all sequences.
///
/// # Errors
/// [`MetricError`] when the lists do not fit each other.
pub fn confusion(y_true: &[Vec<&str>], y_pred: &[Vec<&str>]) -> Result<Confusion, MetricError> {
    check_pairs(y_true, y_pred)?;
    let tags: BTreeSet<&str> = y_true.iter().chain(y_pred).flatten().copied().collect();
    let mut pairs: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (gold, predicted) in y_true.iter().flatten().zip(y_pred.iter().flatten()) {
        *pairs.entry((gold, predicted)).or_default() += 1;
    }
    let row = |gold: &str| tags.iter().map(|p| pairs.get(&(gold, *p)).copied().unwrap_or(0)).collect();
    Ok(Confusion {
        labels: tags.iter().map(|t| t.to_string()).collect(),
        counts: tags.iter().map(|gold| row(gold)).collect(),
    })
}

/// Share of tags predicted exactly; `None` when there is no tag.
///
/// # Errors
/// [`MetricError`] when the lists do not fit each other.
pub fn token_accuracy(y_true: &[Vec<&str>], y_pred: &[Vec<&str>]) -> Result<Option<f64>, MetricError> {
    check_pairs(y_true, y_pred)?;
    let pairs = || y_true.iter().flatten().zip(y_pred.iter().flatten());
    let (right, all) = (pairs().filter(|(g, p)| g == p).count(), pairs().count());
    Ok((all > 0).then(|| right as f64 / all as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_gold_and_columns_are_predictions() {
        let gold = [vec!["O", "B-X"], vec!["B-X"]];
        let predicted = [vec!["O", "O"], vec!["I-X"]];
        let c = confusion(&gold, &predicted).unwrap();
        assert_eq!(c.labels, ["B-X", "I-X", "O"]);
        assert_eq!(c.counts, [[0, 1, 1], [0, 0, 0], [0, 0, 1]]);
        assert_eq!((c.count("B-X", "O"), c.count("O", "B-X"), c.count("B-Y", "O")), (1, 0, 0));
        assert_eq!(token_accuracy(&gold, &predicted).unwrap(), Some(1.0 / 3.0));
    }

    #[test]
    fn no_tags_have_no_accuracy_and_unequal_lists_are_refused() {
        assert_eq!(token_accuracy(&[vec![]], &[vec![]]).unwrap(), None);
        assert!(token_accuracy(&[vec!["O"]], &[vec![]]).is_err());
        assert!(confusion(&[vec!["O"]], &[]).is_err());
    }
}
