//! Stand-ins for AWS on loopback, in the test's own process: a DynamoDB, an S3, instance metadata, and a proxy before
//! them that throttles, fails, cuts answers short and breaks off.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod dynamodb;
mod metadata;
pub mod neutral;
mod proxy;
mod s3;

pub use dynamodb::{Dynamo, receipt_table};
pub use metadata::Metadata;
pub use proxy::{Faults, Proxy};
pub use s3::S3;

/// Access key and secret that the stand-ins take.
pub const CREDENTIALS: (&str, &str) = ("local", "local");
