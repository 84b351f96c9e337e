//! What BERT's tokenizer makes of a word before it looks for pieces: the library's own normaliser and pre-tokeniser.

use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
};

/// Lower-cased words without accents, punctuation marks apart; nothing for blanks.
pub(super) fn basic_words(text: &str) -> Vec<String> {
    let mut normalized = NormalizedString::from(text);
    if BertNormalizer::new(true, true, None, true).normalize(&mut normalized).is_err() {
        return Vec::new();
    }
    let mut split = PreTokenizedString::from(normalized);
    if BertPreTokenizer.pre_tokenize(&mut split).is_err() {
        return Vec::new();
    }
    let pieces = split.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
    pieces.into_iter().map(|(piece, ..)| piece.to_string()).filter(|p| !p.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_lower_case_without_accents_and_punctuation_stands_apart() {
        assert_eq!(basic_words("Café-Total: $1.50"), ["cafe", "-", "total", ":", "$", "1", ".", "50"]);
        assert!(basic_words(" \t").is_empty());
    }
}
