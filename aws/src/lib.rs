//! DynamoDB receipts and jobs, S3 runs and bundles, SageMaker and spot instances.
//!
//! The table and the bucket are shared with other programs, which find in them exactly what they always found: the
//! same items, keys, number formats, prefixes and names. Credentials, region and endpoints come from where every AWS
//! tool takes them.
//!
//! * [`Aws`] makes the clients; [`dynamo`] is the table, [`jobs`] the items about training jobs;
//! * [`load`] gets labelled receipts out of the table;
//! * [`sagemaker`] and [`spot`] are about the machine a run is on;
//! * [`propose`] writes labels of a model back, [`record`] a run's records; [`s3`] moves runs and bundles.
//!
//! Every request is sent again while that can help ([`RetryPolicy`]); an error that remains is an [`AwsError`] with the
//! table or bucket, the operation and what to do.

mod clock;
mod connect;
pub mod dynamo;
mod error;
mod fault;
mod files;
pub mod jobs;
pub mod load;
pub mod propose;
pub mod record;
mod retry;
pub mod s3;
pub mod sagemaker;
pub mod spot;

pub use clock::{iso_time, next_time};
pub use connect::{Aws, DEFAULT_REGION, Endpoints};
pub use error::AwsError;
pub use fault::Fault;
pub use retry::RetryPolicy;
