//! JOB: one training run.

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde_json::{Map, Value};

use super::build::Build;
use super::{job_id, job_pk};
use crate::dynamo::{Fields, Item, ItemError, plain_map, plain_to_value};
use crate::s3::S3Uri;

/// Where a job stands. Lower case in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Created, not yet running.
    Pending,
    /// Running.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Stopped by a person.
    Cancelled,
    /// Stopped from outside; can be resumed.
    Interrupted,
}

impl JobState {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled, Self::Interrupted];

    /// As the table spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    pub(super) fn read(fields: Fields<'_>) -> Result<Self, ItemError> {
        let name = fields.text("status")?;
        let state = Self::ALL.into_iter().find(|s| s.name() == name);
        state.ok_or_else(|| fields.error("status", format!("{name:?} is no job status")))
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A training run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Job {
    /// UUID.
    pub job_id: String,
    /// Need not be unique: a resumed run is another job of the same name.
    pub name: String,
    /// For people.
    pub description: String,
    /// ISO time; part of index keys.
    pub created_at: String,
    /// Who made it.
    pub created_by: String,
    /// Where it stands.
    pub status: JobState,
    /// `low`, `medium`, `high` or `critical`.
    pub priority: String,
    /// What was asked.
    pub job_config: Map<String, Value>,
    /// Seconds it may take.
    pub estimated_duration: Option<u64>,
    /// E.g. `active_model = true`.
    pub tags: BTreeMap<String, String>,
    /// Where its files lie; names that end in `_prefix` have values that end in `/`.
    pub storage: BTreeMap<String, String>,
    /// What came out.
    pub results: Map<String, Value>,
}

impl Job {
    /// Its `TYPE`.
    pub const TYPE: &'static str = "JOB";
    /// Its sort key.
    pub const SK: &'static str = "JOB";

    /// Whole, as written: other clients replace items, they never update attributes.
    pub fn item(&self) -> Item {
        let mut build = Build::new(job_pk(&self.job_id), Self::SK.into(), Self::TYPE)
            .index(1, format!("STATUS#{}", self.status), format!("CREATED#{}", self.created_at))
            .index(2, format!("JOB_NAME#{}", self.name), format!("CREATED#{}", self.created_at))
            .text("name", &self.name)
            .text("description", &self.description)
            .text("created_at", &self.created_at)
            .text("created_by", &self.created_by)
            .text("status", self.status.name())
            .text("priority", &self.priority)
            .value("job_config", plain_object(&self.job_config))
            .optional_integer("estimated_duration", self.estimated_duration);
        if !self.tags.is_empty() {
            build = build.value("tags", text_map(&self.tags));
        }
        if !self.storage.is_empty() {
            let slashed = self.storage.iter().map(|(name, value)| {
                let missing = name.ends_with("_prefix") && !value.ends_with('/');
                (name.clone(), if missing { format!("{value}/") } else { value.clone() })
            });
            build = build.value("storage", text_map(&slashed.collect()));
        }
        if !self.results.is_empty() {
            build = build.value("results", plain_object(&self.results));
        }
        build.done()
    }

    /// # Errors
    /// [`ItemError`].
    pub fn read(item: &Item) -> Result<Self, ItemError> {
        let fields = Fields::of(item);
        let plain = |name: &str| -> Result<Map<String, Value>, ItemError> {
            Ok(fields.optional_map(name)?.map(plain_map).unwrap_or_default())
        };
        Ok(Self {
            job_id: job_id(fields)?,
            name: fields.text("name")?.into(),
            description: fields.optional_text("description")?.unwrap_or_default().into(),
            created_at: fields.text("created_at")?.into(),
            created_by: fields.optional_text("created_by")?.unwrap_or_default().into(),
            status: JobState::read(fields)?,
            priority: fields.optional_text("priority")?.unwrap_or_default().into(),
            job_config: plain("job_config")?,
            estimated_duration: fields
                .optional_integer("estimated_duration")?
                .and_then(|s| u64::try_from(s).ok()),
            tags: fields.text_map("tags")?,
            storage: fields.text_map("storage")?,
            results: plain("results")?,
        })
    }

    /// The run's folder in S3, from `storage`, else the folder above `results.best_checkpoint_s3_path`.
    pub fn run_uri(&self) -> Option<S3Uri> {
        if let (Some(bucket), Some(prefix)) =
            (self.storage.get("bucket"), self.storage.get("run_root_prefix"))
        {
            return format!("s3://{bucket}/{}", prefix.trim_start_matches('/'))
                .parse::<S3Uri>()
                .ok()
                .map(|u| u.as_folder());
        }
        let best = self.best_path()?;
        let parent = best.key.trim_end_matches('/').rsplit_once('/').map_or("", |(parent, _)| parent);
        Some(S3Uri { bucket: best.bucket, key: parent.into() }.as_folder())
    }

    /// The best model's folder in S3, as serving clients find it.
    pub fn best_uri(&self) -> Option<S3Uri> {
        self.best_path().map(|uri| uri.as_folder()).or_else(|| {
            let run = self.run_uri()?;
            let best = self.storage.get("best_prefix").map(|p| p.trim_start_matches('/').to_string());
            Some(best.map_or_else(
                || run.join("best/"),
                |key| S3Uri { bucket: run.bucket.clone(), key }.as_folder(),
            ))
        })
    }

    fn best_path(&self) -> Option<S3Uri> {
        self.results.get("best_checkpoint_s3_path")?.as_str()?.parse().ok()
    }

    /// Marked as the model that serves.
    pub fn is_active(&self) -> bool {
        self.tags.get("active_model").is_some_and(|tag| tag == "true")
    }
}

fn plain_object(map: &Map<String, Value>) -> AttributeValue {
    plain_to_value(&Value::Object(map.clone()))
}

fn text_map(map: &BTreeMap<String, String>) -> AttributeValue {
    AttributeValue::M(map.iter().map(|(k, v)| (k.clone(), AttributeValue::S(v.clone()))).collect())
}
