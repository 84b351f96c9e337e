//! Reading an item's attributes one by one, each failure named by item and field.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use serde::{Deserialize, Serialize};

use super::number::{parse_float, parse_integer};

/// An item as DynamoDB gives it.
pub type Item = HashMap<String, AttributeValue>;

/// What is wrong with an item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("item {pk} / {sk}: {field}: {reason}")]
pub struct ItemError {
    /// Its partition key, `?` when it has none.
    pub pk: String,
    /// Its sort key.
    pub sk: String,
    /// The attribute.
    pub field: String,
    /// What was found and what is expected.
    pub reason: String,
}

/// Reads attributes of one item.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    item: &'a Item,
}

impl<'a> Fields<'a> {
    /// Of one item.
    pub fn of(item: &'a Item) -> Self {
        Self { item }
    }

    fn raw(&self, name: &str) -> Option<&'a AttributeValue> {
        self.item.get(name).filter(|v| !matches!(v, AttributeValue::Null(_)))
    }

    /// An error about one attribute.
    pub fn error(&self, field: &str, reason: impl Into<String>) -> ItemError {
        let key = |name: &str| match self.item.get(name) {
            Some(AttributeValue::S(text)) => text.clone(),
            _ => "?".into(),
        };
        ItemError { pk: key("PK"), sk: key("SK"), field: field.into(), reason: reason.into() }
    }

    fn wrong(&self, name: &str, expected: &str) -> ItemError {
        let reason = match self.item.get(name) {
            None => format!("is missing; expected {expected}"),
            Some(value) => format!("expected {expected}, found {}", kind(value)),
        };
        self.error(name, reason)
    }

    /// The item's `TYPE`, empty without one.
    pub fn item_type(&self) -> &'a str {
        self.optional_text("TYPE").ok().flatten().unwrap_or("")
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// [`ItemError`].
    pub fn text(&self, name: &str) -> Result<&'a str, ItemError> {
        self.optional_text(name)?.ok_or_else(|| self.wrong(name, "a string"))
    }

    /// A text, `None` where it is absent or `NULL`.
    ///
    /// # Errors
    /// [`ItemError`] for another type.
    pub fn optional_text(&self, name: &str) -> Result<Option<&'a str>, ItemError> {
        match self.raw(name) {
            None => Ok(None),
            Some(AttributeValue::S(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "a string")),
        }
    }

    /// The same, owned.
    ///
    /// # Errors
    /// [`ItemError`] for another type.
    pub fn optional_string(&self, name: &str) -> Result<Option<String>, ItemError> {
        Ok(self.optional_text(name)?.map(String::from))
    }

    /// A number that must be there.
    ///
    /// # Errors
    /// [`ItemError`].
    pub fn number(&self, name: &str) -> Result<f64, ItemError> {
        self.optional_number(name)?.ok_or_else(|| self.wrong(name, "a number"))
    }

    /// A number, `None` where it is absent or `NULL`.
    ///
    /// # Errors
    /// [`ItemError`].
    pub fn optional_number(&self, name: &str) -> Result<Option<f64>, ItemError> {
        match self.raw(name) {
            None => Ok(None),
            Some(AttributeValue::N(text)) => {
                parse_float(text).map(Some).ok_or_else(|| self.error(name, format!("{text:?} is no number")))
            }
            Some(_) => Err(self.wrong(name, "a number")),
        }
    }

    /// A whole number that must be there.
    ///
    /// # Errors
    /// [`ItemError`].
    pub fn integer(&self, name: &str) -> Result<i64, ItemError> {
        self.optional_integer(name)?.ok_or_else(|| self.wrong(name, "a whole number"))
    }

    /// A whole number, `None` where it is absent or `NULL`.
    ///
    /// # Errors
    /// [`ItemError`].
    pub fn optional_integer(&self, name: &str) -> Result<Option<i64>, ItemError> {
        match self.raw(name) {
            None => Ok(None),
            Some(AttributeValue::N(text)) => parse_integer(text)
                .map(Some)
                .ok_or_else(|| self.error(name, format!("{text:?} is no whole number"))),
            Some(_) => Err(self.wrong(name, "a whole number")),
        }
    }

    /// A flag, `None` where it is absent or `NULL`.
    ///
    /// # Errors
    /// [`ItemError`] for another type.
    pub fn optional_bool(&self, name: &str) -> Result<Option<bool>, ItemError> {
        match self.raw(name) {
            None => Ok(None),
            Some(AttributeValue::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(name, "a boolean")),
        }
    }

    /// A map that must be there.
    ///
    /// # Errors
    /// [`ItemError`].
    pub fn map(&self, name: &str) -> Result<Fields<'a>, ItemError> {
        self.optional_map(name)?.map(Fields::of).ok_or_else(|| self.wrong(name, "a map"))
    }

    /// A map, `None` where it is absent or `NULL`.
    ///
    /// # Errors
    /// [`ItemError`] for another type.
    pub fn optional_map(&self, name: &str) -> Result<Option<&'a Item>, ItemError> {
        match self.raw(name) {
            None => Ok(None),
            Some(AttributeValue::M(map)) => Ok(Some(map)),
            Some(_) => Err(self.wrong(name, "a map")),
        }
    }

    /// A map of strings, empty where it is absent.
    ///
    /// # Errors
    /// [`ItemError`] for another type or a value that is no string.
    pub fn text_map(&self, name: &str) -> Result<std::collections::BTreeMap<String, String>, ItemError> {
        let Some(map) = self.optional_map(name)? else { return Ok(Default::default()) };
        map.iter()
            .map(|(key, value)| match value {
                AttributeValue::S(text) => Ok((key.clone(), text.clone())),
                _ => Err(self.error(&format!("{name}.{key}"), "expected a string")),
            })
            .collect()
    }

    /// Any attribute, `None` where it is absent or `NULL`.
    pub fn value(&self, name: &str) -> Option<&'a AttributeValue> {
        self.raw(name)
    }
}

fn kind(value: &AttributeValue) -> &'static str {
    match value {
        AttributeValue::S(_) => "a string",
        AttributeValue::N(_) => "a number",
        AttributeValue::Bool(_) => "a boolean",
        AttributeValue::M(_) => "a map",
        AttributeValue::L(_) => "a list",
        AttributeValue::Null(_) => "NULL",
        _ => "another type",
    }
}
