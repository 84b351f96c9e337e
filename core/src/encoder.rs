//! An encoding together with its tokenizer: receipts in, windows out.

use std::ops::Range;

use crate::batch::Batch;
use crate::bbox::NormalizedBox;
use crate::encoding::{Encoding, EncodingError, Granularity};
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

impl EncodedReceipt {
    /// Values in reading order → values in the receipt's own order, `[num_words]`.
    pub fn in_input_order<T: Copy>(&self, in_reading_order: &[T], missing: T) -> Vec<T> {
        let mut out = vec![missing; self.num_words];
        for (&word, &value) in self.order.iter().zip(in_reading_order) {
            out.get_mut(word).into_iter().for_each(|slot| *slot = value);
        }
        out
    }
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

    /// The same encoder with another temperature.
    ///
    /// # Errors
    /// [`EncodingError::Temperature`] unless it is a finite number above 0.
    pub fn with_temperature(&self, temperature: f32) -> Result<Self, EncodingError> {
        let encoding = Encoding { temperature, ..self.encoding.clone() };
        encoding.check()?;
        Ok(Self { encoding, tokenizer: self.tokenizer.clone() })
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
        let boxes = self.boxes(receipt);
        let order = self.order_of(receipt, &boxes);
        let texts: Vec<&str> =
            order.iter().filter_map(|&i| receipt.words.get(i)).map(|w| w.text.as_str()).collect();
        let tokens = self.tokenizer.tokenize(&texts)?;
        let windows = self
            .ranges(receipt, &order, &tokens.counts())
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

    /// Receipt word (input order) at each place of the reading order, without tokenising anything.
    pub fn order(&self, receipt: &Receipt) -> Vec<usize> {
        self.order_of(receipt, &self.boxes(receipt))
    }

    fn boxes(&self, receipt: &Receipt) -> Vec<NormalizedBox> {
        let raw: Vec<[f64; 4]> = receipt.words.iter().map(|w| w.bbox).collect();
        self.encoding.box_rule.normalize(receipt.page(), &raw)
    }

    fn order_of(&self, receipt: &Receipt, boxes: &[NormalizedBox]) -> Vec<usize> {
        match self.encoding.granularity {
            Granularity::Receipt => self.encoding.reading_order.sort(boxes, self.encoding.box_rule.origin),
            Granularity::Line => receipt.line_order(),
        }
    }

    /// Places of the reading order that make a window each.
    fn ranges(&self, receipt: &Receipt, order: &[usize], counts: &[usize]) -> Vec<Range<usize>> {
        let rule = self.encoding.window;
        if self.encoding.granularity == Granularity::Receipt {
            return rule.cut(counts);
        }
        let mut ranges = Vec::new();
        let mut start = 0;
        for line in receipt.lines(order) {
            let cut = rule.whole().cut(counts.get(start..start + line.len()).unwrap_or_default());
            ranges.extend(cut.into_iter().map(|range| start + range.start..start + range.end));
            start += line.len();
        }
        ranges
    }

    /// Pads windows into one batch with the tokenizer's `[PAD]`.
    pub fn pad(&self, windows: &[&Window]) -> Batch {
        Batch::pad(windows, self.tokenizer.pad_id())
    }
}
