//! From labels and probabilities to a ranked list of runs of words worth a second look.

use std::collections::BTreeMap;
use std::ops::Range;

use layoutlm_core::evaluate::{GoldReceipt, ScoredReceipt};
use layoutlm_core::label::{LabelScheme, LabelSet, Tag};
use layoutlm_core::receipt::{Receipt, ValidationStatus};
use serde::{Deserialize, Serialize};

use super::evidence::{Answer, Evidence};

/// What the model proposes for a run of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Another label.
    Change,
    /// No label.
    Remove,
    /// A label where there is none.
    Add,
    /// The label that waits for review is right.
    Confirm,
}

/// One word of a doubtful run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoubtedWord {
    /// As in the receipt.
    pub line_id: u32,
    /// As in the receipt.
    pub word_id: u32,
    /// As in the receipt.
    pub text: String,
}

/// A run of words whose label is doubtful or waits for review.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Doubt {
    /// As in the receipt.
    pub image_id: String,
    /// As in the receipt.
    pub receipt_id: u32,
    /// What the model proposes.
    pub verdict: Verdict,
    /// How strongly: mean probability of the proposed label minus that of the given one, -1..=1.
    pub score: f64,
    /// What the list is ranked by: how telling this answer is of this model for this label, in nats.
    pub evidence: f64,
    /// The label given, merged; `O` for none.
    pub given: String,
    /// The label proposed; `O` for none.
    pub proposed: String,
    /// Mean probability of the label given.
    pub given_probability: f64,
    /// Mean probability of the label proposed.
    pub proposed_probability: f64,
    /// Status of the label given.
    pub validation_status: ValidationStatus,
    /// The words' text.
    pub text: String,
    /// The words in reading order.
    pub words: Vec<DoubtedWord>,
    /// `[x0, y0, x1, y1]` around them, in the receipt's unit and origin.
    #[serde(rename = "box")]
    pub bbox: [f64; 4],
}

impl Doubt {
    /// True for a label that a person still has to judge.
    pub fn waits(&self) -> bool {
        self.given != "O" && self.validation_status != ValidationStatus::Valid
    }
}

impl Verdict {
    /// Added to the evidence, in nats. A wrong label is contradicted by two positive statements; that there is no label is
    /// weaker, since data sets seldom label every occurrence (a total printed twice, a name in the footer), and that one
    /// is missing is the weakest.
    fn prior(self) -> f64 {
        match self {
            Self::Change | Self::Confirm => 0.0,
            Self::Remove => -3.0,
            Self::Add => -6.0,
        }
    }
}

/// One word with its label and what a model that never saw it says.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    index: usize,
    given: String,
    proposed: String,
    status: ValidationStatus,
    given_probability: f64,
    proposed_probability: f64,
}

impl Seen {
    /// A label that a person still has to judge.
    fn waits(&self) -> bool {
        self.given != "O" && self.status != ValidationStatus::Valid
    }

    fn answer(&self) -> Answer<'_> {
        Answer { label: &self.proposed, probability: self.proposed_probability }
    }
}

/// The words of one receipt that can be judged, in reading order.
pub(super) fn see(
    receipt: &Receipt,
    gold: &GoldReceipt,
    scored: &ScoredReceipt,
    labels: &LabelSet,
    scheme: &LabelScheme,
) -> Vec<Seen> {
    let rows = scored.scores.probabilities.chunks(labels.len());
    let words = gold.encoded.order.iter().zip(rows);
    words.filter_map(|(&index, row)| see_word(receipt, index, row, labels, scheme)).collect()
}

fn see_word(
    receipt: &Receipt,
    index: usize,
    row: &[f32],
    labels: &LabelSet,
    scheme: &LabelScheme,
) -> Option<Seen> {
    let word = receipt.words.get(index)?;
    // What is known to be wrong needs no second look, and the right label is not known.
    let known_wrong = word.validation_status == ValidationStatus::Invalid && word.label.is_some();
    // A word the network never saw has no opinion about it.
    if known_wrong || row.iter().all(|&p| p == 0.0) {
        return None;
    }
    let mut by_label: BTreeMap<&str, f64> = BTreeMap::new();
    for (tag, &p) in labels.tags().iter().zip(row) {
        *by_label.entry(Tag::parse(tag).and_then(Tag::entity).unwrap_or("O")).or_default() += f64::from(p);
    }
    let given = word.label.as_deref().and_then(|l| scheme.entity(l)).unwrap_or("O");
    let (proposed, p) =
        by_label.iter().fold(("O", 0.0), |best, (l, p)| if *p > best.1 { (*l, *p) } else { best });
    Some(Seen {
        index,
        given: given.into(),
        proposed: proposed.into(),
        status: if given == "O" { ValidationStatus::Valid } else { word.validation_status },
        given_probability: by_label.get(given).copied().unwrap_or(0.0),
        proposed_probability: p,
    })
}

/// Doubtful runs of all receipts and labels that wait for review, the strongest evidence first.
pub(super) fn doubts(receipts: &[(&Receipt, Vec<Seen>)]) -> Vec<Doubt> {
    let mut evidence = Evidence::default();
    for word in receipts.iter().flat_map(|(_, words)| words).filter(|w| !w.waits()) {
        evidence.count(&word.given, word.answer());
    }
    let of_receipt = |(receipt, words): &(&Receipt, Vec<Seen>)| -> Vec<Doubt> {
        runs(words).into_iter().filter_map(|run| doubt(receipt, words, run, &evidence)).collect()
    };
    let mut all: Vec<Doubt> = receipts.iter().flat_map(of_receipt).collect();
    all.sort_by(|a, b| b.evidence.total_cmp(&a.evidence).then(b.score.total_cmp(&a.score)));
    all
}

/// Runs of neighbours of one label, one status and one answer, that are doubtful or wait for review.
fn runs(words: &[Seen]) -> Vec<Range<usize>> {
    let same = |a: &Seen, b: &Seen| (&a.given, &a.proposed, a.status) == (&b.given, &b.proposed, b.status);
    let mut start = 0;
    let mut out = Vec::new();
    for run in words.chunk_by(same) {
        let range = start..start + run.len();
        start = range.end;
        if run.first().is_some_and(|s| s.given != s.proposed || s.waits()) {
            out.push(range);
        }
    }
    out
}

/// Share of the labelled run around some words that they make up; 1 for words without a label.
fn coverage(words: &[Seen], run: &Range<usize>) -> f64 {
    let Some(given) = words.get(run.start).map(|w| w.given.as_str()).filter(|g| *g != "O") else {
        return 1.0;
    };
    let same = |w: &&Seen| w.given == given;
    let before = words.get(..run.start).unwrap_or_default().iter().rev().take_while(same).count();
    let after = words.get(run.end..).unwrap_or_default().iter().take_while(same).count();
    run.len() as f64 / (before + run.len() + after) as f64
}

fn doubt(receipt: &Receipt, words: &[Seen], range: Range<usize>, evidence: &Evidence) -> Option<Doubt> {
    let run = words.get(range.clone())?;
    let first = run.first()?;
    let mean = |of: &dyn Fn(&Seen) -> f64| run.iter().map(of).sum::<f64>() / run.len() as f64;
    let (given, proposed) = (mean(&|s| s.given_probability), mean(&|s| s.proposed_probability));
    // A word or two at the edge of a long run are more often a matter of where it ends than a wrong label.
    let telling = mean(&|s| evidence.for_change(&s.given, s.answer())) * coverage(words, &range);
    let members = || run.iter().filter_map(|s| receipt.words.get(s.index));
    let words: Vec<DoubtedWord> = members()
        .map(|w| DoubtedWord { line_id: w.line_id, word_id: w.word_id, text: w.text.clone() })
        .collect();
    let texts: Vec<&str> = members().map(|w| w.text.as_str()).collect();
    let corner =
        |of: fn(&[f64; 4]) -> f64, pick: fn(f64, f64) -> f64| members().map(|w| of(&w.bbox)).reduce(pick);
    let verdict = match (first.given.as_str(), first.proposed.as_str()) {
        (given, proposed) if given == proposed => Verdict::Confirm,
        ("O", _) => Verdict::Add,
        (_, "O") => Verdict::Remove,
        _ => Verdict::Change,
    };
    Some(Doubt {
        image_id: receipt.image_id.clone(),
        receipt_id: receipt.receipt_id,
        verdict,
        score: if first.given == first.proposed { proposed - 1.0 } else { proposed - given },
        evidence: telling + verdict.prior(),
        given: first.given.clone(),
        proposed: first.proposed.clone(),
        given_probability: given,
        proposed_probability: proposed,
        validation_status: first.status,
        text: texts.join(" "),
        bbox: [
            corner(|b| b[0].min(b[2]), f64::min)?,
            corner(|b| b[1].min(b[3]), f64::min)?,
            corner(|b| b[0].max(b[2]), f64::max)?,
            corner(|b| b[1].max(b[3]), f64::max)?,
        ],
        words,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(words: &[(&str, &str, f64, ValidationStatus)]) -> Vec<Seen> {
        let word =
            |(index, (given, proposed, p, status)): (usize, &(&str, &str, f64, ValidationStatus))| Seen {
                index,
                given: given.to_string(),
                proposed: proposed.to_string(),
                status: *status,
                given_probability: if given == proposed { *p } else { 1.0 - p },
                proposed_probability: *p,
            };
        words.iter().enumerate().map(word).collect()
    }

    fn receipt(words: usize) -> Receipt {
        let word = |i: usize| format!(r#"{{"line_id":0,"word_id":{i},"text":"w{i}","box":[{i},0,{i},1]}}"#);
        let words: Vec<String> = (0..words).map(word).collect();
        Receipt::from_json(&format!(r#"{{"image_id":"r","words":[{}]}}"#, words.join(","))).unwrap()
    }

    #[test]
    fn neighbours_with_one_label_and_one_answer_are_one_doubt_and_agreement_is_none() {
        use ValidationStatus::{NeedsReview, Valid};
        let words = seen(&[
            ("DATE", "DATE", 0.9, Valid),
            ("DATE", "TIME", 0.9, Valid),
            ("DATE", "TIME", 0.7, Valid),
            ("O", "O", 0.9, Valid),
            ("O", "DATE", 0.8, Valid),
            ("TIME", "O", 0.6, Valid),
            ("TIME", "TIME", 0.9, NeedsReview),
        ]);
        let receipt = receipt(7);
        let found = doubts(&[(&receipt, words)]);
        let mut listed: Vec<(Verdict, &str)> = found.iter().map(|d| (d.verdict, d.text.as_str())).collect();
        listed.sort_unstable();
        let want = [
            (Verdict::Change, "w1 w2"),
            (Verdict::Remove, "w5"),
            (Verdict::Add, "w4"),
            (Verdict::Confirm, "w6"),
        ];
        assert_eq!(listed, want);
        let change = found.iter().find(|d| d.verdict == Verdict::Change).unwrap();
        assert!((change.score - 0.6).abs() < 1e-12 && change.bbox == [1.0, 0.0, 2.0, 1.0], "{change:?}");
        assert!(found.iter().all(|d| d.waits() == (d.verdict == Verdict::Confirm)));
    }

    #[test]
    fn a_word_at_the_edge_of_a_long_run_weighs_less_than_a_whole_run() {
        use ValidationStatus::Valid;
        let whole = seen(&[("A", "B", 0.9, Valid)]);
        let edge = seen(&[
            ("A", "A", 0.9, Valid),
            ("A", "A", 0.9, Valid),
            ("A", "A", 0.9, Valid),
            ("A", "B", 0.9, Valid),
        ]);
        assert_eq!((coverage(&whole, &(0..1)), coverage(&edge, &(3..4))), (1.0, 0.25));
        assert_eq!(coverage(&seen(&[("O", "B", 0.9, Valid), ("O", "O", 0.9, Valid)]), &(0..1)), 1.0);
    }
}
