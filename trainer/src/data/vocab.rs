//! A WordPiece vocabulary learnt from receipts, for models trained from random weights.
//!
//! Pieces are merged greedily by frequency, as byte-pair encoding does, over the words that the BERT normaliser and
//! pre-tokeniser make. Ties go to the smaller text, so the same receipts always give the same vocabulary. A model
//! that was pre-trained keeps its own vocabulary and has no use for this.
//!
//! Source: Sennrich et al. 2016, §3.2 (merging); Wu et al. 2016, §4.1 (word pieces).

use std::collections::{BTreeMap, BTreeSet};

use layoutlm_core::receipt::Receipt;

use super::wordpieces::basic_words;

const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Characters of money and print that any receipt may hold, beside ASCII.
const EXTRA: &str = "£€¥¢°·•–—‘’“”";

/// Longest piece that holds a digit: numbers are read by their parts, not learnt by heart.
const DIGITS_PER_PIECE: usize = 2;

/// Two neighbouring pieces, by id.
type Pair = (u32, u32);

/// What is known of a pair.
struct PairEntry {
    /// Occurrences over all words.
    count: u64,
    /// Distinct words it occurs in.
    words: BTreeSet<usize>,
    /// What it would become.
    merged: String,
    /// Whether it may be merged at all.
    usable: bool,
}

/// Builds a `vocab.txt` of about `size` lower-case pieces, one a line.
///
/// Special tokens come first, then every printable ASCII character and every character of the receipts, alone and as
/// a continuation, then merged pieces by frequency. A `size` below the number of characters still gives all of them.
pub fn build_vocab(receipts: &[Receipt], size: usize) -> String {
    let counts = word_counts(receipts);
    let mut pieces = Pieces::new(&counts);
    while pieces.texts.len() + SPECIAL.len() < size {
        let Some(pair) = pieces.best_pair() else { break };
        pieces.merge(pair);
    }
    let lines = SPECIAL.into_iter().chain(pieces.texts.iter().map(String::as_str));
    lines.map(|line| format!("{line}\n")).collect()
}

/// How often each basic word occurs.
fn word_counts(receipts: &[Receipt]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for word in receipts.iter().flat_map(|r| &r.words).flat_map(|w| basic_words(&w.text)) {
        *counts.entry(word).or_insert(0) += 1;
    }
    counts
}

/// Words as rows of pieces, and the pieces known so far.
struct Pieces {
    texts: Vec<String>,
    /// Pieces of each distinct word and its count.
    words: Vec<(Vec<u32>, u64)>,
    pairs: BTreeMap<Pair, PairEntry>,
}

impl Pieces {
    fn new(counts: &BTreeMap<String, u64>) -> Self {
        let printable = (33u8..127).map(char::from).filter(|c| !c.is_ascii_uppercase()).chain(EXTRA.chars());
        let characters: BTreeSet<char> = printable.chain(counts.keys().flat_map(|w| w.chars())).collect();
        let alone = characters.iter().map(char::to_string);
        let texts: Vec<String> = alone.chain(characters.iter().map(|c| format!("##{c}"))).collect();
        let ids: BTreeMap<&str, u32> = texts.iter().zip(0..).map(|(t, id)| (t.as_str(), id)).collect();
        let piece = |(i, c): (usize, char)| {
            let text = if i == 0 { c.to_string() } else { format!("##{c}") };
            ids.get(text.as_str()).copied().unwrap_or(0)
        };
        let words = counts.iter().map(|(w, &n)| (w.chars().enumerate().map(piece).collect(), n)).collect();
        let mut pieces = Self { texts, words, pairs: BTreeMap::new() };
        for word in 0..pieces.words.len() {
            pieces.count(word, 1);
        }
        pieces
    }

    /// Adds (`sign` 1) or takes away (-1) a word's pairs.
    fn count(&mut self, word: usize, sign: i64) {
        let Some((row, times)) = self.words.get(word) else { return };
        for pair in row.iter().zip(row.iter().skip(1)).map(|(&a, &b)| (a, b)) {
            let texts = &self.texts;
            let entry = self.pairs.entry(pair).or_insert_with(|| PairEntry::new(texts, pair));
            if sign > 0 {
                entry.count += times;
                entry.words.insert(word);
            } else {
                entry.count = entry.count.saturating_sub(*times);
                entry.words.remove(&word);
            }
        }
    }

    /// The most frequent pair that occurs at least twice; the smaller text wins a tie.
    fn best_pair(&self) -> Option<Pair> {
        self.pairs
            .iter()
            .filter(|(_, entry)| entry.count >= 2 && entry.usable)
            .max_by(|(_, a), (_, b)| a.count.cmp(&b.count).then_with(|| b.merged.cmp(&a.merged)))
            .map(|(pair, _)| *pair)
    }

    fn merge(&mut self, pair: Pair) {
        let Some(PairEntry { words: affected, merged: text, .. }) = self.pairs.remove(&pair) else { return };
        // Two pairs can spell one piece: "a"+"##bc" and "ab"+"##c".
        let id = match self.texts.iter().position(|t| *t == text) {
            Some(id) => id as u32,
            None => {
                self.texts.push(text);
                (self.texts.len() - 1) as u32
            }
        };
        for word in affected {
            self.count(word, -1);
            if let Some((row, _)) = self.words.get_mut(word) {
                *row = replaced(row, pair, id);
            }
            self.count(word, 1);
        }
        self.pairs.remove(&pair);
    }
}

impl PairEntry {
    fn new(texts: &[String], (a, b): Pair) -> Self {
        let text = |id: u32| texts.get(id as usize).map_or("", String::as_str);
        let merged = format!("{}{}", text(a), text(b).trim_start_matches("##"));
        let digits = merged.chars().any(|c| c.is_ascii_digit());
        let usable = !digits || merged.trim_start_matches("##").chars().count() <= DIGITS_PER_PIECE;
        Self { count: 0, words: BTreeSet::new(), merged, usable }
    }
}

/// A row with every occurrence of a pair made one piece.
fn replaced(row: &[u32], (a, b): Pair, id: u32) -> Vec<u32> {
    let mut out = Vec::with_capacity(row.len());
    let mut rest = row;
    while let Some((&first, tail)) = rest.split_first() {
        match tail.split_first() {
            Some((&second, after)) if first == a && second == b => {
                out.push(id);
                rest = after;
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use layoutlm_core::tokenize::Tokenizer;

    use super::*;

    fn receipt(words: &[&str]) -> Receipt {
        let words: Vec<String> = words
            .iter()
            .enumerate()
            .map(|(i, t)| format!(r#"{{"line_id":0,"word_id":{i},"text":{t:?},"box":[0,0,1,1]}}"#))
            .collect();
        Receipt::from_json(&format!(r#"{{"image_id":"a","words":[{}]}}"#, words.join(","))).unwrap()
    }

    #[test]
    fn frequent_words_become_one_piece_and_nothing_is_unknown() {
        let corpus = receipt(&["TOTAL", "Total", "total:", "Café", "$12.99", "12.50", "naïve", "total"]);
        let vocab = build_vocab(std::slice::from_ref(&corpus), 400);
        let tokenizer = Tokenizer::from_vocab(&vocab, true).unwrap();
        assert_eq!(tokenizer.tokenize(&["TOTAL"]).unwrap().counts(), [1]);
        let strange = ["Zürich", "€9,99", "x@y.z", "{~}", "2025", "“quoted”"];
        let tokens = tokenizer.tokenize(&strange).unwrap();
        let unknown = tokenizer.unk_id().unwrap();
        assert!(tokens.words(0..strange.len(), 999).iter().all(|(id, _)| *id != unknown));
        assert!(
            vocab
                .lines()
                .all(|l| l.trim_start_matches("##").chars().filter(char::is_ascii_digit).count() <= 2)
        );
    }

    #[test]
    fn the_same_receipts_give_the_same_vocabulary_whatever_their_order() {
        let (a, b) = (receipt(&["milk", "milky", "bread"]), receipt(&["breads", "silk", "milk"]));
        let one = build_vocab(&[a.clone(), b.clone()], 250);
        assert_eq!(one, build_vocab(&[b, a], 250));
        assert!(one.starts_with("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"));
        let distinct: BTreeSet<&str> = one.lines().collect();
        assert_eq!(distinct.len(), one.lines().count());
    }
}
