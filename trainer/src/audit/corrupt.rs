//! Does an audit find wrong labels? Labels are changed on purpose and the audit has to list them first.

use std::collections::BTreeSet;

use layoutlm_core::label::LabelScheme;
use layoutlm_core::receipt::{Receipt, ValidationStatus};
use serde::{Deserialize, Serialize};

use super::doubt::Doubt;
use crate::data::PythonRandom;

/// An entity whose label was changed on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Corrupted {
    /// As in the receipt.
    pub image_id: String,
    /// As in the receipt.
    pub receipt_id: u32,
    /// Its words as `(line_id, word_id)`.
    pub words: Vec<(u32, u32)>,
    /// The label it had.
    pub from: String,
    /// The label it was given.
    pub to: String,
}

/// How many of the first listed doubts are the corrupted entities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// Labelled entities.
    pub entities: usize,
    /// Those that were corrupted: N.
    pub corrupted: usize,
    /// Corrupted entities among the first N doubts, each counted once.
    pub found_in_first_n: usize,
    /// That over N.
    pub precision_at_n: f64,
    /// Corrupted entities anywhere in the list over N.
    pub recall_of_list: f64,
    /// `(k, precision among the first k)` for tenths of N.
    pub curve: Vec<(usize, f64)>,
}

/// Gives a share (0..=1) of the VALID entities another label of the scheme, the same ones for a seed.
///
/// An entity is a run of words of one label in the order given. Gives the corrupted ones and the number of all.
pub fn corrupt(
    receipts: &mut [Receipt],
    scheme: &LabelScheme,
    share: f64,
    seed: u64,
) -> (Vec<Corrupted>, usize) {
    let mut entities: Vec<(usize, std::ops::Range<usize>, String)> = Vec::new();
    for (index, receipt) in receipts.iter().enumerate() {
        let label = |w: &layoutlm_core::receipt::Word| {
            scheme.entity(w.label_with(ValidationStatus::Valid)).map(|_| w.label.clone().unwrap_or_default())
        };
        let mut start = 0;
        for run in receipt.words.chunk_by(|a, b| label(a) == label(b)) {
            let range = start..start + run.len();
            start = range.end;
            entities.extend(run.first().and_then(label).map(|l| (index, range, l)));
        }
    }
    let labels: Vec<String> =
        entities.iter().map(|(_, _, l)| l.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    let total = entities.len();
    let wanted = (share * total as f64).round() as usize;
    if labels.len() < 2 {
        return (Vec::new(), total);
    }
    let mut random = PythonRandom::new(seed);
    random.shuffle(&mut entities);
    let changed = entities.into_iter().take(wanted).filter_map(|(index, range, from)| {
        let mut others: Vec<&String> = labels.iter().filter(|l| **l != from).collect();
        random.shuffle(&mut others);
        let to = others.first().map(|l| (*l).clone())?;
        let receipt = receipts.get_mut(index)?;
        let (image_id, receipt_id) = (receipt.image_id.clone(), receipt.receipt_id);
        let words = receipt.words.get_mut(range)?;
        words.iter_mut().for_each(|w| w.label = Some(to.clone()));
        let words = words.iter().map(|w| (w.line_id, w.word_id)).collect();
        Some(Corrupted { image_id, receipt_id, words, from, to })
    });
    (changed.collect(), total)
}

/// Counts how many of the first doubts are corrupted entities: a doubt hits one when they share a word.
pub fn judge(doubts: &[Doubt], corrupted: &[Corrupted], entities: usize) -> Experiment {
    let mut found: BTreeSet<usize> = BTreeSet::new();
    // A second doubt about the same corrupted entity is no new hit and no miss: it takes no place in the list.
    let mut hits: Vec<bool> = Vec::new();
    for doubt in doubts {
        let about = corrupted.iter().position(|c| touches(doubt, c));
        match about {
            Some(index) if found.insert(index) => hits.push(true),
            Some(_) => {}
            None => hits.push(false),
        }
    }
    let n = corrupted.len();
    let among = |k: usize| hits.iter().take(k).filter(|h| **h).count();
    let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    let tenths = (1..=10).map(|i| (n * i).div_ceil(10)).filter(|k| *k > 0);
    Experiment {
        entities,
        corrupted: n,
        found_in_first_n: among(n),
        precision_at_n: share(among(n), n),
        recall_of_list: share(found.len(), n),
        curve: tenths.map(|k| (k, share(among(k), k))).collect(),
    }
}

fn touches(doubt: &Doubt, corrupted: &Corrupted) -> bool {
    (&doubt.image_id, doubt.receipt_id) == (&corrupted.image_id, corrupted.receipt_id)
        && doubt.words.iter().any(|w| corrupted.words.contains(&(w.line_id, w.word_id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{DoubtedWord, Verdict};

    fn receipts(n: usize) -> Vec<Receipt> {
        let word = |i: usize, label: &str| {
            format!(r#"{{"line_id":0,"word_id":{i},"text":"x","box":[0,0,1,1],"label":"{label}"}}"#)
        };
        let labels = ["DATE", "DATE", "O", "TIME", "DATE", "O"];
        (0..n)
            .map(|r| {
                let words: Vec<String> = labels.iter().enumerate().map(|(i, l)| word(i, l)).collect();
                Receipt::from_json(&format!(r#"{{"image_id":"r{r}","words":[{}]}}"#, words.join(",")))
                    .unwrap()
            })
            .collect()
    }

    #[test]
    fn the_wanted_share_of_entities_gets_another_label_and_the_same_for_a_seed() {
        let (mut a, mut b) = (receipts(20), receipts(20));
        let (changed, total) = corrupt(&mut a, &LabelScheme::default(), 0.1, 7);
        assert_eq!((total, changed.len()), (60, 6));
        assert_eq!(corrupt(&mut b, &LabelScheme::default(), 0.1, 7).0, changed);
        for c in &changed {
            assert_ne!(c.from, c.to);
            let receipt = a.iter().find(|r| r.image_id == c.image_id).unwrap();
            for (_, word) in &c.words {
                assert_eq!(receipt.words[*word as usize].label.as_ref(), Some(&c.to));
            }
        }
        assert_eq!(a.iter().flat_map(|r| &r.words).filter(|w| w.label.as_deref() == Some("O")).count(), 40);
    }

    #[test]
    fn a_hit_shares_a_word_and_each_corrupted_entity_counts_once() {
        let corrupted = |r: &str, word: u32| Corrupted {
            image_id: r.into(),
            receipt_id: 1,
            words: vec![(0, word), (0, word + 1)],
            from: "DATE".into(),
            to: "TIME".into(),
        };
        let doubt = |r: &str, word: u32| Doubt {
            image_id: r.into(),
            receipt_id: 1,
            verdict: Verdict::Change,
            score: 0.5,
            evidence: 1.0,
            given: "TIME".into(),
            proposed: "DATE".into(),
            given_probability: 0.1,
            proposed_probability: 0.6,
            validation_status: ValidationStatus::Valid,
            text: "x".into(),
            words: vec![DoubtedWord { line_id: 0, word_id: word, text: "x".into() }],
            bbox: [0.0; 4],
        };
        let wrong = [corrupted("a", 0), corrupted("a", 5), corrupted("b", 0)];
        let list = [doubt("a", 0), doubt("a", 1), doubt("c", 0), doubt("a", 6), doubt("b", 9)];
        let e = judge(&list, &wrong, 100);
        assert_eq!((e.corrupted, e.found_in_first_n), (3, 2));
        assert!((e.precision_at_n - 2.0 / 3.0).abs() < 1e-12 && (e.recall_of_list - 2.0 / 3.0).abs() < 1e-12);
    }
}
