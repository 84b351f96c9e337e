//! Writing items: conditionally one by one, or in batches whose left-overs are sent again until there are none.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};

use super::fields::Item;
use super::keys::ItemKey;
use super::table::Table;
use crate::error::AwsError;
use crate::fault::Fault;

/// Items in one batch, at most.
const BATCH: usize = 25;

/// When an item may be written.
#[derive(Debug, Clone, PartialEq)]
pub enum PutCondition {
    /// Always.
    Always,
    /// Only where there is none yet.
    New,
    /// Only where there is one.
    Existing,
    /// Where an expression holds.
    When {
        /// The expression.
        expression: String,
        /// Attribute names it stands for, by placeholder (`#n`).
        names: BTreeMap<String, String>,
        /// Values it stands for, by placeholder (`:v`).
        values: BTreeMap<String, AttributeValue>,
    },
}

/// Whether a conditional write took place.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Written {
    /// It did.
    Yes,
    /// The condition did not hold; what is there instead, if anything.
    No(Option<Item>),
}

impl Table {
    /// Writes one whole item.
    ///
    /// # Errors
    /// [`AwsError::Call`]; a condition that does not hold is no error but [`Written::No`].
    pub async fn put(&self, item: &Item, condition: &PutCondition) -> Result<Written, AwsError> {
        let mut expression = None;
        let (mut names, mut values) = (None, None);
        match condition {
            PutCondition::Always => {}
            PutCondition::New => expression = Some("attribute_not_exists(PK)".to_string()),
            PutCondition::Existing => expression = Some("attribute_exists(PK)".to_string()),
            PutCondition::When { expression: text, names: n, values: v } => {
                expression = Some(text.clone());
                names = Some(n.clone().into_iter().collect::<HashMap<_, _>>()).filter(|n| !n.is_empty());
                values = Some(v.clone().into_iter().collect::<HashMap<_, _>>()).filter(|v| !v.is_empty());
            }
        }
        let request = || {
            self.client
                .put_item()
                .table_name(&self.name)
                .set_item(Some(item.clone()))
                .set_condition_expression(expression.clone())
                .set_expression_attribute_names(names.clone())
                .set_expression_attribute_values(values.clone())
                .send()
        };
        match self.retry.send("PutItem", &self.describe(), request).await {
            Ok(_) => Ok(Written::Yes),
            Err(error) if error.fault() == Some(Fault::Condition) => {
                let found = match key_of(item) {
                    Some(key) => self.get(&key).await?,
                    None => None,
                };
                // An answer that was lost on its way makes a write come twice: then the item is already there.
                let same =
                    *condition == PutCondition::New && found.as_ref().is_some_and(|f| same_item(f, item));
                Ok(if same { Written::Yes } else { Written::No(found) })
            }
            Err(error) => Err(error),
        }
    }

    /// Writes many items, 25 a request; those the table left unprocessed are sent again after a pause.
    ///
    /// # Errors
    /// [`AwsError::Call`]; also when items are still unprocessed after the last attempt.
    pub async fn put_all(&self, items: &[Item]) -> Result<(), AwsError> {
        for chunk in items.chunks(BATCH) {
            self.put_batch(chunk).await?;
        }
        Ok(())
    }

    async fn put_batch(&self, items: &[Item]) -> Result<(), AwsError> {
        let put = |item: &Item| {
            let put = PutRequest::builder().set_item(Some(item.clone())).build().ok()?;
            Some(WriteRequest::builder().put_request(put).build())
        };
        // A batch may hold a key once; the last item of a key is what would be left anyway.
        let last: BTreeMap<Option<ItemKey>, &Item> = items.iter().map(|item| (key_of(item), item)).collect();
        let mut left: Vec<WriteRequest> = last.into_values().filter_map(put).collect();
        let mut attempt = 1;
        while !left.is_empty() {
            let request = || self.client.batch_write_item().request_items(&self.name, left.clone()).send();
            let answer = self.retry.send("BatchWriteItem", &self.describe(), request).await?;
            let before = left.len();
            left = answer.unprocessed_items.unwrap_or_default().remove(&self.name).unwrap_or_default();
            if left.is_empty() {
                break;
            }
            attempt = if left.len() < before { 1 } else { attempt + 1 };
            if attempt > self.retry.throttled {
                return Err(AwsError::Call {
                    operation: "BatchWriteItem",
                    target: self.describe(),
                    fault: Fault::Throttled,
                    detail: format!("{} items left unprocessed", left.len()),
                });
            }
            tokio::time::sleep(self.retry.pause(attempt)).await;
        }
        Ok(())
    }
}

/// The table key of an item.
pub(crate) fn key_of(item: &Item) -> Option<ItemKey> {
    match (item.get("PK")?, item.get("SK")?) {
        (AttributeValue::S(pk), AttributeValue::S(sk)) => Some(ItemKey { pk: pk.clone(), sk: sk.clone() }),
        _ => None,
    }
}

/// Equal but for the spelling of numbers.
pub(crate) fn same_item(a: &Item, b: &Item) -> bool {
    a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| same(value, other)))
}

fn same(a: &AttributeValue, b: &AttributeValue) -> bool {
    match (a, b) {
        (AttributeValue::N(a), AttributeValue::N(b)) => a == b || a.parse::<f64>().ok() == b.parse().ok(),
        (AttributeValue::M(a), AttributeValue::M(b)) => same_item(a, b),
        (AttributeValue::L(a), AttributeValue::L(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => a == b,
    }
}
