//! Writes a run's records as it goes on, and keeps them while the table can't be reached.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::claim::{OWNER, claim, other_owner};
use super::journal::{Journal, Pushed};
use crate::clock::next_time;
use crate::dynamo::{Item, Query, Table};
use crate::error::AwsError;
use crate::jobs::{Job, JobCheckpoint, JobLog, JobMetric, JobState, JobStatus, LogLevel, job_pk};
use crate::s3::RunPlace;

/// Source that logs name.
const SOURCE: &str = "receipt_layoutlm.trainer";

/// Pause after a failed attempt before the table is tried again; until then records only pile up.
const COOL_DOWN: Duration = Duration::from_secs(30);

/// A job about to begin.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its name.
    pub name: String,
    /// This trainer, see [`super::trainer_name`].
    pub trainer: String,
    /// Where its files go in S3, if they do.
    pub place: Option<RunPlace>,
    /// Machine, e.g. an instance id.
    pub instance_id: Option<String>,
    /// True when the run goes on from a checkpoint.
    pub resuming: bool,
}

/// Records one job.
#[derive(Debug)]
pub struct JobRecorder {
    table: Table,
    journal: Journal,
    job: Job,
    trainer: String,
    instance_id: Option<String>,
    best: Option<JobCheckpoint>,
    failed_at: Option<Instant>,
}

impl JobRecorder {
    /// Claims the job: it is this trainer's and pending. From here on nothing is lost when the table goes away.
    ///
    /// # Errors
    /// [`AwsError`]; [`AwsError::OtherOwner`] while another trainer works on it.
    pub async fn claim(table: Table, run_dir: &Path, new: NewJob) -> Result<Self, AwsError> {
        std::fs::create_dir_all(run_dir).map_err(AwsError::file(run_dir))?;
        let mut journal = Journal::open(run_dir)?;
        journal.flush(&table).await?;
        let mut storage = BTreeMap::new();
        if let Some(place) = &new.place {
            storage.insert("bucket".into(), place.root.bucket.clone());
            storage.insert("run_root_prefix".into(), place.root.key.clone());
        }
        let job = Job {
            job_id: String::new(),
            name: new.name,
            description: "LayoutLM receipt token classification".into(),
            created_at: next_time(),
            created_by: "system".into(),
            status: JobState::Pending,
            priority: "medium".into(),
            job_config: Map::new(),
            estimated_duration: None,
            tags: BTreeMap::from([(OWNER.into(), new.trainer.clone())]),
            storage,
            results: Map::new(),
        };
        let job = claim(&table, job, new.resuming).await?;
        let (trainer, instance_id) = (new.trainer, new.instance_id);
        let best = if new.resuming { best_checkpoint(&table, &job.job_id).await? } else { None };
        let mut recorder = Self { table, journal, job, trainer, instance_id, best, failed_at: None };
        recorder.status(JobState::Pending, None, Some("created".into())).await?;
        Ok(recorder)
    }

    /// Marks the job running, with what was asked.
    ///
    /// # Errors
    /// As [`Self::metrics`].
    pub async fn running(&mut self, config: Map<String, Value>) -> Result<(), AwsError> {
        (self.job.status, self.job.job_config) = (JobState::Running, config);
        self.job_item().await?;
        self.status(JobState::Running, Some(0.0), Some("started".into())).await
    }

    /// The job's id.
    pub fn job_id(&self) -> &str {
        &self.job.job_id
    }

    /// Records kept back because the table can't be reached.
    pub fn pending(&self) -> usize {
        self.journal.pending()
    }

    /// Writes metrics; those whose value the table can't hold are left out.
    ///
    /// # Errors
    /// [`AwsError::File`] when they can't even be kept; [`AwsError::OtherOwner`] when the job is another trainer's now.
    pub async fn metrics(&mut self, metrics: &[JobMetric]) -> Result<(), AwsError> {
        let items: Vec<Item> = metrics.iter().filter_map(JobMetric::item).collect();
        self.write(&items, false).await
    }

    /// Writes a log line: a message of JSON, as readers expect of a trainer.
    ///
    /// # Errors
    /// As [`Self::metrics`].
    pub async fn log(
        &mut self,
        level: LogLevel,
        message: String,
        exception: Option<String>,
    ) -> Result<(), AwsError> {
        let (job_id, source) = (self.job.job_id.clone(), Some(SOURCE.to_string()));
        let log = JobLog { job_id, timestamp: next_time(), log_level: level, message, source, exception };
        self.write(&[log.item()], false).await
    }

    /// Writes a step of the job's history; also a sign of life.
    ///
    /// # Errors
    /// As [`Self::metrics`].
    pub async fn status(
        &mut self,
        status: JobState,
        progress: Option<f64>,
        message: Option<String>,
    ) -> Result<(), AwsError> {
        let status = JobStatus {
            job_id: self.job.job_id.clone(),
            status,
            updated_at: next_time(),
            progress,
            message,
            updated_by: Some(self.trainer.clone()),
            instance_id: self.instance_id.clone(),
        };
        self.write(&[status.item()], false).await
    }

    /// Writes a checkpoint; the one that was best before is no longer.
    ///
    /// # Errors
    /// As [`Self::metrics`].
    pub async fn checkpoint(&mut self, mut checkpoint: JobCheckpoint) -> Result<(), AwsError> {
        checkpoint.job_id.clone_from(&self.job.job_id);
        let mut items = Vec::new();
        if checkpoint.is_best {
            if let Some(mut before) = self.best.take() {
                before.is_best = false;
                items.push(before.item());
            }
            self.best = Some(checkpoint.clone());
        }
        items.push(checkpoint.item());
        self.write(&items, false).await
    }

    /// Marks the job's end, with its results if it ended well. What can't be sent stays in the run's folder.
    ///
    /// # Errors
    /// As [`Self::metrics`].
    pub async fn finish(
        &mut self,
        state: JobState,
        message: Option<String>,
        results: Map<String, Value>,
    ) -> Result<(), AwsError> {
        self.job.status = state;
        if !results.is_empty() {
            self.job.results = results;
        }
        let progress = (state == JobState::Succeeded).then_some(100.0);
        self.status(state, progress, message).await?;
        self.job_item().await
    }

    /// Sends what was kept.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn flush(&mut self) -> Result<Pushed, AwsError> {
        let pushed = self.journal.flush(&self.table).await?;
        self.failed_at = None;
        Ok(pushed)
    }

    async fn job_item(&mut self) -> Result<(), AwsError> {
        let item = self.job.item();
        self.write(&[item], true).await
    }

    async fn write(&mut self, items: &[Item], owned: bool) -> Result<(), AwsError> {
        self.journal.keep(&self.table, items, owned.then_some(self.trainer.as_str()))?;
        if self.failed_at.is_some_and(|at| at.elapsed() < COOL_DOWN) {
            return Ok(());
        }
        match self.flush().await {
            Ok(pushed) if pushed.refused > 0 => Err(other_owner(
                &self.table,
                &self.job.name,
                "it was taken over while this run went on".into(),
            )),
            Ok(_) => Ok(()),
            Err(error @ AwsError::File { .. }) => Err(error),
            Err(error) => {
                self.failed_at = Some(Instant::now());
                tracing::warn!(%error, pending = self.journal.pending(), "records are kept in the run's folder");
                Ok(())
            }
        }
    }
}

/// The checkpoint that was the best of an earlier sitting.
async fn best_checkpoint(table: &Table, job_id: &str) -> Result<Option<JobCheckpoint>, AwsError> {
    let query = Query::partition(job_pk(job_id)).begins_with("CHECKPOINT#").newest_first();
    let items = table.query(&query).await?;
    Ok(items.iter().filter_map(|item| JobCheckpoint::read(item).ok()).find(|c| c.is_best))
}
