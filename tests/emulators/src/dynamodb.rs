//! A DynamoDB in memory.

use std::net::IpAddr;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::operation::create_table::CreateTableInput;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, PutRequest, ScalarAttributeType, WriteRequest,
};
use serde_json::Value;

use crate::CREDENTIALS;

/// A running DynamoDB.
pub struct Dynamo {
    /// Its address.
    pub url: String,
    client: Client,
}

type Item = std::collections::HashMap<String, AttributeValue>;

impl Dynamo {
    /// Starts one without tables on a free port of loopback.
    pub async fn start() -> Self {
        Self::start_on(IpAddr::from([127, 0, 0, 1])).await
    }

    /// Starts one on an address of this machine that containers reach, such as their network's gateway.
    pub async fn start_on(address: IpAddr) -> Self {
        let listener = tokio::net::TcpListener::bind((address, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(dynoxide::server::serve_on(listener, dynoxide::Database::memory().unwrap()));
        let (key, secret) = CREDENTIALS;
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(key, secret, None, None, "test"))
            .endpoint_url(&url)
            .build();
        Self { url, client: Client::from_conf(config) }
    }

    /// A client without faults between.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Makes a receipt table of this name.
    pub async fn create(&self, table: &str) {
        let input = receipt_table(table);
        self.client
            .create_table()
            .table_name(table)
            .billing_mode(BillingMode::PayPerRequest)
            .set_key_schema(input.key_schema)
            .set_attribute_definitions(input.attribute_definitions)
            .set_global_secondary_indexes(input.global_secondary_indexes)
            .send()
            .await
            .unwrap();
    }

    /// Puts items given as DynamoDB JSON into a table.
    pub async fn fill(&self, table: &str, items: &[Value]) {
        for chunk in items.chunks(25) {
            let writes: Vec<WriteRequest> = chunk
                .iter()
                .map(|item| {
                    let put = PutRequest::builder().set_item(Some(attributes(item))).build().unwrap();
                    WriteRequest::builder().put_request(put).build()
                })
                .collect();
            self.client.batch_write_item().request_items(table, writes).send().await.unwrap();
        }
    }

    /// Everything in a table, in no order.
    pub async fn scan(&self, table: &str) -> Vec<Item> {
        let mut pages = self.client.scan().table_name(table).into_paginator().items().send();
        let mut items = Vec::new();
        while let Some(item) = pages.next().await {
            items.push(item.unwrap());
        }
        items
    }
}

/// The receipt table's keys and indexes.
pub fn receipt_table(name: &str) -> CreateTableInput {
    let key =
        |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let text = |name: String| {
        let definition = AttributeDefinition::builder().attribute_name(name);
        definition.attribute_type(ScalarAttributeType::S).build().unwrap()
    };
    let all = Projection::builder().projection_type(ProjectionType::All).build();
    let index = |name: &str, keys: Vec<KeySchemaElement>| {
        let index = GlobalSecondaryIndex::builder().index_name(name).set_key_schema(Some(keys));
        index.projection(all.clone()).build().unwrap()
    };
    let mut indexes: Vec<_> = (1..=4)
        .map(|n| {
            let hash = key(&format!("GSI{n}PK"), KeyType::Hash);
            index(&format!("GSI{n}"), vec![hash, key(&format!("GSI{n}SK"), KeyType::Range)])
        })
        .collect();
    indexes.push(index("GSITYPE", vec![key("TYPE", KeyType::Hash)]));
    let names = ["PK", "SK", "TYPE"].map(String::from).into_iter();
    let attributes = names.chain((1..=4).flat_map(|n| [format!("GSI{n}PK"), format!("GSI{n}SK")])).map(text);
    CreateTableInput::builder()
        .table_name(name)
        .key_schema(key("PK", KeyType::Hash))
        .key_schema(key("SK", KeyType::Range))
        .set_attribute_definitions(Some(attributes.collect()))
        .set_global_secondary_indexes(Some(indexes))
        .build()
        .unwrap()
}

fn attributes(item: &Value) -> Item {
    item.as_object().unwrap().iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

fn attribute(value: &Value) -> AttributeValue {
    let (kind, inner) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "S" => AttributeValue::S(inner.as_str().unwrap().into()),
        "N" => AttributeValue::N(inner.as_str().unwrap().into()),
        "BOOL" => AttributeValue::Bool(inner.as_bool().unwrap()),
        "NULL" => AttributeValue::Null(true),
        "SS" => {
            AttributeValue::Ss(inner.as_array().unwrap().iter().map(|v| v.as_str().unwrap().into()).collect())
        }
        "L" => AttributeValue::L(inner.as_array().unwrap().iter().map(attribute).collect()),
        "M" => AttributeValue::M(attributes(inner)),
        other => panic!("attribute type {other}"),
    }
}
