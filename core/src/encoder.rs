//! An encoding together with its tokenizer: receipts in, windows out.

use crate::batch::Batch;
use crate::bbox::NormalizedBox;
use crate::encoding::{Encoding, EncodingError};
use crate::receipt::Receipt;
use crate::tokenize::{TokenizeError, Tokenizer};
use crate::window::Window;

/// Why an encoder could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// The encoding is unusable or belongs to another tokenizer.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// The tokenizer is unusable.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
}

/// One receipt as the network sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedReceipt {
    /// Words of the receipt, also those without a token.
    pub num_words: usize,
    /// Receipt word (input order) at each place of the reading order, `[num_words]`.
    pub order: Vec<usize>,
    /// Windows; every word is in at least one.
    pub windows: Vec<Window>,
}

/// Turns receipts into windows by one [`Encoding`]. Cheap to share between threads.
#[derive(Debug, Clone)]
pub struct Encoder {
    encoding: Encoding,
    tokenizer: Tokenizer,
}

impl Encoder {
    /// Brings an encoding and its tokenizer together.
    ///
    /// # Errors
    /// [`EncodingError::Tokenizer`] when the hashes differ, other [`EncodingError`]s for unusable rules.
    pub fn new(encoding: Encoding, tokenizer: Tokenizer) -> Result<Self, EncoderError> {
        encoding.check()?;
        if tokenizer.sha256() != encoding.tokenizer_sha256 {
            let (expected, found) = (encoding.tokenizer_sha256, tokenizer.sha256().to_string());
            return Err(EncodingError::Tokenizer { expected, found }.into());
        }
        Ok(Self { encoding, tokenizer })
    }

    /// The rules.
    pub fn encoding(&self) -> &Encoding {
        &self.encoding
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Orders, normalises, tokenises and cuts one receipt.
    ///
    /// # Errors
    /// [`TokenizeError`] when the tokenizer fails on a text; never for length.
    pub fn encode(&self, receipt: &Receipt) -> Result<EncodedReceipt, TokenizeError> {
        let raw: Vec<[f64; 4]> = receipt.words.iter().map(|w| w.bbox).collect();
        let boxes = self.encoding.box_rule.normalize(receipt.page(), &raw);
        let order = self.encoding.reading_order.sort(&boxes, self.encoding.box_rule.origin);
        let texts: Vec<&str> =
            order.iter().filter_map(|&i| receipt.words.get(i)).map(|w| w.text.as_str()).collect();
        let tokens = self.tokenizer.tokenize(&texts)?;
        let windows = self
            .encoding
            .window
            .cut(&tokens.counts())
            .into_iter()
            .map(|range| {
                let indices: Vec<usize> = order.get(range.clone()).unwrap_or_default().to_vec();
                let window_boxes: Vec<NormalizedBox> =
                    indices.iter().filter_map(|&i| boxes.get(i).copied()).collect();
                let max_length = self.encoding.window.max_length;
                let part = tokens.words(range, max_length - 2);
                self.tokenizer.assemble(indices, &window_boxes, &part, self.encoding.special_token_box)
            })
            .collect();
        Ok(EncodedReceipt { num_words: receipt.words.len(), order, windows })
    }

    /// Pads windows into one batch with the tokenizer's `[PAD]`.
    pub fn pad(&self, windows: &[&Window]) -> Batch {
        Batch::pad(windows, self.tokenizer.pad_id())
    }
}
