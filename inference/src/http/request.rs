//! From a request's bytes to checked receipts: one object, a list, or `{"receipts": […], "options": {…}}`.
//!
//! Liberal where nothing can be misread (ids may be left out, unknown fields are ignored), exact everywhere else: each
//! refusal names the receipt and the field.

use layoutlm_core::bbox::Origin;
use layoutlm_core::receipt::{Receipt, ReceiptError, ValidationStatus, Word};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use utoipa::ToSchema;

use super::error::ApiError;
use super::object::Object;
use super::options::{BoxUnit, Options, origin_schema};

/// What a request may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Words of one receipt.
    pub words: usize,
    /// Receipts of one call.
    pub receipts: usize,
}

/// How the receipts came, so that the answer has the same shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallShape {
    /// One object: answered by an object.
    One,
    /// A list: answered by a list.
    List,
    /// `{"receipts": […]}`: answered by `{"receipts": […]}`.
    Wrapped,
}

/// A checked call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// In the order given.
    pub receipts: Vec<Receipt>,
    /// How they came.
    pub shape: CallShape,
    /// Body before query.
    pub options: Options,
}

/// Body of an object: a receipt, or a wrapper around several.
#[derive(Debug, Deserialize)]
struct ObjectIn {
    receipts: Option<Vec<Object<ReceiptIn>>>,
    options: Option<Object<Options>>,
    image_id: Option<String>,
    receipt_id: Option<u32>,
    width: Option<f64>,
    height: Option<f64>,
    origin: Option<Origin>,
    unit: Option<BoxUnit>,
    merchant: Option<String>,
    words: Option<Vec<Object<WordIn>>>,
}

/// A receipt as an OCR engine read it.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Receipt)]
pub(super) struct ReceiptIn {
    /// A name for it; `receipt-<n>` by default.
    image_id: Option<String>,
    /// Number of the receipt on its image; 1 by default.
    receipt_id: Option<u32>,
    /// Width of the page in pixels; without width and height the words' own extent is the page.
    width: Option<f64>,
    /// Height of the page in pixels.
    height: Option<f64>,
    /// Where y is 0; `top_left` by default.
    #[schema(schema_with = origin_schema)]
    origin: Option<Origin>,
    /// Unit of the boxes; `pixels` by default.
    unit: Option<BoxUnit>,
    /// Who issued it, if known.
    merchant: Option<String>,
    /// In any order.
    #[schema(value_type = Vec<WordIn>)]
    words: Vec<Object<WordIn>>,
}

/// One word.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = WordInCall)]
struct WordIn {
    /// Line the OCR engine put it on; 0 by default.
    line_id: Option<u32>,
    /// Id inside the line, so that `(line_id, word_id)` is unique; its place by default.
    word_id: Option<u32>,
    /// The text as read.
    text: String,
    /// `[x0, y0, x1, y1]`; `bbox` is understood as well.
    #[serde(rename = "box", alias = "bbox", deserialize_with = "corners")]
    bbox: [f64; 4],
}

/// What a call may hold: a receipt with its options, a list of receipts, or a wrapper around them.
#[derive(ToSchema)]
#[schema(as = Call)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the three shapes that `parse` tells apart")]
pub(super) enum CallBody {
    /// One receipt.
    One {
        #[serde(flatten)]
        receipt: ReceiptIn,
        /// Of this call.
        options: Option<Options>,
    },
    /// A list of receipts.
    List(Vec<ReceiptIn>),
    /// A wrapper.
    Wrapped {
        /// In any number up to the server's limit.
        receipts: Vec<ReceiptIn>,
        /// Of this call.
        options: Option<Options>,
    },
}

/// Four numbers; a fixed array would call a fifth one a syntax error.
fn corners<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[f64; 4], D::Error> {
    let numbers = Vec::<f64>::deserialize(deserializer)?;
    let wrong = |v: Vec<f64>| D::Error::custom(format!("{} numbers, expected 4: [x0, y0, x1, y1]", v.len()));
    numbers.try_into().map_err(wrong)
}

/// Reads a body. `query` are the options of the query string.
///
/// # Errors
/// 400 for what is not JSON, 422 for JSON that is no receipt or too much of it.
pub fn parse(body: &[u8], query: Options, limits: RequestLimits) -> Result<Call, ApiError> {
    let (receipts, shape, options) = match body.iter().find(|b| !b.is_ascii_whitespace()) {
        None => return Err(ApiError::invalid_json("the body is empty; send a receipt as JSON")),
        Some(b'[') => (from_json::<Vec<Object<ReceiptIn>>>(body)?, CallShape::List, Options::default()),
        Some(b'{') => split(from_json(body)?)?,
        Some(_) => {
            from_json::<serde::de::IgnoredAny>(body)?;
            return Err(ApiError::invalid_receipt(
                "expected a receipt, a list of receipts or {\"receipts\": […]}",
            ));
        }
    };
    let options = options.or(query).check()?;
    if receipts.len() > limits.receipts {
        return Err(ApiError::too_many_receipts(receipts.len(), limits.receipts));
    }
    let receipts = receipts.into_iter().enumerate().map(|(index, Object(receipt))| {
        let count = receipt.words.len();
        if count > limits.words {
            return Err(ApiError::too_many_words(count, limits.words).at_receipt(index));
        }
        let receipt = receipt.into_receipt(index, &options);
        match receipt.check() {
            Ok(()) => Ok(receipt),
            Err(ReceiptError::Field { field, reason }) => {
                let message = format!("{field}: {reason}");
                Err(ApiError::invalid_receipt(message).at_receipt(index).at_field(field))
            }
            Err(other) => Err(ApiError::invalid_receipt(other.to_string()).at_receipt(index)),
        }
    });
    Ok(Call { receipts: receipts.collect::<Result<_, _>>()?, shape, options })
}

fn split(object: ObjectIn) -> Result<(Vec<Object<ReceiptIn>>, CallShape, Options), ApiError> {
    let options = object.options.map(|Object(options)| options).unwrap_or_default();
    match (object.receipts, object.words) {
        (Some(receipts), None) => Ok((receipts, CallShape::Wrapped, options)),
        (None, Some(words)) => {
            let ObjectIn { image_id, receipt_id, width, height, origin, unit, merchant, .. } = object;
            let receipt = ReceiptIn { image_id, receipt_id, width, height, origin, unit, merchant, words };
            Ok((vec![Object(receipt)], CallShape::One, options))
        }
        (Some(_), Some(_)) => Err(ApiError::invalid_receipt("has both words and receipts; send one of them")),
        (None, None) => Err(ApiError::invalid_receipt("words is missing").at_field("words")),
    }
}

impl ReceiptIn {
    fn into_receipt(self, index: usize, options: &Options) -> Receipt {
        let side = match self.unit.or(options.unit).unwrap_or_default() {
            BoxUnit::Pixels => None,
            BoxUnit::Relative => Some(1.0),
            BoxUnit::Thousandths => Some(1000.0),
        };
        let words = self.words.into_iter().zip(0u32..).map(|(Object(word), position)| Word {
            line_id: word.line_id.unwrap_or(0),
            word_id: word.word_id.unwrap_or(position),
            text: word.text,
            bbox: word.bbox,
            label: None,
            validation_status: ValidationStatus::None,
            source_label: None,
            entity_id: None,
        });
        Receipt {
            image_id: self.image_id.unwrap_or_else(|| format!("receipt-{}", index + 1)),
            receipt_id: self.receipt_id.unwrap_or(1),
            width: side.or(self.width),
            height: side.or(self.height),
            origin: self.origin.or(options.origin).unwrap_or_default(),
            merchant: self.merchant,
            words: words.collect(),
        }
    }
}

fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let path = e.path().to_string();
        refused(e.inner(), &path)
    })?;
    reader.end().map_err(|e| refused(&e, "."))?;
    Ok(value)
}

fn refused(error: &serde_json::Error, path: &str) -> ApiError {
    match error.classify() {
        Category::Data => {
            let (receipt, field) = locate(path);
            let place = if field.is_empty() { String::new() } else { format!("{field}: ") };
            let mut refusal = if field.starts_with("options") {
                ApiError::invalid_options(format!("{place}{error}"))
            } else {
                ApiError::invalid_receipt(format!("{place}{error}"))
            };
            if let Some(index) = receipt {
                refusal = refusal.at_receipt(index);
            }
            if field.is_empty() { refusal } else { refusal.at_field(field) }
        }
        _ => ApiError::invalid_json(format!("the body is not JSON: {error}")),
    }
}

/// Splits `receipts[2].words[0].box` or `[2].words[0].box` into receipt 2 and `words[0].box`.
fn locate(path: &str) -> (Option<usize>, &str) {
    if path == "." {
        return (None, "");
    }
    let index_and_rest =
        path.strip_prefix("receipts").unwrap_or(path).strip_prefix('[').and_then(|p| p.split_once(']'));
    match index_and_rest.and_then(|(index, rest)| Some((index.parse().ok()?, rest))) {
        Some((index, rest)) => (Some(index), rest.trim_start_matches('.')),
        None => (None, path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RequestLimits = RequestLimits { body_bytes: 1 << 20, words: 3, receipts: 2 };
    const ONE: &str = r#"{"image_id":"a","words":[{"text":"x","box":[0,0,1,1]}]}"#;

    fn read(text: &str) -> Result<Call, ApiError> {
        parse(text.as_bytes(), Options::default(), LIMITS)
    }

    #[test]
    fn one_a_list_and_a_wrapper_are_understood() {
        assert_eq!(read(ONE).unwrap().shape, CallShape::One);
        let list = read(&format!("[{ONE},{ONE}]")).unwrap();
        assert_eq!((list.shape, list.receipts.len()), (CallShape::List, 2));
        let wrapped = read(&format!(r#"{{"receipts":[{ONE}],"options":{{"probabilities":true}}}}"#)).unwrap();
        assert_eq!((wrapped.shape, wrapped.options.probabilities), (CallShape::Wrapped, Some(true)));
        assert_eq!(read("[]").unwrap().receipts, []);
    }

    #[test]
    fn ids_may_be_left_out_and_unknown_fields_are_ignored() {
        let call = read(
            r#"{"fields":{},"words":[{"text":"x","box":[0,0,1,1],"label":"B-X"},{"text":"y","bbox":[0,0,1,1]}]}"#,
        );
        let receipt = &call.unwrap().receipts[0];
        assert_eq!(receipt.image_id, "receipt-1");
        assert_eq!(
            receipt.words.iter().map(|w| (w.line_id, w.word_id)).collect::<Vec<_>>(),
            [(0, 0), (0, 1)]
        );
        assert_eq!(receipt.words[0].label, None);
    }

    #[test]
    fn units_and_origin_set_the_page() {
        let call =
            read(r#"{"unit":"relative","width":70,"height":80,"origin":"bottom_left","words":[]}"#).unwrap();
        let receipt = &call.receipts[0];
        assert_eq!(
            (receipt.width, receipt.height, receipt.origin),
            (Some(1.0), Some(1.0), Origin::BottomLeft)
        );
        let query = Options { unit: Some(BoxUnit::Thousandths), ..Options::default() };
        let call = parse(ONE.as_bytes(), query, LIMITS).unwrap();
        assert_eq!(call.receipts[0].width, Some(1000.0));
    }

    #[test]
    fn each_refusal_has_its_code_and_names_its_place() {
        let deep = format!(r#"{{"words":[{{"text":"x","box":{}"#, "[".repeat(100_000));
        let ignored = format!(r#"{{"words":[],"x":{}"#, "[".repeat(100_000));
        let twice = r#"{"words":[{"word_id":1,"text":"x","box":[0,0,1,1]},{"word_id":1,"text":"y","box":[0,0,1,1]}]}"#;
        let many = format!(r#"{{"words":[{}]}}"#, [r#"{"text":"x","box":[0,0,1,1]}"#; 4].join(","));
        let cases: &[(&str, u16, &str, &str)] = &[
            ("", 400, "invalid_json", "empty"),
            ("{\"words\":", 400, "invalid_json", "EOF"),
            (&deep, 422, "invalid_receipt", "words[0].box[0]"),
            (&ignored, 400, "invalid_json", "EOF"),
            ("[[]]", 422, "invalid_receipt", "expected an object"),
            (r#"{"words":[[0,0,"x",[0,0,1,1]]]}"#, 422, "invalid_receipt", "words[0]: "),
            ("{} x", 400, "invalid_json", "trailing"),
            (r#"{"words":[{"text":"x","box":[0,0,NaN,1]}]}"#, 400, "invalid_json", "not JSON"),
            (r#"{"words":[{"text":"x","box":[0,0,1e999,1]}]}"#, 400, "invalid_json", "out of range"),
            ("3", 422, "invalid_receipt", "expected a receipt"),
            ("{}", 422, "invalid_receipt", "words is missing"),
            (r#"{"words":[{"text":"x","box":[0,0,"1",1]}]}"#, 422, "invalid_receipt", "words[0].box[2]: "),
            (r#"{"words":[{"text":"x","box":[0,0,1]}]}"#, 422, "invalid_receipt", "words[0].box: 3 numbers"),
            (
                r#"{"words":[{"text":"x","box":[0,0,1,1,1]}]}"#,
                422,
                "invalid_receipt",
                "words[0].box: 5 numbers",
            ),
            (r#"{"words":[{"text":"x"}]}"#, 422, "invalid_receipt", "missing field `box`"),
            (
                r#"{"words":[{"line_id":-1,"text":"x","box":[0,0,1,1]}]}"#,
                422,
                "invalid_receipt",
                "words[0].line_id",
            ),
            (r#"{"words":[],"words":[]}"#, 422, "invalid_receipt", "duplicate field"),
            (r#"{"words":[],"receipts":[]}"#, 422, "invalid_receipt", "both"),
            (r#"{"words":[],"width":0}"#, 422, "invalid_receipt", "width"),
            (r#"{"words":[],"image_id":""}"#, 422, "invalid_receipt", "image_id"),
            (r#"{"words":[],"options":{"probabilites":true}}"#, 422, "invalid_options", "unknown field"),
            (r#"{"words":[],"options":{"min_confidence":7}}"#, 422, "invalid_options", "min_confidence"),
            (twice, 422, "invalid_receipt", "occurs twice"),
            (&many, 422, "too_many_words", "4 words"),
            (r#"[{"words":[]},{"words":[]},{"words":[]}]"#, 422, "too_many_receipts", "3 receipts"),
        ];
        for (body, status, code, part) in cases {
            let error = read(body).unwrap_err();
            assert_eq!((error.status().as_u16(), error.code()), (*status, *code), "{body} → {error:?}");
            assert!(error.message().contains(part), "{body} → {error:?}");
        }
    }

    #[test]
    fn the_receipt_and_field_of_a_wrong_type_are_named() {
        for body in [
            r#"[{"words":[]},{"words":[{"text":7}]}]"#,
            r#"{"receipts":[{"words":[]},{"words":[{"text":7}]}]}"#,
        ] {
            let error = read(body).unwrap_err();
            let found = ApiError::invalid_receipt(error.message()).at_receipt(1).at_field("words[0].text");
            assert_eq!(error, found);
        }
    }

    #[test]
    fn invalid_utf_8_is_not_json() {
        let mut body = ONE.as_bytes().to_vec();
        let place = body.iter().position(|&b| b == b'x').unwrap();
        body[place] = 0xff;
        assert_eq!(parse(&body, Options::default(), LIMITS).unwrap_err().code(), "invalid_json");
    }
}
