//! `s3://bucket/key` addresses, and where a run lies in a bucket.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::AwsError;

/// An object's address, or a folder's: then the key is empty or ends in `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct S3Uri {
    /// Bucket.
    pub bucket: String,
    /// Key without a leading `/`.
    pub key: String,
}

impl S3Uri {
    /// True for text that is meant as an S3 address.
    pub fn looks_like(text: &str) -> bool {
        text.starts_with("s3://")
    }

    /// The same address as a folder: its key ends in `/` unless it is the whole bucket.
    #[must_use]
    pub fn as_folder(&self) -> Self {
        let mut folder = self.clone();
        if !folder.key.is_empty() && !folder.key.ends_with('/') {
            folder.key.push('/');
        }
        folder
    }

    /// Something inside this folder.
    #[must_use]
    pub fn join(&self, relative: &str) -> Self {
        let mut inside = self.as_folder();
        inside.key.push_str(relative);
        inside
    }
}

impl FromStr for S3Uri {
    type Err = AwsError;

    fn from_str(uri: &str) -> Result<Self, AwsError> {
        let fail = |reason: &str| Err(AwsError::Uri { uri: uri.into(), reason: reason.into() });
        let Some(rest) = uri.strip_prefix("s3://") else { return fail("it does not start with s3://") };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return fail("it names no bucket");
        }
        if bucket.chars().any(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'))) {
            return fail("the bucket's name holds other characters than letters, digits, '.', '-' and '_'");
        }
        if key.starts_with('/') || key.contains("//") {
            return fail("a name between slashes is empty");
        }
        Ok(Self { bucket: bucket.into(), key: key.into() })
    }
}

impl fmt::Display for S3Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// Where a run's files lie in S3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPlace {
    /// The run's folder.
    pub root: S3Uri,
}

impl RunPlace {
    /// The folder of `job` under `--output-s3-path`: a plain name is a bucket, and runs lie under `runs/` in it;
    /// `s3://bucket/prefix` has them under the prefix. (`s3://bucket` counts as the plain name.)
    ///
    /// # Errors
    /// [`AwsError::Uri`].
    pub fn new(output_s3_path: &str, job: &str) -> Result<Self, AwsError> {
        let output = if S3Uri::looks_like(output_s3_path) {
            output_s3_path.parse::<S3Uri>()?
        } else {
            format!("s3://{output_s3_path}").parse()?
        };
        let output = if output.key.is_empty() { output.join("runs/") } else { output };
        Ok(Self { root: output.join(&format!("{job}/")) })
    }

    /// The best checkpoint's folder.
    pub fn best(&self) -> S3Uri {
        self.root.join("best/")
    }

    /// A checkpoint's folder while the run goes on.
    pub fn checkpoint(&self, name: &str) -> S3Uri {
        self.root.join(&format!("checkpoints/{name}/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_printed_the_same() {
        for text in ["s3://b/", "s3://b/runs/x/best/", "s3://my.bucket-1/a/b.json"] {
            assert_eq!(text.parse::<S3Uri>().unwrap().to_string(), text);
        }
        for bad in ["b/x", "s3://", "s3:///x", "s3://b//x", "s3://b/a//b", "s3://a b/x"] {
            assert!(
                bad.parse::<S3Uri>().unwrap_err().to_string().contains("expected s3://bucket/prefix"),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_run_lies_where_existing_readers_look() {
        let root = |path: &str| RunPlace::new(path, "job-1").unwrap().root.to_string();
        assert_eq!(root("layoutlm-training"), "s3://layoutlm-training/runs/job-1/");
        assert_eq!(root("s3://layoutlm-training"), "s3://layoutlm-training/runs/job-1/");
        assert_eq!(root("s3://b/some/prefix"), "s3://b/some/prefix/job-1/");
        assert_eq!(root("s3://b/some/prefix/"), "s3://b/some/prefix/job-1/");
    }
}
