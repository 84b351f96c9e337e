//! JOB_STATUS: one step in a job's history.

use serde::Serialize;

use super::build::Build;
use super::job::JobState;
use super::{job_id, job_pk};
use crate::dynamo::{Fields, Item, ItemError};

/// Where a job stood at a time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobStatus {
    /// The job.
    pub job_id: String,
    /// Where it stood.
    pub status: JobState,
    /// ISO time; part of the key.
    pub updated_at: String,
    /// Percent, 0 to 100.
    pub progress: Option<f64>,
    /// For people.
    pub message: Option<String>,
    /// Who says so.
    pub updated_by: Option<String>,
    /// Machine it ran on.
    pub instance_id: Option<String>,
}

impl JobStatus {
    /// Its `TYPE`.
    pub const TYPE: &'static str = "JOB_STATUS";

    /// As written.
    pub fn item(&self) -> Item {
        let at = &self.updated_at;
        Build::new(job_pk(&self.job_id), format!("STATUS#{at}"), Self::TYPE)
            .index(1, format!("STATUS#{}", self.status), format!("UPDATED#{at}"))
            .text("status", self.status.name())
            .text("updated_at", at)
            .optional_float("progress", self.progress.map(|p| p.clamp(0.0, 100.0)))
            .optional_text("message", self.message.as_ref())
            .optional_text("updated_by", self.updated_by.as_ref())
            .optional_text("instance_id", self.instance_id.as_ref())
            .done()
    }

    /// # Errors
    /// [`ItemError`].
    pub fn read(item: &Item) -> Result<Self, ItemError> {
        let fields = Fields::of(item);
        Ok(Self {
            job_id: job_id(fields)?,
            status: JobState::read(fields)?,
            updated_at: fields.text("updated_at")?.into(),
            progress: fields.optional_number("progress")?,
            message: fields.optional_string("message")?,
            updated_by: fields.optional_string("updated_by")?,
            instance_id: fields.optional_string("instance_id")?,
        })
    }
}
