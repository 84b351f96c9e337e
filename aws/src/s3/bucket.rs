//! One bucket: listing, small objects, and what an object is before it is fetched.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ConnectorError, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;
use chrono::{DateTime, Utc};

use crate::error::AwsError;
use crate::fault::Fault;
use crate::retry::RetryPolicy;

/// Metadata name of the SHA-256 that uploads of ours carry.
pub(super) const SHA256: &str = "sha256";

/// A bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    pub(super) client: Client,
    pub(super) name: String,
    pub(super) retry: RetryPolicy,
}

/// An object as a listing gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Option<DateTime<Utc>>,
}

/// An object's properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    /// Bytes.
    pub size: u64,
    /// Its version's tag.
    pub etag: Option<String>,
    /// SHA-256 of its content, where whoever uploaded it said so.
    pub sha256: Option<String>,
}

impl Bucket {
    pub(crate) fn new(client: Client, name: &str, retry: RetryPolicy) -> Self {
        Self { client, name: name.into(), retry }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn target(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }

    /// All objects below a prefix, every page of the listing. Keys that end in `/` are folder markers and left out.
    ///
    /// # Errors
    /// [`AwsError::Call`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<Object>, AwsError> {
        let mut objects = Vec::new();
        let mut token = None;
        loop {
            let request = || {
                let list = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
                list.set_continuation_token(token.clone()).send()
            };
            let answer = self.retry.send("ListObjectsV2", &self.target(prefix), request).await?;
            let files = answer.contents().iter().filter_map(|object| {
                let key = object.key().filter(|key| !key.ends_with('/'))?;
                let modified =
                    object.last_modified().and_then(|t| DateTime::from_timestamp(t.secs(), t.subsec_nanos()));
                let size = object.size().and_then(|s| u64::try_from(s).ok()).unwrap_or(0);
                Some(Object { key: key.into(), size, modified })
            });
            objects.extend(files);
            token = answer.next_continuation_token().map(String::from);
            if token.is_none() {
                return Ok(objects);
            }
        }
    }

    /// Folders directly below a prefix, with their trailing `/`.
    ///
    /// # Errors
    /// [`AwsError::Call`].
    pub async fn folders(&self, prefix: &str) -> Result<Vec<String>, AwsError> {
        let mut folders = Vec::new();
        let mut token = None;
        loop {
            let request = || {
                let list = self.client.list_objects_v2().bucket(&self.name).prefix(prefix).delimiter("/");
                list.set_continuation_token(token.clone()).send()
            };
            let answer = self.retry.send("ListObjectsV2", &self.target(prefix), request).await?;
            folders.extend(answer.common_prefixes().iter().filter_map(|p| p.prefix().map(String::from)));
            token = answer.next_continuation_token().map(String::from);
            if token.is_none() {
                return Ok(folders);
            }
        }
    }

    /// What an object is; `None` when it is not there.
    ///
    /// # Errors
    /// [`AwsError::Call`].
    pub async fn head(&self, key: &str) -> Result<Option<ObjectHead>, AwsError> {
        let request = || self.client.head_object().bucket(&self.name).key(key).send();
        match self.retry.send("HeadObject", &self.target(key), request).await {
            Ok(answer) => Ok(Some(ObjectHead {
                size: answer.content_length().and_then(|s| u64::try_from(s).ok()).unwrap_or(0),
                etag: answer.e_tag().map(String::from),
                sha256: answer.metadata().and_then(|m| m.get(SHA256)).cloned(),
            })),
            Err(error) if error.fault() == Some(Fault::NoObject) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A small object's content. An answer that breaks off is asked for again.
    ///
    /// # Errors
    /// [`AwsError::Call`].
    pub async fn read(&self, key: &str) -> Result<Vec<u8>, AwsError> {
        self.read_range(key, None, None).await
    }

    /// The content of an object, or of a range (`bytes=0-99`) of it, as long as its tag is still `etag`.
    pub(super) async fn read_range(
        &self,
        key: &str,
        range: Option<String>,
        etag: Option<&str>,
    ) -> Result<Vec<u8>, AwsError> {
        let request = || async {
            let get = self.client.get_object().bucket(&self.name).key(key);
            let answer = get.set_range(range.clone()).set_if_match(etag.map(String::from)).send().await?;
            let expected = answer.content_length();
            let body = answer.body.collect().await;
            let bytes = body.map_err(|e| SdkError::dispatch_failure(ConnectorError::io(e.into())))?.to_vec();
            let short = expected.is_some_and(|n| usize::try_from(n).ok() != Some(bytes.len()));
            if short {
                let text = format!("the answer broke off after {} bytes", bytes.len());
                return Err(SdkError::dispatch_failure(ConnectorError::io(text.into())));
            }
            Ok(bytes)
        };
        self.retry.send("GetObject", &self.target(key), request).await
    }

    /// Writes a small object.
    ///
    /// # Errors
    /// [`AwsError::Call`].
    pub async fn write(&self, key: &str, bytes: &[u8], content_type: &str) -> Result<(), AwsError> {
        self.put(key, bytes, content_type, None).await
    }

    pub(super) async fn put(
        &self,
        key: &str,
        bytes: &[u8],
        content_type: &str,
        sha256: Option<&str>,
    ) -> Result<(), AwsError> {
        let request = || {
            let put = self.client.put_object().bucket(&self.name).key(key).content_type(content_type);
            let put = match sha256 {
                Some(hash) => put.metadata(SHA256, hash),
                None => put,
            };
            put.checksum_algorithm(ChecksumAlgorithm::Crc32).body(ByteStream::from(bytes.to_vec())).send()
        };
        self.retry.send("PutObject", &self.target(key), request).await.map(|_| ())
    }
}

/// The content type that readers of runs expect of a file.
pub(super) fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("json" | "jsonl") => "application/json",
        Some("md") => "text/markdown",
        Some("csv") => "text/csv",
        Some("html") => "text/html",
        Some("txt") => "text/plain",
        _ => "application/octet-stream",
    }
}
