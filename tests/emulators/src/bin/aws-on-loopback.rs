//! Runs a command with a DynamoDB table and an S3 bucket on loopback around it:
//!
//! ```text
//! aws-on-loopback --fill train.jsonl --fill test.jsonl --receipts 400 --table ReceiptsTable-dc5be22 --bucket training -- \
//!     layoutlm-cli train --dynamo-table ReceiptsTable-dc5be22 …
//! ```
//!
//! Both are gone when the command ends; its exit code is passed on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::process::{Command, ExitCode};

use layoutlm_emulators::{CREDENTIALS, Dynamo, S3, neutral};
use serde_json::Value;

/// What the command line asks for.
struct Asked {
    fill: Vec<String>,
    receipts: usize,
    table: String,
    bucket: String,
    command: Vec<String>,
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked {
        fill: Vec::new(),
        receipts: usize::MAX,
        table: "ReceiptsTable".into(),
        bucket: "layoutlm-training".into(),
        command: Vec::new(),
    };
    while let Some(flag) = args.next() {
        if flag == "--" {
            asked.command = args.collect();
            break;
        }
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--fill" => asked.fill.push(value),
            "--receipts" => {
                asked.receipts = value.parse().map_err(|_| format!("--receipts {value}: no number"))?
            }
            "--table" => asked.table = value,
            "--bucket" => asked.bucket = value,
            other => {
                return Err(format!("{other}: unknown; --fill, --receipts, --table, --bucket, -- COMMAND"));
            }
        }
    }
    if asked.command.is_empty() {
        return Err("give a command after --".into());
    }
    Ok(asked)
}

#[tokio::main]
async fn main() -> ExitCode {
    let asked = match parse(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(message) => {
            eprintln!("aws-on-loopback: {message}");
            return ExitCode::from(2);
        }
    };
    let dynamo = Dynamo::start().await;
    dynamo.create(&asked.table).await;
    let texts =
        asked.fill.iter().map(|path| std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}")));
    let texts: Vec<String> = texts.collect();
    let lines = texts.iter().flat_map(|text| text.lines()).take(asked.receipts);
    let receipts = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let items: Vec<Value> = receipts.flat_map(|receipt| neutral::items(&receipt)).collect();
    dynamo.fill(&asked.table, &items).await;
    eprintln!("aws-on-loopback: {} items in {}", items.len(), asked.table);
    let s3 = S3::start(&[asked.bucket.as_str()]).await;
    let (key, secret) = CREDENTIALS;
    let status = Command::new(&asked.command[0])
        .args(&asked.command[1..])
        .env("AWS_ENDPOINT_URL_DYNAMODB", &dynamo.url)
        .env("AWS_ENDPOINT_URL_S3", &s3.url)
        .env("AWS_ACCESS_KEY_ID", key)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .status();
    match status {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("aws-on-loopback: {}: {error}", asked.command[0]);
            ExitCode::FAILURE
        }
    }
}
