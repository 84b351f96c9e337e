//! JOB_LOG: one line of a job's log.

use serde::Serialize;

use super::build::Build;
use super::{job_id, job_pk};
use crate::dynamo::{Fields, Item, ItemError};

/// Longest message, in bytes: an item holds 400 KB in all.
const LONGEST: usize = 380_000;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LogLevel {
    /// For information.
    Info,
    /// Something to look at.
    Warning,
    /// The run failed.
    Error,
    /// For developers.
    Debug,
    /// Everything failed.
    Critical,
}

impl LogLevel {
    const ALL: [Self; 5] = [Self::Info, Self::Warning, Self::Error, Self::Debug, Self::Critical];

    fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Debug => "DEBUG",
            Self::Critical => "CRITICAL",
        }
    }
}

/// A line of a job's log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobLog {
    /// The job.
    pub job_id: String,
    /// ISO time; part of the key.
    pub timestamp: String,
    /// How bad it is.
    pub log_level: LogLevel,
    /// Not empty.
    pub message: String,
    /// Who wrote it.
    pub source: Option<String>,
    /// What failed, in full.
    pub exception: Option<String>,
}

impl JobLog {
    /// Its `TYPE`.
    pub const TYPE: &'static str = "JOB_LOG";

    /// As written. A message beyond the item limit is cut and says so.
    pub fn item(&self) -> Item {
        let at = &self.timestamp;
        Build::new(job_pk(&self.job_id), format!("LOG#{at}"), Self::TYPE)
            .index(1, "LOG", format!("JOB#{}#{at}", self.job_id))
            .text("log_level", self.log_level.name())
            .text("message", shortened(&self.message))
            .optional_text("source", self.source.as_ref())
            .optional_text("exception", self.exception.as_ref())
            .done()
    }

    /// # Errors
    /// [`ItemError`].
    pub fn read(item: &Item) -> Result<Self, ItemError> {
        let fields = Fields::of(item);
        let level = fields.text("log_level")?;
        let log_level = LogLevel::ALL.into_iter().find(|l| l.name() == level);
        Ok(Self {
            job_id: job_id(fields)?,
            timestamp: fields.text("SK")?.split('#').nth(1).unwrap_or_default().into(),
            log_level: log_level
                .ok_or_else(|| fields.error("log_level", format!("{level:?} is no log level")))?,
            message: fields.text("message")?.into(),
            source: fields.optional_string("source")?,
            exception: fields.optional_string("exception")?,
        })
    }
}

fn shortened(message: &str) -> String {
    if message.len() <= LONGEST {
        return message.into();
    }
    let cut = (0..=LONGEST).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
    format!("{}… (cut: {} bytes)", message.get(..cut).unwrap_or_default(), message.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_beyond_the_item_limit_is_cut_between_characters() {
        let text = shortened(&"é".repeat(LONGEST));
        assert!(text.len() < 400_000 && text.contains("(cut: 760000 bytes)"));
    }
}
