//! WordPiece tokens of pre-split words, by the `tokenizers` crate.
//!
//! Loads a Hugging Face `tokenizer.json` or a plain `vocab.txt`. Truncation and padding that a file may carry are
//! always switched off: cutting is the window rule's business. The canonical form (its bytes and their hash) is what
//! bundles and checkpoints hold.

use std::ops::Range;
use std::sync::Arc;

use ahash::AHashMap;
use serde_json::Value;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{
    AddedToken, InputSequence, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
};

use crate::bbox::NormalizedBox;
use crate::encoding::sha256_hex;
use crate::window::Window;

/// The special tokens of every BERT vocabulary.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Why a tokenizer could not be made or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizeError {
    /// Not a tokenizer file of the `tokenizers` library.
    #[error("tokenizer.json: {0}")]
    Json(String),
    /// Not a vocabulary.
    #[error("vocab.txt: {0}")]
    Vocab(String),
    /// A special token is not in the vocabulary.
    #[error("the vocabulary has no {0} token: is this a BERT or LayoutLM tokenizer?")]
    MissingSpecial(&'static str),
    /// The library failed on a text.
    #[error("the tokenizer failed: {0}")]
    Encode(String),
}

/// Tokens of a receipt's words in reading order, special tokens left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    ids: Vec<u32>,
    /// Where each word's tokens start in `ids`; one entry more than there are words.
    starts: Vec<usize>,
}

impl Tokens {
    /// Tokens per word; 0 for words of blanks or control characters.
    pub fn counts(&self) -> Vec<usize> {
        self.starts.windows(2).map(|w| w.last().unwrap_or(&0) - w.first().unwrap_or(&0)).collect()
    }

    /// Number of tokens of all words.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True when no word has a token.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// `(token, word)` of a run of words, cut after `most` tokens; words count from the start of the run.
    pub fn words(&self, range: Range<usize>, most: usize) -> Vec<(u32, u32)> {
        let first = range.start;
        range
            .flat_map(|w| {
                let of = |i: usize| self.starts.get(i).copied().unwrap_or(self.ids.len());
                let ids = self.ids.get(of(w)..of(w + 1)).unwrap_or_default();
                ids.iter().map(move |&id| (id, (w - first) as u32))
            })
            .take(most)
            .collect()
    }

    /// `(token, word)` of a run of tokens: the library's own way of cutting, in the middle of words.
    pub fn span(&self, range: Range<usize>) -> Vec<(u32, u32)> {
        let word_of = |t: usize| self.starts.partition_point(|&s| s <= t).saturating_sub(1) as u32;
        range.filter_map(|t| Some((*self.ids.get(t)?, word_of(t)))).collect()
    }
}

/// A BERT WordPiece tokenizer. Cheap to clone.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<tokenizers::Tokenizer>,
    canonical: Arc<str>,
    sha256: Arc<str>,
    pad: u32,
    cls: u32,
    sep: u32,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("sha256", &self.sha256).finish_non_exhaustive()
    }
}

/// The library reads some parts of a file twice and panics where the second reading fails: on text that is no JSON, and on
/// a damaged `Precompiled` normaliser, which is SentencePiece's and none of BERT's.
fn refuse_what_the_library_panics_on(bytes: &[u8]) -> Result<(), TokenizeError> {
    let file: Value = serde_json::from_slice(bytes).map_err(|e| TokenizeError::Json(e.to_string()))?;
    if file.get("normalizer").is_some_and(is_precompiled) {
        return Err(TokenizeError::Json("its normalizer is SentencePiece's Precompiled, not BERT's".into()));
    }
    Ok(())
}

fn is_precompiled(normalizer: &Value) -> bool {
    let parts = normalizer.get("normalizers").and_then(Value::as_array);
    normalizer.get("type").and_then(Value::as_str) == Some("Precompiled")
        || parts.is_some_and(|parts| parts.iter().any(is_precompiled))
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizeError`] for a malformed file or a vocabulary without BERT's special tokens.
    pub fn from_json(bytes: &[u8]) -> Result<Self, TokenizeError> {
        refuse_what_the_library_panics_on(bytes)?;
        let inner =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| TokenizeError::Json(e.to_string()))?;
        Self::wrap(inner)
    }

    /// Builds the standard BERT tokenizer over a `vocab.txt`, one token a line, id = line number from 0.
    ///
    /// # Errors
    /// [`TokenizeError`] for repeated tokens or a vocabulary without BERT's special tokens.
    pub fn from_vocab(text: &str, lower_case: bool) -> Result<Self, TokenizeError> {
        let vocab_error = |e: String| TokenizeError::Vocab(e);
        let mut vocab = AHashMap::new();
        for (line, token) in text.lines().enumerate() {
            let token = token.trim_end_matches('\r').to_string();
            if let Some(first) = vocab.insert(token.clone(), line as u32) {
                return Err(vocab_error(format!(
                    "line {}: {token:?} is already on line {}",
                    line + 1,
                    first + 1
                )));
            }
        }
        let known = |token: &'static str| {
            if vocab.contains_key(token) { Ok(()) } else { Err(TokenizeError::MissingSpecial(token)) }
        };
        SPECIAL.into_iter().try_for_each(known)?;
        let model = WordPiece::builder()
            .vocab(vocab)
            .unk_token("[UNK]".into())
            .build()
            .map_err(|e| vocab_error(e.to_string()))?;
        let mut inner = tokenizers::Tokenizer::new(ModelWrapper::WordPiece(model));
        let normalizer = BertNormalizer::new(true, true, None, lower_case);
        inner
            .with_normalizer(Some(NormalizerWrapper::BertNormalizer(normalizer)))
            .map_err(|e| vocab_error(e.to_string()))?;
        inner.with_pre_tokenizer(Some(PreTokenizerWrapper::BertPreTokenizer(BertPreTokenizer)));
        inner.with_decoder(Some(tokenizers::DecoderWrapper::WordPiece(WordPieceDecoder::default())));
        inner
            .add_special_tokens(SPECIAL.map(|t| AddedToken::from(t, true)))
            .map_err(|e| vocab_error(e.to_string()))?;
        Self::wrap(inner)
    }

    fn wrap(mut inner: tokenizers::Tokenizer) -> Result<Self, TokenizeError> {
        inner.with_truncation(None).map_err(|e| TokenizeError::Json(e.to_string()))?;
        inner.with_padding(None);
        let id = |token: &'static str| inner.token_to_id(token).ok_or(TokenizeError::MissingSpecial(token));
        let (pad, cls, sep) = (id("[PAD]")?, id("[CLS]")?, id("[SEP]")?);
        // Not used here (windows add the special tokens), but other readers of the file rely on it.
        let frame = BertProcessing::new(("[SEP]".into(), sep), ("[CLS]".into(), cls));
        inner.with_post_processor(Some(PostProcessorWrapper::Bert(frame)));
        let canonical = inner.to_string(true).map_err(|e| TokenizeError::Json(e.to_string()))?;
        let sha256 = sha256_hex(canonical.as_bytes()).into();
        Ok(Self { inner: Arc::new(inner), canonical: canonical.into(), sha256, pad, cls, sep })
    }

    /// The canonical `tokenizer.json`: what checkpoints and bundles hold.
    pub fn to_json(&self) -> &str {
        &self.canonical
    }

    /// SHA-256 of [`Tokenizer::to_json`], hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether it lower-cases.
    pub fn lower_case(&self) -> bool {
        matches!(self.inner.get_normalizer(), Some(NormalizerWrapper::BertNormalizer(n)) if n.lowercase)
    }

    /// Id of `[PAD]`.
    pub fn pad_id(&self) -> u32 {
        self.pad
    }

    /// Id of `[UNK]`, if the vocabulary has one.
    pub fn unk_id(&self) -> Option<u32> {
        self.inner.token_to_id("[UNK]")
    }

    /// Number of ids, i.e. rows the word-embedding table needs at least.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab(true).values().max().map_or(0, |&m| m as usize + 1)
    }

    /// The vocabulary in id order, one token per id, as `vocab.txt` holds it.
    pub fn vocab_txt(&self) -> String {
        let mut tokens = vec![String::new(); self.vocab_size()];
        for (token, id) in self.inner.get_vocab(true) {
            if let Some(slot) = tokens.get_mut(id as usize) {
                *slot = token;
            }
        }
        tokens.iter().map(|t| format!("{t}\n")).collect()
    }

    /// Tokenises words given in reading order.
    ///
    /// # Errors
    /// [`TokenizeError::Encode`] when the library fails.
    pub fn tokenize(&self, words: &[&str]) -> Result<Tokens, TokenizeError> {
        let encoding = self
            .inner
            .encode(InputSequence::from(words), false)
            .map_err(|e| TokenizeError::Encode(e.to_string()))?;
        let mut starts = vec![0; words.len() + 1];
        for word in encoding.get_word_ids().iter().flatten() {
            if let Some(count) = starts.get_mut(*word as usize + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Ok(Tokens { ids: encoding.get_ids().to_vec(), starts })
    }

    /// `[CLS]` + tokens + `[SEP]` with their boxes. `boxes` and `word_indices` are per word of the window.
    pub fn assemble(
        &self,
        word_indices: Vec<usize>,
        boxes: &[NormalizedBox],
        tokens: &[(u32, u32)],
        special_box: NormalizedBox,
    ) -> Window {
        let length = tokens.len() + 2;
        let mut window = Window {
            word_indices,
            input_ids: Vec::with_capacity(length),
            bbox: Vec::with_capacity(length),
            word_ids: Vec::with_capacity(length),
        };
        let mut push = |id, bbox, word| {
            window.input_ids.push(id);
            window.bbox.push(bbox);
            window.word_ids.push(word);
        };
        push(self.cls, special_box, None);
        for &(id, word) in tokens {
            push(id, boxes.get(word as usize).copied().unwrap_or(special_box), Some(word));
        }
        push(self.sep, special_box, None);
        window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCAB: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ntotal\nto\n##tal\n1\n##2\n";

    #[test]
    fn words_become_pieces_and_blank_words_none() {
        let t = Tokenizer::from_vocab(VOCAB, true).unwrap();
        let tokens = t.tokenize(&["TOTAL", " ", "12", "?"]).unwrap();
        assert_eq!(tokens.counts(), [1, 0, 2, 1]);
        assert_eq!(tokens.words(0..4, 99), [(5, 0), (8, 2), (9, 2), (1, 3)]);
        assert_eq!(tokens.span(1..3), [(8, 2), (9, 2)]);
    }

    #[test]
    fn the_canonical_form_reads_back_to_itself() {
        let t = Tokenizer::from_vocab(VOCAB, true).unwrap();
        let back = Tokenizer::from_json(t.to_json().as_bytes()).unwrap();
        assert_eq!(back.sha256(), t.sha256());
        assert!(back.lower_case());
        assert_eq!(back.vocab_txt(), VOCAB);
    }

    #[test]
    fn files_that_the_library_would_panic_on_are_refused() {
        let whole = Tokenizer::from_vocab(VOCAB, true).unwrap().to_json().to_string();
        let with = |from: &str, to: &str| {
            assert!(whole.contains(from), "{whole}");
            Tokenizer::from_json(whole.replacen(from, to, 1).as_bytes()).unwrap_err().to_string()
        };
        let message = with("\"decoder\": {", "\"decoder\": {x");
        assert!(message.contains("key must be a string"), "{message}");
        let message = with("\"type\": \"BertNormalizer\"", "\"type\":\"Precompiled\"");
        assert!(message.contains("Precompiled"), "{message}");
        let sequence =
            "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Precompiled\"}]},\"x\":{";
        let message = with("\"normalizer\": {", sequence);
        assert!(message.contains("Precompiled"), "{message}");
    }

    #[test]
    fn a_vocabulary_without_special_tokens_or_with_repeats_is_refused() {
        assert_eq!(
            Tokenizer::from_vocab("a\nb\n", true).unwrap_err(),
            TokenizeError::MissingSpecial("[PAD]")
        );
        assert!(
            Tokenizer::from_vocab(&format!("{VOCAB}total\n"), true)
                .unwrap_err()
                .to_string()
                .contains("line 11")
        );
    }
}
