//! A proof that did not hold, with the windows that show it.

use std::fmt;

use layoutlm_core::bundle::Certificate;

/// Rows shown of a broken proof.
const SHOWN: usize = 10;

/// How one window did. Holds no text of the receipt.
#[derive(Debug, Clone, PartialEq)]
pub struct WorstWindow {
    /// The receipt's key.
    pub receipt: String,
    /// The window's index in its receipt.
    pub window: usize,
    /// Words in it.
    pub words: usize,
    /// Largest |Δlogit| over first sub-tokens.
    pub max_abs_logit_diff: f64,
    /// Words of it whose label differs.
    pub flips: usize,
    /// The first of those: `B-DATE → O`.
    pub example: Option<String>,
}

impl WorstWindow {
    pub(crate) fn new(receipt: &str, window: usize, words: usize) -> Self {
        Self { receipt: receipt.to_string(), window, words, max_abs_logit_diff: 0.0, flips: 0, example: None }
    }

    /// Counts a word that may have flipped.
    pub(crate) fn add_flip(&mut self, flip: Option<&String>) {
        if let Some(flip) = flip {
            self.flips += 1;
            self.example.get_or_insert_with(|| flip.clone());
        }
    }
}

/// A variant that does not label as the checkpoint does.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokenProof {
    /// The variant's name.
    pub variant: String,
    /// Which limit was broken, as a sentence.
    pub reason: String,
    /// What was measured.
    pub certificate: Certificate,
    /// The worst windows, worst first; none when the probe broke.
    pub worst: Vec<WorstWindow>,
}

impl std::error::Error for BrokenProof {}

impl fmt::Display for BrokenProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.certificate;
        write!(
            f,
            "the {} graph does not answer as the checkpoint does: {} ({} receipts, {} windows, {} words of {})",
            self.variant, self.reason, c.receipts, c.windows, c.words, c.data
        )?;
        let shown = self.worst.get(..SHOWN.min(self.worst.len())).unwrap_or_default();
        if shown.is_empty() {
            return Ok(());
        }
        let width = shown.iter().map(|w| w.receipt.chars().count()).max().unwrap_or(0).max("receipt".len());
        write!(f, "\n{:width$}  window  words  flips  max |Δlogit|  example", "receipt")?;
        for w in shown {
            let example = w.example.as_deref().unwrap_or("-");
            write!(
                f,
                "\n{:width$}  {:>6}  {:>5}  {:>5}  {:>12.3e}  {example}",
                w.receipt, w.window, w.words, w.flips, w.max_abs_logit_diff
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use layoutlm_core::bundle::Limits;

    use super::*;

    #[test]
    fn the_table_shows_the_windows_given_and_at_most_ten() {
        let mut row = WorstWindow::new("r#00001", 2, 40);
        row.max_abs_logit_diff = 0.25;
        row.add_flip(Some(&"O → B-DATE".to_string()));
        let certificate = Certificate {
            data: "x.jsonl".into(),
            receipts: 1,
            windows: 3,
            words: 120,
            max_abs_logit_diff: 0.25,
            mean_abs_logit_diff: 0.1,
            label_flips: 1,
            flips_per_10k_words: 83.3,
            f1_reference: None,
            f1: None,
            limits: Limits::EXACT,
            latency_ms: None,
        };
        let proof = BrokenProof {
            variant: "int8".into(),
            reason: "1 of 120 labels flip".into(),
            certificate,
            worst: vec![row; 12],
        };
        let text = proof.to_string();
        assert!(
            text.starts_with("the int8 graph does not answer as the checkpoint does: 1 of 120 labels flip")
        );
        assert_eq!(text.lines().count(), 12);
        assert_eq!(text.lines().nth(2), Some("r#00001       2     40      1      2.500e-1  O → B-DATE"));
    }
}
