//! One table: queries, scans and single items, each followed to its last page and sent again when it has to be.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

use super::fields::Item;
use super::keys::ItemKey;
use crate::error::AwsError;
use crate::retry::RetryPolicy;

/// A table in one region.
#[derive(Debug, Clone)]
pub struct Table {
    pub(super) client: Client,
    pub(super) name: String,
    region: String,
    pub(super) retry: RetryPolicy,
}

/// A query of the table or one of its indexes.
#[derive(Debug, Clone)]
pub struct Query {
    index: Option<&'static str>,
    hash: (&'static str, String),
    range: Option<Range>,
    newest_first: bool,
}

#[derive(Debug, Clone)]
enum Range {
    Equals(&'static str, String),
    BeginsWith(&'static str, String),
}

impl Query {
    /// Everything under one partition key of the table.
    pub fn partition(pk: impl Into<String>) -> Self {
        Self { index: None, hash: ("PK", pk.into()), range: None, newest_first: false }
    }

    /// Everything under one key of an index (`GSI1` … `GSI4`, `GSITYPE`).
    pub fn index(index: &'static str, key: impl Into<String>) -> Self {
        let attribute = match index {
            "GSI1" => "GSI1PK",
            "GSI2" => "GSI2PK",
            "GSI3" => "GSI3PK",
            "GSI4" => "GSI4PK",
            _ => "TYPE",
        };
        Self { index: Some(index), hash: (attribute, key.into()), range: None, newest_first: false }
    }

    fn range_attribute(&self) -> &'static str {
        match self.index {
            Some("GSI1") => "GSI1SK",
            Some("GSI2") => "GSI2SK",
            Some("GSI3") => "GSI3SK",
            Some("GSI4") => "GSI4SK",
            _ => "SK",
        }
    }

    /// Only this sort key.
    #[must_use]
    pub fn sort_key(mut self, value: impl Into<String>) -> Self {
        self.range = Some(Range::Equals(self.range_attribute(), value.into()));
        self
    }

    /// Only sort keys that begin so.
    #[must_use]
    pub fn begins_with(mut self, value: impl Into<String>) -> Self {
        self.range = Some(Range::BeginsWith(self.range_attribute(), value.into()));
        self
    }

    /// Last sort key first.
    #[must_use]
    pub fn newest_first(mut self) -> Self {
        self.newest_first = true;
        self
    }
}

impl Table {
    pub(crate) fn new(client: Client, name: &str, region: &str, retry: RetryPolicy) -> Self {
        Self { client, name: name.into(), region: region.into(), retry }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The table as messages name it.
    pub fn describe(&self) -> String {
        format!("table {} ({})", self.name, self.region)
    }

    /// All items of a query, page by page to the end.
    ///
    /// # Errors
    /// [`AwsError::Call`] with table, index and operation.
    pub async fn query(&self, query: &Query) -> Result<Vec<Item>, AwsError> {
        let mut items = Vec::new();
        self.query_pages(query, |page| {
            items.extend(page);
            true
        })
        .await?;
        Ok(items)
    }

    /// Hands over page after page until the last, or until `page` says false. Pages can be empty.
    ///
    /// # Errors
    /// [`AwsError::Call`].
    pub async fn query_pages(
        &self,
        query: &Query,
        mut page: impl FnMut(Vec<Item>) -> bool,
    ) -> Result<(), AwsError> {
        let index = query.index.map_or_else(String::new, |i| format!(", index {i}"));
        let target = format!("{}{index}", self.describe());
        let mut start: Option<Item> = None;
        loop {
            let request = || self.query_request(query, start.clone()).send();
            let answer = self.retry.send("Query", &target, request).await?;
            if !page(answer.items.unwrap_or_default()) {
                return Ok(());
            }
            start = answer.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                return Ok(());
            }
        }
    }

    fn query_request(
        &self,
        query: &Query,
        start: Option<Item>,
    ) -> aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder {
        let (attribute, value) = &query.hash;
        let mut request = self
            .client
            .query()
            .table_name(&self.name)
            .set_index_name(query.index.map(String::from))
            .scan_index_forward(!query.newest_first)
            .set_exclusive_start_key(start)
            .expression_attribute_names("#h", *attribute)
            .expression_attribute_values(":h", AttributeValue::S(value.clone()));
        let condition = match &query.range {
            None => "#h = :h",
            Some(Range::Equals(..)) => "#h = :h AND #r = :r",
            Some(Range::BeginsWith(..)) => "#h = :h AND begins_with(#r, :r)",
        };
        if let Some(Range::Equals(name, value) | Range::BeginsWith(name, value)) = &query.range {
            request = request
                .expression_attribute_names("#r", *name)
                .expression_attribute_values(":r", AttributeValue::S(value.clone()));
        }
        request.key_condition_expression(condition)
    }

    /// Hands over every item of one segment of a full scan, page by page.
    ///
    /// # Errors
    /// [`AwsError::Call`].
    pub async fn scan_segment(
        &self,
        segment: i32,
        segments: i32,
        mut page: impl FnMut(Vec<Item>),
    ) -> Result<(), AwsError> {
        let target = self.describe();
        let mut start: Option<Item> = None;
        loop {
            let request = || {
                let (scan, start) = (self.client.scan().table_name(&self.name), start.clone());
                scan.segment(segment).total_segments(segments).set_exclusive_start_key(start).send()
            };
            let answer = self.retry.send("Scan", &target, request).await?;
            page(answer.items.unwrap_or_default());
            start = answer.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                return Ok(());
            }
        }
    }

    /// One item, `None` when it is not there.
    ///
    /// # Errors
    /// [`AwsError::Call`].
    pub async fn get(&self, key: &ItemKey) -> Result<Option<Item>, AwsError> {
        let request = || {
            let get = self.client.get_item().table_name(&self.name).consistent_read(true);
            get.key("PK", AttributeValue::S(key.pk.clone()))
                .key("SK", AttributeValue::S(key.sk.clone()))
                .send()
        };
        Ok(self.retry.send("GetItem", &self.describe(), request).await?.item)
    }
}
