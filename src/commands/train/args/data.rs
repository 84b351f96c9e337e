//! Which receipts take part, and on which side.

use std::path::PathBuf;

use layoutlm_core::receipt::{BadLines, ValidationStatus};
use layoutlm_trainer::data::SplitBy;

use super::cloud::CloudArgs;

/// Flags about receipts.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// Labelled receipts: JSONL files, folders with train.jsonl and perhaps validation.jsonl, snapshots, or SROIE,
    /// CORD and FUNSD as published; repeatable, and all of them are taken together.
    #[arg(long, env = "LAYOUTLM_DATA", value_delimiter = ',', value_name = "PATH")]
    pub data: Vec<PathBuf>,
    /// DynamoDB table of receipts.
    #[arg(long, env = "DYNAMO_TABLE_NAME", value_name = "TABLE")]
    pub dynamo_table: Option<String>,
    /// AWS region of the table.
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1", value_parser = region)]
    pub region: String,
    /// A frozen, encoded data set to train on as it is.
    #[arg(long, env = "LAYOUTLM_DATASET_SNAPSHOT_LOAD", value_name = "FOLDER")]
    pub dataset_snapshot_load: Option<PathBuf>,
    /// Count lines that can't be read and go on.
    #[arg(long, env = "LAYOUTLM_SKIP_BAD_LINES")]
    pub skip_bad_lines: bool,
    /// Labels of this status train; all other words are O. Receipts without any such label take no part.
    #[arg(long, env = "LAYOUTLM_VALIDATION_STATUS", default_value = "VALID")]
    pub validation_status: StatusArg,
    /// File of the receipts that may take part: a path, or an s3:// URI.
    #[arg(
        long,
        visible_alias = "receipt-allowlist",
        env = "LAYOUTLM_RECEIPT_ALLOWLIST_S3",
        value_name = "URI"
    )]
    pub receipt_allowlist_s3: Option<String>,
    /// File of the receipts to hold out for validation: a path, or an s3:// URI.
    #[arg(long, visible_alias = "val-keys", env = "LAYOUTLM_VAL_KEYS_S3", value_name = "URI")]
    pub val_keys_s3: Option<String>,
    /// Accept a random split, whose scores can't be compared with other runs'.
    #[arg(long, env = "LAYOUTLM_NO_FROZEN_VAL")]
    pub no_frozen_val: bool,
    /// What is held out when neither the data nor a file of keys says so: a tenth of the receipts, or whole merchants.
    #[arg(long, env = "LAYOUTLM_SPLIT_BY", default_value = "receipt")]
    pub split_by: SplitByArg,
    /// Seed of split, shuffles, dropout and fresh weights.
    #[arg(long, env = "LAYOUTLM_SEED", default_value_t = 42)]
    pub seed: u64,
    #[command(flatten)]
    pub cloud: CloudArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StatusArg {
    Valid,
    Invalid,
    NeedsReview,
    Pending,
    None,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum SplitByArg {
    Receipt,
    Merchant,
}

fn region(name: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.is_empty() && name.chars().all(good) {
        return Ok(name.into());
    }
    Err("expected a region such as us-east-1".into())
}

impl DataArgs {
    pub fn status(&self) -> ValidationStatus {
        match self.validation_status {
            StatusArg::Valid => ValidationStatus::Valid,
            StatusArg::Invalid => ValidationStatus::Invalid,
            StatusArg::NeedsReview => ValidationStatus::NeedsReview,
            StatusArg::Pending => ValidationStatus::Pending,
            StatusArg::None => ValidationStatus::None,
        }
    }

    pub fn split_by(&self) -> SplitBy {
        match self.split_by {
            SplitByArg::Receipt => SplitBy::Receipt,
            SplitByArg::Merchant => SplitBy::Merchant,
        }
    }

    pub fn bad_lines(&self) -> BadLines {
        if self.skip_bad_lines { BadLines::Skip } else { BadLines::Refuse }
    }
}
