//! Records kept in the run's folder until the table has them.
//!
//! Every record is written to `job-records.jsonl` and synced before it is sent; what was sent is marked by a line
//! `{"sent": n}`. Whatever is not marked is sent again, in order, by the next flush: the run's own, or `runs push`.
//! Sending twice does no harm, as a record always has the same key.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::claim::owned_by;
use crate::dynamo::{Item, Table, Written, item_from_json, item_to_json};
use crate::error::AwsError;

const FILE: &str = "job-records.jsonl";

/// One record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Record {
    table: String,
    region: String,
    /// Written only while this trainer owns the job; without a name, always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trainer: Option<String>,
    item: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Sent { sent: usize },
    Record(Box<Record>),
}

/// Records of one run that the table may not have yet.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    records: Vec<Record>,
    sent: usize,
}

/// What a flush did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pushed {
    /// Records the table took.
    pub written: usize,
    /// Records it refused because another trainer owns the job now.
    pub refused: usize,
}

impl Journal {
    /// Of a run's folder. A torn last line, of a power cut, is ignored.
    ///
    /// # Errors
    /// [`AwsError::File`].
    pub fn open(run_dir: &Path) -> Result<Self, AwsError> {
        let mut journal = Self { path: run_dir.join(FILE), records: Vec::new(), sent: 0 };
        if !journal.path.is_file() {
            return Ok(journal);
        }
        let file = File::open(&journal.path).map_err(AwsError::file(&journal.path))?;
        for line in BufReader::new(file).lines() {
            let line = line.map_err(AwsError::file(&journal.path))?;
            match serde_json::from_str(&line) {
                Ok(Line::Record(record)) => journal.records.push(*record),
                Ok(Line::Sent { sent }) => journal.sent = sent,
                Err(_) => break,
            }
        }
        Ok(journal)
    }

    /// Records not sent yet.
    pub fn pending(&self) -> usize {
        self.records.len().saturating_sub(self.sent)
    }

    /// The table and region that pending records are for.
    pub fn destination(&self) -> Option<(&str, &str)> {
        self.records.get(self.sent).map(|r| (r.table.as_str(), r.region.as_str()))
    }

    /// Keeps items for a table; those with `trainer` are written only while that trainer owns the job.
    ///
    /// # Errors
    /// [`AwsError::File`].
    pub fn keep(&mut self, table: &Table, items: &[Item], trainer: Option<&str>) -> Result<(), AwsError> {
        let records: Vec<Record> = items
            .iter()
            .map(|item| Record {
                table: table.name().into(),
                region: table.region().into(),
                trainer: trainer.map(String::from),
                item: item_to_json(item),
            })
            .collect();
        self.append(records.iter().map(|r| Line::Record(Box::new(r.clone()))))?;
        self.records.extend(records);
        Ok(())
    }

    /// Sends what is pending, in order; stops at the first failure and keeps the rest.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn flush(&mut self, table: &Table) -> Result<Pushed, AwsError> {
        let mut pushed = Pushed::default();
        while let Some(first) = self.records.get(self.sent) {
            let (taken, refused) = match first.trainer.clone() {
                Some(trainer) => {
                    let item = self.items(1)?;
                    let item = item.first().cloned().unwrap_or_default();
                    let written = table.put(&item, &owned_by(&trainer)).await?;
                    (1, usize::from(matches!(written, Written::No(_))))
                }
                None => {
                    let plain =
                        self.records.iter().skip(self.sent).take_while(|r| r.trainer.is_none()).take(25);
                    let items = self.items(plain.count())?;
                    table.put_all(&items).await?;
                    (items.len(), 0)
                }
            };
            self.sent += taken;
            pushed.written += taken - refused;
            pushed.refused += refused;
            self.append([Line::Sent { sent: self.sent }])?;
        }
        if !self.records.is_empty() {
            fs::remove_file(&self.path).map_err(AwsError::file(&self.path))?;
            (self.records, self.sent) = (Vec::new(), 0);
        }
        Ok(pushed)
    }

    fn items(&self, count: usize) -> Result<Vec<Item>, AwsError> {
        let read = |record: &Record| {
            item_from_json(&record.item)
                .map_err(|reason| AwsError::Content { what: self.path.display().to_string(), reason })
        };
        self.records.iter().skip(self.sent).take(count).map(read).collect()
    }

    fn append(&self, lines: impl IntoIterator<Item = Line>) -> Result<(), AwsError> {
        let file = File::options().create(true).append(true).open(&self.path);
        let mut file = file.map_err(AwsError::file(&self.path))?;
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, &line).map_err(|e| AwsError::file(&self.path)(e.into()))?;
            text.push(b'\n');
        }
        file.write_all(&text).and_then(|()| file.sync_data()).map_err(AwsError::file(&self.path))
    }
}
