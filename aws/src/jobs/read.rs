//! Finding jobs and reading what they left.

use super::{Job, JobCheckpoint, JobLog, JobMetric, JobStatus, job_pk};
use crate::dynamo::{Fields, Item, ItemError, Query, Table};
use crate::error::AwsError;

/// Everything a job left.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobHistory {
    /// Metrics by name, then time.
    pub metrics: Vec<JobMetric>,
    /// Statuses, oldest first.
    pub statuses: Vec<JobStatus>,
    /// Checkpoints, oldest first.
    pub checkpoints: Vec<JobCheckpoint>,
    /// Log, oldest first.
    pub logs: Vec<JobLog>,
    /// Items that can't be read.
    pub malformed: Vec<ItemError>,
}

fn jobs(items: &[Item], malformed: &mut Vec<ItemError>) -> Vec<Job> {
    // Status items share the index with jobs.
    let jobs = items.iter().filter(|item| Fields::of(item).item_type() == Job::TYPE);
    jobs.filter_map(|item| Job::read(item).map_err(|e| malformed.push(e)).ok()).collect()
}

/// All jobs, newest first, and the items that can't be read.
///
/// # Errors
/// [`AwsError`].
pub async fn list_jobs(table: &Table) -> Result<(Vec<Job>, Vec<ItemError>), AwsError> {
    let items = table.query(&Query::index("GSITYPE", Job::TYPE)).await?;
    let mut malformed = Vec::new();
    let mut jobs = jobs(&items, &mut malformed);
    jobs.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.job_id.cmp(&b.job_id)));
    Ok((jobs, malformed))
}

/// The newest job of a name.
///
/// # Errors
/// [`AwsError::Missing`] when there is none.
pub async fn find_job(table: &Table, name: &str) -> Result<Job, AwsError> {
    let query = Query::index("GSI2", format!("JOB_NAME#{name}")).newest_first();
    first_job(table, &query, |_| true).await?.ok_or_else(|| AwsError::Missing {
        what: format!("a job named {name} in {}", table.describe()),
        advice: "check --job-name; `runs list` shows all".into(),
    })
}

/// The newest succeeded job marked as the model that serves.
///
/// # Errors
/// [`AwsError::Missing`] when there is none.
pub async fn active_job(table: &Table) -> Result<Job, AwsError> {
    let query = Query::index("GSI1", "STATUS#succeeded").newest_first();
    first_job(table, &query, Job::is_active).await?.ok_or_else(|| AwsError::Missing {
        what: format!("an active model in {}", table.describe()),
        advice: "no succeeded job is tagged active_model=true; name one with --job-name".into(),
    })
}

async fn first_job(
    table: &Table,
    query: &Query,
    wanted: impl Fn(&Job) -> bool,
) -> Result<Option<Job>, AwsError> {
    let (mut found, mut malformed) = (None, Vec::new());
    table
        .query_pages(query, |page| {
            found = jobs(&page, &mut malformed).into_iter().find(&wanted);
            found.is_none()
        })
        .await?;
    match (found, malformed.into_iter().next()) {
        (None, Some(error)) => Err(AwsError::Item { table: table.describe(), error }),
        (found, _) => Ok(found),
    }
}

/// Metrics, statuses, checkpoints and log of a job.
///
/// # Errors
/// [`AwsError`].
pub async fn job_history(table: &Table, job_id: &str) -> Result<JobHistory, AwsError> {
    let items = table.query(&Query::partition(job_pk(job_id))).await?;
    let mut history = JobHistory::default();
    for item in &items {
        let read = match Fields::of(item).item_type() {
            JobMetric::TYPE => JobMetric::read(item).map(|m| history.metrics.push(m)),
            JobStatus::TYPE => JobStatus::read(item).map(|s| history.statuses.push(s)),
            JobCheckpoint::TYPE => JobCheckpoint::read(item).map(|c| history.checkpoints.push(c)),
            JobLog::TYPE => JobLog::read(item).map(|l| history.logs.push(l)),
            _ => Ok(()),
        };
        history.malformed.extend(read.err());
    }
    Ok(history)
}
