//! What a caller may ask for, in the query string or in the body's `options`; the body wins.

use layoutlm_core::bbox::Origin;
use layoutlm_core::predict::ReceiptPrediction;
use serde::Deserialize;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{IntoParams, ToSchema};

use super::error::ApiError;

/// What the boxes' numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BoxUnit {
    /// Pixels (or any unit) of a page of `width` × `height`; without these the words' own extent is the page.
    #[default]
    Pixels,
    /// 0..1 of the page.
    Relative,
    /// 0..1000 of the page.
    Thousandths,
}

/// The options of one call; absent ones have their defaults.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The probability of every class for every word [false].
    pub probabilities: Option<bool>,
    /// Runs of words with their values [true].
    pub entities: Option<bool>,
    /// Products with quantity, unit price and total, and whether they add up to the total [false].
    pub line_items: Option<bool>,
    /// Entities whose confidence is below it (0..=1) are left out; words keep their labels; 0 by default.
    #[schema(minimum = 0, maximum = 1)]
    #[param(minimum = 0, maximum = 1)]
    pub min_confidence: Option<f64>,
    /// Unit of boxes of receipts that do not state their own; pixels by default.
    #[param(inline)]
    pub unit: Option<BoxUnit>,
    /// Origin of receipts that do not state their own; `top_left` by default.
    #[schema(schema_with = origin_schema)]
    #[param(schema_with = origin_schema)]
    pub origin: Option<Origin>,
    /// Shape of the answer; `native` by default.
    #[param(inline)]
    pub format: Option<Format>,
}

/// The shape of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AnswerFormat)]
pub enum Format {
    /// Words, entities and what was asked for besides.
    #[default]
    Native,
    /// That of Amazon Textract's AnalyzeExpense.
    Textract,
}

/// Where y is 0.
pub(super) fn origin_schema() -> Schema {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["top_left", "bottom_left"])).into()
}

impl Options {
    /// `self` where it says something, else `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            probabilities: self.probabilities.or(other.probabilities),
            entities: self.entities.or(other.entities),
            line_items: self.line_items.or(other.line_items),
            min_confidence: self.min_confidence.or(other.min_confidence),
            unit: self.unit.or(other.unit),
            origin: self.origin.or(other.origin),
            format: self.format.or(other.format),
        }
    }

    /// # Errors
    /// 422 for a `min_confidence` outside 0..=1.
    pub fn check(self) -> Result<Self, ApiError> {
        match self.min_confidence {
            Some(value) if !(0.0..=1.0).contains(&value) => {
                let message = format!("min_confidence is {value}; expected 0 to 1");
                Err(ApiError::invalid_options(message).at_field("min_confidence"))
            }
            _ => Ok(self),
        }
    }

    /// Leaves out of a prediction what was not asked for.
    pub fn trim(&self, prediction: &mut ReceiptPrediction) {
        if !self.probabilities.unwrap_or(false) {
            prediction.words.iter_mut().for_each(|word| word.probabilities = None);
        }
        let least = self.min_confidence.unwrap_or(0.0);
        if self.entities.unwrap_or(true) {
            prediction.entities.retain(|entity| f64::from(entity.confidence) >= least);
        } else {
            prediction.entities.clear();
        }
    }
}
