//! Training jobs as the table keeps them: the job itself, its status history, metrics, checkpoints and log.
//!
//! Other tools read these items by prefix and without a filter, so nothing else may be written under a job's key.

mod build;
mod checkpoint;
mod job;
mod log;
mod metric;
mod read;
mod status;

pub use checkpoint::JobCheckpoint;
pub use job::{Job, JobState};
pub use log::{JobLog, LogLevel};
pub use metric::{JobMetric, MetricValue};
pub use read::{JobHistory, active_job, find_job, job_history, list_jobs};
pub use status::JobStatus;

/// Partition key of everything about a job.
pub(crate) fn job_pk(job_id: &str) -> String {
    format!("JOB#{job_id}")
}

/// The job id of a partition key.
fn job_id(fields: crate::dynamo::Fields<'_>) -> Result<String, crate::dynamo::ItemError> {
    let id = fields.text("PK")?.strip_prefix("JOB#").filter(|id| !id.is_empty());
    id.map(String::from).ok_or_else(|| fields.error("PK", "expected JOB#<job id>"))
}
