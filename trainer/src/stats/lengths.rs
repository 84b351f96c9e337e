//! Lengths: tokens per word, words per receipt, windows per receipt, and the words that a 512-token cut loses.

use layoutlm_core::encoder::Encoder;
use layoutlm_core::encoding::Encoding;
use layoutlm_core::metrics::percentile;
use layoutlm_core::receipt::Receipt;
use layoutlm_core::tokenize::{TokenizeError, Tokenizer};
use layoutlm_core::window::{Overflow, WindowRule};
use serde::{Deserialize, Serialize};

/// How a figure is spread over its items; all 0 without items.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Least.
    pub min: f64,
    /// Median.
    pub median: f64,
    /// 95th percentile.
    pub p95: f64,
    /// Most.
    pub max: f64,
}

impl Spread {
    /// Of some numbers.
    pub fn of(values: impl IntoIterator<Item = usize>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().map(|v| v as f64).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |percent| percentile(&sorted, percent);
        let mean = sorted.iter().sum::<f64>() / sorted.len().max(1) as f64;
        Self { mean, min: at(0.0), median: at(50.0), p95: at(95.0), max: at(100.0) }
    }
}

/// Words that get no label because their tokens are cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CutLoss {
    /// Words that no window has a token of.
    pub lost_words: usize,
    /// Those of them that carry a label.
    pub lost_labelled_words: usize,
    /// Receipts with such words.
    pub receipts: usize,
}

/// Lengths of a data set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Lengths {
    /// Words per receipt.
    pub words_per_receipt: Spread,
    /// Tokens per word.
    pub tokens_per_word: Spread,
    /// Windows per receipt as this toolkit cuts them; no word is lost.
    pub windows_per_receipt: Spread,
    /// Receipts of more than one window.
    pub long_receipts: usize,
    /// What windows of the same size, cut off at the token limit, lose.
    pub cut_windows: CutLoss,
    /// What one sequence per receipt, cut off at the token limit, loses.
    pub cut_receipts: CutLoss,
}

impl Lengths {
    /// Measures receipts under an encoding's boxes, order and windows.
    ///
    /// # Errors
    /// [`TokenizeError`] when the tokenizer fails on a text.
    pub fn of(
        receipts: &[&Receipt],
        tokenizer: &Tokenizer,
        encoding: &Encoding,
    ) -> Result<Self, TokenizeError> {
        let mut tokens = Vec::new();
        for receipt in receipts {
            let texts: Vec<&str> = receipt.words.iter().map(|w| w.text.as_str()).collect();
            tokens.extend(tokenizer.tokenize(&texts)?.counts());
        }
        let windows = windows_per_receipt(receipts, tokenizer, encoding.window, encoding)?;
        let truncate =
            |size, stride| WindowRule { size, stride, overflow: Overflow::Truncate, ..encoding.window };
        let whole = usize::MAX / 4;
        Ok(Self {
            words_per_receipt: Spread::of(receipts.iter().map(|r| r.words.len())),
            tokens_per_word: Spread::of(tokens),
            long_receipts: windows.iter().filter(|(n, _)| *n > 1).count(),
            windows_per_receipt: Spread::of(windows.iter().map(|(n, _)| *n)),
            cut_windows: loss(
                receipts,
                tokenizer,
                truncate(encoding.window.size, encoding.window.stride),
                encoding,
            )?,
            cut_receipts: loss(receipts, tokenizer, truncate(whole, whole), encoding)?,
        })
    }
}

/// Windows of each receipt, and which of its words no window has a token of.
fn windows_per_receipt(
    receipts: &[&Receipt],
    tokenizer: &Tokenizer,
    window: WindowRule,
    encoding: &Encoding,
) -> Result<Vec<(usize, Vec<usize>)>, TokenizeError> {
    let rules = Encoding { window, tokenizer_sha256: tokenizer.sha256().into(), ..encoding.clone() };
    // The encoding's hash is the tokenizer's own and its window rule is checked: nothing is left to refuse.
    let Ok(encoder) = Encoder::new(rules, tokenizer.clone()) else { return Ok(Vec::new()) };
    let one = |receipt: &&Receipt| -> Result<(usize, Vec<usize>), TokenizeError> {
        let encoded = encoder.encode(receipt)?;
        let mut seen = vec![false; receipt.words.len()];
        for window in &encoded.windows {
            for word in window.first_subtokens().filter_map(|(_, w)| window.word_indices.get(w)) {
                seen.get_mut(*word).into_iter().for_each(|s| *s = true);
            }
        }
        let lost = seen.iter().enumerate().filter(|(_, seen)| !**seen).map(|(i, _)| i).collect();
        Ok((encoded.windows.len(), lost))
    };
    receipts.iter().map(one).collect()
}

fn loss(
    receipts: &[&Receipt],
    tokenizer: &Tokenizer,
    window: WindowRule,
    encoding: &Encoding,
) -> Result<CutLoss, TokenizeError> {
    let mut loss = CutLoss::default();
    for (receipt, (_, lost)) in
        receipts.iter().zip(windows_per_receipt(receipts, tokenizer, window, encoding)?)
    {
        let labelled = |i: &&usize| {
            let word = receipt.words.get(**i);
            word.and_then(|w| w.label.as_deref()).is_some_and(|l| l != "O")
        };
        loss.lost_words += lost.len();
        loss.lost_labelled_words += lost.iter().filter(labelled).count();
        loss.receipts += usize::from(!lost.is_empty());
    }
    Ok(loss)
}

#[cfg(test)]
mod tests {
    use layoutlm_core::label::{LabelScheme, LabelSet};

    use super::*;
    use crate::data::{build_vocab, synthesize};

    #[test]
    fn a_cut_loses_words_of_long_receipts_and_windows_that_end_early_lose_none() {
        let receipts = synthesize(3, 20, 4);
        let all: Vec<&Receipt> = receipts.iter().collect();
        let tokenizer = Tokenizer::from_vocab(&build_vocab(&receipts, 400), true).unwrap();
        let labels = LabelSet::from_entities(["DATE".to_string()]).unwrap();
        let mut encoding = Encoding::new(tokenizer.sha256().into(), true, labels, LabelScheme::default());
        encoding.window = WindowRule { size: 40, stride: 30, max_length: 64, ..WindowRule::default() };
        let l = Lengths::of(&all, &tokenizer, &encoding).unwrap();
        assert!(
            l.cut_windows.lost_words > 0 && l.cut_receipts.lost_words > l.cut_windows.lost_words,
            "{l:?}"
        );
        assert!(l.cut_receipts.lost_labelled_words > 0 && l.cut_receipts.receipts <= 20);
        assert!(l.long_receipts > 0 && l.tokens_per_word.mean >= 1.0);
        let kept = windows_per_receipt(&all, &tokenizer, encoding.window, &encoding).unwrap();
        assert!(kept.iter().all(|(_, lost)| lost.is_empty()));
    }

    #[test]
    fn a_spread_has_its_ends_and_middle() {
        let s = Spread::of([4, 1, 1, 2]);
        assert_eq!((s.mean, s.min, s.median, s.max), (2.0, 1.0, 1.5, 4.0));
        assert_eq!(Spread::of([]), Spread::default());
    }
}
