//! Does training know what it is tested on? Receipts on both sides, and near repeats of one another.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use layoutlm_core::receipt::Receipt;
use serde::{Deserialize, Serialize};

/// Share of words two receipts have in common above which they count as near duplicates.
pub const DEFAULT_OVERLAP: f64 = 0.9;

/// A held-out receipt and the training receipt most like it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NearDuplicate {
    /// Key of the held-out receipt.
    pub held_out: String,
    /// Key of the training receipt.
    pub train: String,
    /// Words in common (counted with repeats) over the words of the larger receipt, 0..=1.
    pub overlap: f64,
}

/// What was found between training and one held-out part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeakageReport {
    /// Receipts compared, held out and training.
    pub compared: (usize, usize),
    /// Overlap from which on receipts were reported.
    pub threshold: f64,
    /// Keys on both sides, sorted.
    pub same_receipt: Vec<String>,
    /// Held-out receipts with a near duplicate in training, the worst first. At most one entry per held-out receipt.
    pub near_duplicates: Vec<NearDuplicate>,
}

impl LeakageReport {
    /// True when nothing was found.
    pub fn is_clean(&self) -> bool {
        self.same_receipt.is_empty() && self.near_duplicates.is_empty()
    }
}

impl std::fmt::Display for LeakageReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (held_out, train) = self.compared;
        if self.is_clean() {
            return write!(
                f,
                "no leakage: {held_out} held-out and {train} training receipts share neither keys nor texts"
            );
        }
        let (same, near) = (self.same_receipt.len(), self.near_duplicates.len());
        write!(
            f,
            "{same} of {held_out} held-out receipts are also in training, {near} have a near duplicate there"
        )?;
        if let Some(worst) = self.near_duplicates.first() {
            let percent = worst.overlap * 100.0;
            write!(f, " (e.g. {} and {}: {percent:.0} % of words in common)", worst.held_out, worst.train)?;
        }
        f.write_str("; scores on them flatter the model")
    }
}

/// Compares every held-out receipt with all of training.
///
/// Words are compared in lower case. A receipt without words is a near duplicate of nothing. `threshold` is clamped to
/// 0.05..=1.
pub fn leakage(train: &[Receipt], held_out: &[Receipt], threshold: f64) -> LeakageReport {
    let threshold = if threshold.is_nan() { DEFAULT_OVERLAP } else { threshold.clamp(0.05, 1.0) };
    let known: BTreeSet<String> = train.iter().map(Receipt::key).collect();
    let shared: BTreeSet<String> = held_out.iter().map(Receipt::key).filter(|k| known.contains(k)).collect();
    let index = Index::new(train, held_out, threshold);
    let mut near_duplicates: Vec<NearDuplicate> = held_out
        .iter()
        .filter(|r| !shared.contains(&r.key()))
        .filter_map(|receipt| {
            let (best, overlap) = index.nearest(receipt)?;
            Some(NearDuplicate { held_out: receipt.key(), train: train.get(best)?.key(), overlap })
        })
        .collect();
    near_duplicates.sort_by(|a, b| b.overlap.total_cmp(&a.overlap).then_with(|| a.held_out.cmp(&b.held_out)));
    LeakageReport {
        compared: (held_out.len(), train.len()),
        threshold,
        same_receipt: shared.into_iter().collect(),
        near_duplicates,
    }
}

/// Training receipts findable by their rarest words.
///
/// Two multisets that share at least t·max(|A|, |B|) words have one of their rarest |X| − ⌈t·|X|⌉ + 1 in common, so
/// only receipts that meet there are compared in full.
/// Source: Chaudhuri et al. 2006 (prefix filtering); Xiao et al. 2008, §3.
struct Index {
    threshold: f64,
    ranks: HashMap<(String, u32), u32>,
    /// Rank-sorted word ids of each training receipt.
    receipts: Vec<Vec<u32>>,
    by_word: HashMap<u32, Vec<usize>>,
}

impl Index {
    fn new(train: &[Receipt], held_out: &[Receipt], threshold: f64) -> Self {
        let mut counts: BTreeMap<(String, u32), u32> = BTreeMap::new();
        for word in train.iter().chain(held_out).flat_map(numbered_words) {
            *counts.entry(word).or_default() += 1;
        }
        let mut by_rarity: Vec<((String, u32), u32)> = counts.into_iter().collect();
        by_rarity.sort_by_key(|(_, count)| *count);
        let ranks = by_rarity.into_iter().zip(0..).map(|((word, _), rank)| (word, rank)).collect();
        let mut index = Self { threshold, ranks, receipts: Vec::new(), by_word: HashMap::new() };
        for (number, receipt) in train.iter().enumerate() {
            let ids = index.ids(receipt);
            for &id in index.prefix(&ids) {
                index.by_word.entry(id).or_default().push(number);
            }
            index.receipts.push(ids);
        }
        index
    }

    fn ids(&self, receipt: &Receipt) -> Vec<u32> {
        let mut ids: Vec<u32> = numbered_words(receipt).filter_map(|w| self.ranks.get(&w).copied()).collect();
        ids.sort_unstable();
        ids
    }

    fn prefix<'a>(&self, ids: &'a [u32]) -> &'a [u32] {
        let needed = (self.threshold * ids.len() as f64 - 1e-9).ceil() as usize;
        ids.get(..(ids.len() + 1).saturating_sub(needed.max(1))).unwrap_or(ids)
    }

    /// The training receipt with the largest overlap at or above the threshold; the first wins a tie.
    fn nearest(&self, receipt: &Receipt) -> Option<(usize, f64)> {
        let ids = self.ids(receipt);
        let met = self.prefix(&ids).iter().filter_map(|id| self.by_word.get(id)).flatten();
        let candidates: BTreeSet<usize> = met.copied().collect();
        let mut best: Option<(usize, f64)> = None;
        for candidate in candidates {
            let Some(other) = self.receipts.get(candidate) else { continue };
            let overlap = shared_words(&ids, other) as f64 / ids.len().max(other.len()).max(1) as f64;
            if overlap >= self.threshold && best.is_none_or(|(_, known)| overlap > known) {
                best = Some((candidate, overlap));
            }
        }
        best
    }
}

/// Words of a receipt, each with the number of its repeats before it, so that a multiset becomes a set.
fn numbered_words(receipt: &Receipt) -> impl Iterator<Item = (String, u32)> {
    let mut seen: HashMap<String, u32> = HashMap::new();
    let texts: Vec<String> = receipt.words.iter().map(|w| w.text.trim().to_lowercase()).collect();
    texts.into_iter().filter(|t| !t.is_empty()).map(move |text| {
        let count = seen.entry(text.clone()).or_default();
        *count += 1;
        (text, *count)
    })
}

/// Size of the intersection of two sorted sets.
fn shared_words(a: &[u32], b: &[u32]) -> usize {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let mut shared = 0;
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => drop(a.next()),
            std::cmp::Ordering::Greater => drop(b.next()),
            std::cmp::Ordering::Equal => {
                shared += 1;
                a.next();
                b.next();
            }
        }
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::synthesize;

    fn receipt(name: &str, text: &str) -> Receipt {
        let word =
            |(i, t): (usize, &str)| format!(r#"{{"line_id":0,"word_id":{i},"text":{t:?},"box":[0,0,1,1]}}"#);
        let words: Vec<String> = text.split(' ').enumerate().map(word).collect();
        Receipt::from_json(&format!(r#"{{"image_id":{name:?},"words":[{}]}}"#, words.join(","))).unwrap()
    }

    #[test]
    fn repeats_count_and_the_larger_receipt_decides() {
        let train = [receipt("t", "milk milk bread total 3.00"), receipt("u", "milk bread")];
        let found = leakage(&train, &[receipt("h", "MILK milk bread total 4.00")], 0.8);
        assert_eq!(found.near_duplicates.len(), 1);
        assert_eq!(
            (found.near_duplicates[0].train.as_str(), found.near_duplicates[0].overlap),
            ("t#00001", 0.8)
        );
        assert!(leakage(&train, &[receipt("h", "milk milk milk bread eggs")], 0.8).is_clean());
        assert!(leakage(&train, &[receipt("h", "MILK milk bread total 4.00")], 0.81).is_clean());
    }

    #[test]
    fn the_same_receipt_is_named_as_such_and_not_again_as_a_duplicate() {
        let both = receipt("a", "x y z");
        let found = leakage(std::slice::from_ref(&both), std::slice::from_ref(&both), 0.9);
        assert_eq!(
            (found.same_receipt.as_slice(), found.near_duplicates.len()),
            (&["a#00001".to_string()][..], 0)
        );
        assert!(found.to_string().contains("1 of 1 held-out receipts are also in training"));
        assert!(leakage(&[], &[], f64::NAN).to_string().starts_with("no leakage"));
    }

    #[test]
    fn the_index_finds_what_comparing_every_pair_finds() {
        let all = synthesize(4, 160, 3);
        let (train, held_out) = all.split_at(120);
        for threshold in [0.3, 0.5, 0.7] {
            let found = leakage(train, held_out, threshold).near_duplicates;
            let mut naive = BTreeMap::new();
            for h in held_out {
                let best = train.iter().map(|t| naive_overlap(h, t)).fold(0.0, f64::max);
                if best >= threshold {
                    naive.insert(h.key(), best);
                }
            }
            let found: BTreeMap<String, f64> = found.into_iter().map(|n| (n.held_out, n.overlap)).collect();
            assert_eq!(found, naive, "{threshold}");
        }
    }

    fn naive_overlap(a: &Receipt, b: &Receipt) -> f64 {
        let (a, b): (BTreeSet<_>, BTreeSet<_>) = (numbered_words(a).collect(), numbered_words(b).collect());
        a.intersection(&b).count() as f64 / a.len().max(b.len()) as f64
    }
}
