//! AWS for the commands: clients, a runtime to wait on them with, and exit codes for what goes wrong.

use std::future::Future;

use anyhow::Context;
use layoutlm_aws::{Aws, AwsError};

use crate::exit::usage;

/// Clients and the runtime that drives them.
pub struct Cloud {
    runtime: tokio::runtime::Runtime,
    /// The clients.
    pub aws: Aws,
}

impl Cloud {
    /// Connects as the environment says, in this region if one is given.
    pub fn connect(region: Option<&str>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("no thread could be started for AWS")?;
        let aws = runtime.block_on(Aws::from_env(region));
        Ok(Self { runtime, aws })
    }

    /// Waits for an answer. What the caller can put right is exit code 2, everything else 1.
    pub fn wait<T>(&self, work: impl Future<Output = Result<T, AwsError>>) -> anyhow::Result<T> {
        self.try_wait(work).map_err(sort)
    }

    /// Waits for an answer, errors as they are.
    pub fn try_wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// What the caller can put right is exit code 2, everything else 1.
pub fn sort(error: AwsError) -> anyhow::Error {
    if error.is_callers() { usage(error) } else { error.into() }
}
