//! Who owns a job.
//!
//! A job's id follows from the table, the job's name and a generation, so two trainers that start the same job meet at
//! the same item, and a conditional write lets one of them have it. The owner's name is a tag of the item; every later
//! write of the job asks for it. An owner that has not shown itself for [`LEASE`] can be succeeded; so can one whose run
//! was interrupted or cancelled, by whoever resumes the run.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::dynamo::{PutCondition, Query, Table, Written};
use crate::error::AwsError;
use crate::jobs::{Job, JobState, JobStatus, job_pk};

/// A running job whose trainer has not written a status for this long may be taken over.
pub const LEASE: Duration = Duration::from_secs(10 * 60);

/// The tag that names the owner.
pub(super) const OWNER: &str = "trainer";

/// Names a trainer: its machine and a random part, so that two on one machine differ.
pub fn trainer_name(machine: &str) -> String {
    format!("{machine}/{}", Uuid::new_v4())
}

/// Holds while `trainer` owns the item.
pub(super) fn owned_by(trainer: &str) -> PutCondition {
    PutCondition::When {
        expression: "#tags.#owner = :owner".into(),
        names: names(),
        values: BTreeMap::from([(":owner".into(), AttributeValue::S(trainer.into()))]),
    }
}

/// Holds while the item is as it was read: same status, same owner.
fn unchanged(job: &Job) -> PutCondition {
    let mut names = names();
    names.insert("#status".into(), "status".into());
    let mut values = BTreeMap::from([(":status".into(), AttributeValue::S(job.status.name().into()))]);
    let expression = match job.tags.get(OWNER) {
        Some(owner) => {
            values.insert(":owner".into(), AttributeValue::S(owner.clone()));
            "#status = :status AND #tags.#owner = :owner"
        }
        None => "#status = :status AND attribute_not_exists(#tags.#owner)",
    };
    PutCondition::When { expression: expression.into(), names, values }
}

fn names() -> BTreeMap<String, String> {
    BTreeMap::from([("#tags".into(), "tags".into()), ("#owner".into(), OWNER.into())])
}

fn job_id(table: &Table, name: &str, generation: u32) -> String {
    let text = format!("layoutlm-job/{}/{name}/{generation}", table.name());
    Uuid::new_v5(&Uuid::NAMESPACE_URL, text.as_bytes()).to_string()
}

/// Makes `job` this trainer's: gives it an id and writes it as pending, or takes over the one that is there.
///
/// # Errors
/// [`AwsError::OtherOwner`] while another trainer works on a job of that name.
pub(super) async fn claim(table: &Table, mut job: Job, resuming: bool) -> Result<Job, AwsError> {
    let owner = job.tags.get(OWNER).cloned().unwrap_or_default();
    for generation in 0.. {
        job.job_id = job_id(table, &job.name, generation);
        let Written::No(found) = table.put(&job.item(), &PutCondition::New).await? else { return Ok(job) };
        let found = found.as_ref().map(Job::read).transpose();
        let found = found.map_err(|error| AwsError::Item { table: table.describe(), error })?;
        // Deleted in between: the next round writes it.
        let Some(found) = found else { continue };
        let ours = found.tags.get(OWNER).is_some_and(|o| *o == owner);
        let free = match found.status {
            JobState::Succeeded => continue,
            JobState::Failed | JobState::Interrupted | JobState::Cancelled if !resuming => continue,
            JobState::Failed | JobState::Interrupted | JobState::Cancelled => true,
            JobState::Pending | JobState::Running => ours || is_abandoned(table, &found).await?,
        };
        if !free {
            let by = found.tags.get(OWNER).map_or("another program", String::as_str);
            return Err(other_owner(table, &job.name, format!("it is {} by {by}", found.status)));
        }
        let taken = Job { created_at: found.created_at.clone(), ..job.clone() };
        match table.put(&taken.item(), &unchanged(&found)).await? {
            Written::Yes => return Ok(taken),
            Written::No(_) => {
                return Err(other_owner(table, &job.name, "it was taken over just now".into()));
            }
        }
    }
    Err(other_owner(table, &job.name, "every generation of it is taken".into()))
}

pub(super) fn other_owner(table: &Table, job: &str, state: String) -> AwsError {
    AwsError::OtherOwner { job: job.into(), table: table.name().into(), state }
}

/// True when the newest sign of life is older than [`LEASE`].
async fn is_abandoned(table: &Table, job: &Job) -> Result<bool, AwsError> {
    let query = Query::partition(job_pk(&job.job_id)).begins_with("STATUS#").newest_first();
    let mut last = job.created_at.clone();
    table
        .query_pages(&query, |page| match page.iter().find_map(|item| JobStatus::read(item).ok()) {
            Some(status) => {
                last = status.updated_at;
                false
            }
            None => true,
        })
        .await?;
    let Ok(last) = DateTime::parse_from_rfc3339(&last) else { return Ok(true) };
    let silent = Utc::now().signed_duration_since(last).to_std().unwrap_or_default();
    Ok(silent > LEASE)
}
