//! JOB_CHECKPOINT: a checkpoint of a job in S3.

use serde::Serialize;
use serde_json::{Map, Value};

use super::build::Build;
use super::{job_id, job_pk};
use crate::dynamo::{Fields, Item, ItemError, plain_map, plain_to_value};

/// A checkpoint in S3.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobCheckpoint {
    /// The job.
    pub job_id: String,
    /// ISO time; part of the key.
    pub timestamp: String,
    /// Its bucket.
    pub s3_bucket: String,
    /// Its folder, not empty.
    pub s3_key: String,
    /// Bytes of its files.
    pub size_bytes: u64,
    /// Optimiser steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: u64,
    /// Holds weights.
    pub model_state: bool,
    /// Holds the optimiser's moments.
    pub optimizer_state: bool,
    /// Its figures.
    pub metrics: Map<String, Value>,
    /// The best so far; one per job.
    pub is_best: bool,
}

impl JobCheckpoint {
    /// Its `TYPE`.
    pub const TYPE: &'static str = "JOB_CHECKPOINT";

    /// As written.
    pub fn item(&self) -> Item {
        let at = &self.timestamp;
        let mut build = Build::new(job_pk(&self.job_id), format!("CHECKPOINT#{at}"), Self::TYPE)
            .index(1, "CHECKPOINT", format!("JOB#{}#{at}", self.job_id))
            .text("job_id", &self.job_id)
            .text("timestamp", at)
            .text("s3_bucket", &self.s3_bucket)
            .text("s3_key", &self.s3_key)
            .integer("size_bytes", self.size_bytes)
            .integer("step", self.step)
            .integer("epoch", self.epoch)
            .flag("model_state", self.model_state)
            .flag("optimizer_state", self.optimizer_state)
            .flag("is_best", self.is_best);
        if !self.metrics.is_empty() {
            build = build.value("metrics", plain_to_value(&Value::Object(self.metrics.clone())));
        }
        build.done()
    }

    /// # Errors
    /// [`ItemError`].
    pub fn read(item: &Item) -> Result<Self, ItemError> {
        let fields = Fields::of(item);
        let whole = |name: &str| -> Result<u64, ItemError> {
            u64::try_from(fields.integer(name)?).map_err(|_| fields.error(name, "is negative"))
        };
        let flag =
            |name: &str| -> Result<bool, ItemError> { Ok(fields.optional_bool(name)?.unwrap_or(false)) };
        Ok(Self {
            job_id: job_id(fields)?,
            timestamp: fields.text("timestamp")?.into(),
            s3_bucket: fields.text("s3_bucket")?.into(),
            s3_key: fields.text("s3_key")?.into(),
            size_bytes: whole("size_bytes")?,
            step: whole("step")?,
            epoch: whole("epoch")?,
            model_state: flag("model_state")?,
            optimizer_state: flag("optimizer_state")?,
            metrics: fields.optional_map("metrics")?.map(plain_map).unwrap_or_default(),
            is_best: flag("is_best")?,
        })
    }
}
