//! From receipts to what the network is fed and should answer: examples as token windows with tags.

use layoutlm_core::bbox::NormalizedBox;
use layoutlm_core::encoding::sha256_hex;
use layoutlm_core::label::{LabelId, LabelSet, Tag};
use layoutlm_core::receipt::{Receipt, ValidationStatus};
use layoutlm_core::tokenize::Tokenizer;
use layoutlm_core::window::Window;
use rayon::prelude::*;

use super::error::DataError;
use super::examples::Scope;
use super::examples::{ExampleKind, ExampleRules, WordExample};
use super::labelled::LabelledReceipt;

/// An example with its tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedExample {
    /// Key of its receipt.
    pub key: String,
    /// What it is.
    pub kind: ExampleKind,
    /// Its tokens.
    pub window: Window,
    /// BIO tag of each word of the window, `[words]`.
    pub tags: Vec<String>,
}

impl EncodedExample {
    /// Class of each word, `[words]`; what the model does not know is `O` (an unknown `I-X` falls back to `B-X`).
    pub fn label_ids(&self, labels: &LabelSet) -> Vec<LabelId> {
        self.tags.iter().map(|tag| Tag::parse(tag).map_or(LabelId::OUTSIDE, |t| labels.id_of(t))).collect()
    }
}

/// How receipts become token windows.
#[derive(Debug, Clone, Copy)]
pub struct ExampleEncoder<'a> {
    /// How they are cut and tagged.
    pub rules: &'a ExampleRules,
    /// Makes the tokens.
    pub tokenizer: &'a Tokenizer,
    /// Box of special tokens.
    pub special_token_box: NormalizedBox,
    /// Which labels count.
    pub status: ValidationStatus,
    /// What of the receipts they are: those of item bands come cropped, so the rules don't show it.
    pub scope: Scope,
}

impl ExampleEncoder<'_> {
    /// Examples of receipts, in their order. Those without a single token are left out: nothing can be learned there.
    ///
    /// # Errors
    /// [`DataError::Encode`] when the tokenizer fails on a text.
    pub fn encode(&self, receipts: &[Receipt]) -> Result<Vec<EncodedExample>, DataError> {
        self.each(receipts, ExampleRules::cut)
    }

    /// The extra item windows of training receipts, where the rules ask for them.
    ///
    /// # Errors
    /// [`DataError::Encode`] when the tokenizer fails on a text.
    pub fn encode_item_windows(&self, receipts: &[Receipt]) -> Result<Vec<EncodedExample>, DataError> {
        self.each(receipts, ExampleRules::cut_item_windows)
    }

    /// Hash of everything that decides what receipts are encoded to: tokenizer, rules and label status.
    ///
    /// Two encoders with the same fingerprint make the same examples of the same receipts. Classes are not part of
    /// it: examples hold tags.
    pub fn fingerprint(&self) -> String {
        let rules = self.rules;
        let all = serde_json::json!({
            "tokenizer_sha256": self.tokenizer.sha256(),
            "special_token_box": self.special_token_box,
            "status": self.status,
            "box_rule": rules.box_rule,
            "reading_order": rules.reading_order,
            "window": rules.window,
            "scheme": rules.scheme,
            "granularity": rules.granularity,
            "scope": self.scope,
            "item_windows": rules.item_windows,
        });
        sha256_hex(all.to_string().as_bytes())
    }

    fn each(
        &self,
        receipts: &[Receipt],
        cut: fn(&ExampleRules, &LabelledReceipt<'_>, Option<&[usize]>) -> Vec<WordExample>,
    ) -> Result<Vec<EncodedExample>, DataError> {
        let one = |receipt: &Receipt| -> Result<Vec<EncodedExample>, DataError> {
            let labelled = LabelledReceipt::new(receipt, self.status);
            let texts: Vec<&str> = receipt.words.iter().map(|w| w.text.as_str()).collect();
            let counts = self.tokens(receipt, &texts)?.counts();
            let examples = cut(self.rules, &labelled, Some(&counts));
            examples.into_iter().map(|example| self.assemble(receipt, &texts, example)).collect()
        };
        let nested: Result<Vec<Vec<EncodedExample>>, DataError> = receipts.par_iter().map(one).collect();
        Ok(nested?.into_iter().flatten().filter(|e| e.window.len() > 2).collect())
    }

    fn tokens(
        &self,
        receipt: &Receipt,
        texts: &[&str],
    ) -> Result<layoutlm_core::tokenize::Tokens, DataError> {
        let failed = |e: layoutlm_core::tokenize::TokenizeError| DataError::Encode {
            key: receipt.key(),
            reason: e.to_string(),
        };
        self.tokenizer.tokenize(texts).map_err(failed)
    }

    fn assemble(
        &self,
        receipt: &Receipt,
        texts: &[&str],
        example: WordExample,
    ) -> Result<EncodedExample, DataError> {
        let texts: Vec<&str> = example.words.iter().filter_map(|&w| texts.get(w).copied()).collect();
        let tokens = self.tokens(receipt, &texts)?.words(0..texts.len(), self.rules.window.max_length - 2);
        let window = self.tokenizer.assemble(example.words, &example.boxes, &tokens, self.special_token_box);
        Ok(EncodedExample { key: example.key, kind: example.kind, window, tags: example.tags })
    }
}
