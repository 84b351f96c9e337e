//! The server on AWS (feature `s3`): a bundle out of a bucket, and receipts out of a table.
//!
//! The bundle is fetched before anything else into a cache, checked by its manifest's hashes; the server then sees a
//! folder like any other. The cache is the only thing that is written.

mod receipts;

use std::path::PathBuf;
use std::sync::Arc;

use layoutlm_aws::s3::{S3Uri, fetch_bundle};
use layoutlm_aws::{Aws, AwsError};
use utoipa_axum::router::OpenApiRouter;

use crate::config::ServerConfig;
use crate::http::App;

/// Options about AWS.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(next_help_heading = "AWS")]
pub struct CloudConfig {
    /// Folder that bundles from s3://… are fetched into [default: layoutlm-bundles in the folder of temporary files]
    #[arg(long, env = "LAYOUTLM_BUNDLE_CACHE", value_name = "DIR")]
    pub bundle_cache: Option<PathBuf>,

    /// DynamoDB table of receipts; GET /v1/receipts/{image_id}/{receipt_id} labels those in it
    #[arg(long, env = "DYNAMO_TABLE_NAME", value_name = "TABLE")]
    pub dynamo_table: Option<String>,

    /// AWS region of table and bucket [default: us-east-1]
    #[arg(long, env = "AWS_REGION", value_name = "REGION")]
    pub region: Option<String>,
}

impl CloudConfig {
    /// Fetches the bundle if `--bundle` is an s3:// address, and makes the routes over the table if one is named.
    ///
    /// # Errors
    /// [`AwsError`] naming bucket, key and what to do.
    pub async fn prepare(&self, server: &mut ServerConfig) -> Result<OpenApiRouter<Arc<App>>, AwsError> {
        let bundle = server.bundle.to_string_lossy().into_owned();
        let table = self.dynamo_table.as_deref().filter(|table| !table.is_empty());
        if !S3Uri::looks_like(&bundle) && table.is_none() {
            return Ok(OpenApiRouter::new());
        }
        let aws = Aws::from_env(self.region.as_deref()).await;
        if S3Uri::looks_like(&bundle) {
            let uri: S3Uri = bundle.parse()?;
            let cache = || std::env::temp_dir().join("layoutlm-bundles");
            server.bundle =
                fetch_bundle(&aws, &uri, &self.bundle_cache.clone().unwrap_or_else(cache)).await?;
        }
        Ok(table.map_or_else(OpenApiRouter::new, |table| receipts::routes(aws.table(table))))
    }
}
