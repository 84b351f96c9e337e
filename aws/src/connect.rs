//! Clients made from the environment: credentials, region and endpoints as every AWS tool finds them.
//!
//! `DYNAMODB_ENDPOINT_URL` is read as well, because the Python client of these tables does. Where an S3 endpoint is
//! named, buckets are addressed by path: emulators and gateways have no host name per bucket.

use std::env;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;

use crate::dynamo::Table;
use crate::retry::RetryPolicy;
use crate::s3::Bucket;

/// Region used when nothing names one.
pub const DEFAULT_REGION: &str = "us-east-1";

/// Longest wait for one answer of DynamoDB.
const DYNAMODB_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Clients of one region.
#[derive(Debug, Clone)]
pub struct Aws {
    dynamodb: aws_sdk_dynamodb::Client,
    s3: aws_sdk_s3::Client,
    region: String,
    retry: RetryPolicy,
}

/// Where services are, when not where the environment says.
#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    /// URL of DynamoDB.
    pub dynamodb: Option<String>,
    /// URL of S3.
    pub s3: Option<String>,
    /// Access key and secret.
    pub credentials: Option<(String, String)>,
}

impl Aws {
    /// Clients from the environment; `region` wins over it.
    pub async fn from_env(region: Option<&str>) -> Self {
        Self::connect(region, Endpoints::default(), RetryPolicy::default()).await
    }

    /// Clients with given endpoints, credentials and patience; what is not given comes from the environment.
    pub async fn connect(region: Option<&str>, endpoints: Endpoints, retry: RetryPolicy) -> Self {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build());
        if let Some(region) = region {
            loader = loader.region(Region::new(region.to_string()));
        }
        if let Some((key, secret)) = endpoints.credentials {
            loader = loader.credentials_provider(Credentials::new(key, secret, None, None, "given"));
        }
        let shared = loader.load().await;
        let region = shared.region().map_or_else(|| DEFAULT_REGION.to_string(), ToString::to_string);
        Self {
            dynamodb: dynamodb(&shared, &region, endpoints.dynamodb),
            s3: s3(&shared, &region, endpoints.s3),
            region,
            retry,
        }
    }

    /// One table.
    pub fn table(&self, name: &str) -> Table {
        Table::new(self.dynamodb.clone(), name, &self.region, self.retry)
    }

    /// One bucket.
    pub fn bucket(&self, name: &str) -> Bucket {
        Bucket::new(self.s3.clone(), name, self.retry)
    }

    /// The region in use.
    pub fn region(&self) -> &str {
        &self.region
    }
}

fn dynamodb(shared: &SdkConfig, region: &str, endpoint: Option<String>) -> aws_sdk_dynamodb::Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(DYNAMODB_TIMEOUT)
        .build();
    let mut config = aws_sdk_dynamodb::config::Builder::from(shared)
        .region(Region::new(region.to_string()))
        .timeout_config(timeouts);
    let usual =
        env::var_os("AWS_ENDPOINT_URL_DYNAMODB").is_some() || env::var_os("AWS_ENDPOINT_URL").is_some();
    match (endpoint, env::var("DYNAMODB_ENDPOINT_URL").ok().filter(|url| !url.is_empty() && !usual)) {
        (Some(url), _) => config = config.endpoint_url(url),
        (None, Some(url)) => {
            config = config.endpoint_url(url);
            if env::var_os("AWS_ACCESS_KEY_ID").is_none() {
                config = config.credentials_provider(Credentials::new("local", "local", None, None, "local"));
            }
        }
        (None, None) => {}
    }
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

fn s3(shared: &SdkConfig, region: &str, endpoint: Option<String>) -> aws_sdk_s3::Client {
    let named = endpoint.is_some()
        || env::var_os("AWS_ENDPOINT_URL_S3").is_some()
        || env::var_os("AWS_ENDPOINT_URL").is_some();
    let mut config = aws_sdk_s3::config::Builder::from(shared)
        .region(Region::new(region.to_string()))
        .force_path_style(named);
    if let Some(url) = endpoint {
        config = config.endpoint_url(url);
    }
    aws_sdk_s3::Client::from_conf(config.build())
}
