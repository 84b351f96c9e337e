//! Building items attribute by attribute.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::dynamo::{Item, float, integer};

/// An item under construction.
#[derive(Debug, Default)]
pub(super) struct Build(Item);

impl Build {
    pub(super) fn new(pk: String, sk: String, item_type: &str) -> Self {
        Self::default().text("PK", pk).text("SK", sk).text("TYPE", item_type)
    }

    /// Keys of one index, e.g. `1` for `GSI1PK` and `GSI1SK`.
    pub(super) fn index(self, number: u8, pk: impl Into<String>, sk: impl Into<String>) -> Self {
        self.text(&format!("GSI{number}PK"), pk).text(&format!("GSI{number}SK"), sk)
    }

    pub(super) fn value(mut self, name: &str, value: AttributeValue) -> Self {
        self.0.insert(name.into(), value);
        self
    }

    pub(super) fn text(self, name: &str, value: impl Into<String>) -> Self {
        self.value(name, AttributeValue::S(value.into()))
    }

    pub(super) fn flag(self, name: &str, value: bool) -> Self {
        self.value(name, AttributeValue::Bool(value))
    }

    pub(super) fn integer(self, name: &str, value: impl Into<i128>) -> Self {
        self.value(name, integer(value))
    }

    /// Left out where it is unknown.
    pub(super) fn optional_text(self, name: &str, value: Option<&String>) -> Self {
        match value {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    /// Left out where it is unknown.
    pub(super) fn optional_integer(self, name: &str, value: Option<u64>) -> Self {
        match value {
            Some(number) => self.integer(name, number),
            None => self,
        }
    }

    /// Left out where it is unknown or not finite, which the table can't hold.
    pub(super) fn optional_float(self, name: &str, value: Option<f64>) -> Self {
        match value.and_then(float) {
            Some(number) => self.value(name, number),
            None => self,
        }
    }

    pub(super) fn done(self) -> Item {
        self.0
    }
}
