//! What these tests share.

use std::path::PathBuf;
use std::time::Duration;

use layoutlm_aws::dynamo::{Item, item_from_json};
use layoutlm_aws::load::{LoadOptions, Loaded};
use layoutlm_aws::{Aws, AwsError, Endpoints, RetryPolicy};
use layoutlm_emulators::{CREDENTIALS, Dynamo, Proxy, S3};
use serde_json::Value;

/// The table of most tests.
pub(crate) const TABLE: &str = "ReceiptsTable-test";
/// The bucket of most tests.
pub(crate) const BUCKET: &str = "layoutlm-training";

/// A file of the shared material.
///
/// These tests prove little without it, so they fail where `CI` is set and it is not there.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let root = std::env::var_os("LAYOUTLM_SHARED").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let found = Some(root.join(path)).filter(|p| p.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{} is not there", root.join(path).display());
        eprintln!("skipped: {} is not there (set LAYOUTLM_SHARED)", root.join(path).display());
    }
    found
}

/// Items of a fixture, as DynamoDB JSON.
pub(crate) fn fixture(name: &str) -> Option<Vec<Value>> {
    let text = std::fs::read_to_string(shared(&format!("fixtures/dynamodb/{name}.items.jsonl"))?).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// The same as items.
pub(crate) fn items(name: &str) -> Option<Vec<Item>> {
    Some(fixture(name)?.iter().map(|v| item_from_json(v).unwrap()).collect())
}

/// Short pauses, so that tests do not wait.
pub(crate) fn hasty() -> RetryPolicy {
    RetryPolicy {
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(20),
        ..RetryPolicy::default()
    }
}

/// Clients of given endpoints.
pub(crate) async fn aws(dynamodb: Option<&str>, s3: Option<&str>) -> Aws {
    let (key, secret) = CREDENTIALS;
    let endpoints = Endpoints {
        dynamodb: dynamodb.map(String::from),
        s3: s3.map(String::from),
        credentials: Some((key.into(), secret.into())),
    };
    Aws::connect(Some("us-east-1"), endpoints, hasty()).await
}

/// A table with fixtures in it, behind a proxy.
pub(crate) struct Stand {
    pub(crate) dynamo: Dynamo,
    pub(crate) proxy: Proxy,
    pub(crate) aws: Aws,
}

impl Stand {
    /// `None` where the fixtures are not there.
    pub(crate) async fn with(names: &[&str]) -> Option<Self> {
        let all: Option<Vec<Vec<Value>>> = names.iter().map(|name| fixture(name)).collect();
        let stand = Self::empty().await;
        stand.dynamo.fill(TABLE, &all?.concat()).await;
        Some(stand)
    }

    /// An empty table.
    pub(crate) async fn empty() -> Self {
        let dynamo = Dynamo::start().await;
        dynamo.create(TABLE).await;
        let proxy = Proxy::start(&dynamo.url).await;
        let aws = aws(Some(&proxy.url), None).await;
        Self { dynamo, proxy, aws }
    }

    pub(crate) async fn load(&self, options: &LoadOptions) -> Result<Loaded, AwsError> {
        options.load(&self.aws, TABLE, &|_| {}).await
    }
}

/// A bucket behind a proxy.
pub(crate) struct Store {
    pub(crate) s3: S3,
    pub(crate) proxy: Proxy,
    pub(crate) aws: Aws,
}

impl Store {
    pub(crate) async fn empty() -> Self {
        let s3 = S3::start(&[BUCKET]).await;
        let proxy = Proxy::start(&s3.url).await;
        let aws = aws(None, Some(&proxy.url)).await;
        Self { s3, proxy, aws }
    }
}
