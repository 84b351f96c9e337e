//! What the indexes gave, kept on disk: a load that was cut short goes on where it stopped, and the next run within
//! the hour need not ask again.
//!
//! One folder per table, region, endpoint and label status: `labels.jsonl` (whole or not there), `words.jsonl` (a line
//! per receipt, appended; a torn last line is ignored) and `state.json`. A cache older than its limit, or given
//! `refresh`, is thrown away. Holds nothing but what the table holds: delete it at will.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use layoutlm_core::encoding::sha256_hex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dynamo::{
    Item, ItemError, LabelStatus, ReceiptKey, Table, TableWord, item_from_json, item_to_json,
};
use crate::error::AwsError;
use crate::files::write_whole;

/// Where the cache is and how long it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOptions {
    /// Folder of all caches.
    pub folder: PathBuf,
    /// Older ones are thrown away.
    pub max_age: Duration,
    /// Throw away whatever is there.
    pub refresh: bool,
}

/// What a cache had to do with a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheUse {
    /// Nothing: the table was read.
    #[default]
    None,
    /// A load that had been cut short at this time was finished.
    Resumed(DateTime<Utc>),
    /// Everything came from the cache of this time.
    Whole(DateTime<Utc>),
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    table: String,
    started: DateTime<Utc>,
    complete: bool,
}

/// What was found of one receipt's words.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct CachedWords {
    pub(super) words: Vec<TableWord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) malformed: Vec<ItemError>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) other_types: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Line<W> {
    receipt: ReceiptKey,
    found: W,
}

/// The cache of one load; does nothing where none is wanted.
pub(super) struct Cache {
    open: Option<Open>,
}

struct Open {
    folder: PathBuf,
    state: State,
    found: CacheUse,
    words: Option<BufWriter<File>>,
}

impl Cache {
    pub(super) fn open(
        options: Option<&CacheOptions>,
        table: &Table,
        status: LabelStatus,
    ) -> Result<Self, AwsError> {
        let Some(options) = options else { return Ok(Self { open: None }) };
        let folder = options.folder.join(folder_name(table, status));
        let known = if options.refresh { None } else { known_state(&folder, options.max_age) };
        let (state, found) = match known {
            Some(state) if state.complete => {
                let started = state.started;
                (state, CacheUse::Whole(started))
            }
            Some(state) => {
                let started = state.started;
                (state, CacheUse::Resumed(started))
            }
            None => {
                if folder.exists() {
                    fs::remove_dir_all(&folder).map_err(AwsError::file(&folder))?;
                }
                fs::create_dir_all(&folder).map_err(AwsError::file(&folder))?;
                (State { table: table.describe(), started: Utc::now(), complete: false }, CacheUse::None)
            }
        };
        let open = Open { folder, state, found, words: None };
        open.write_state()?;
        Ok(Self { open: Some(open) })
    }

    /// Labels kept earlier, `None` when they have to be read.
    pub(super) fn labels(&self) -> Result<Option<Vec<Item>>, AwsError> {
        let Some(open) = &self.open else { return Ok(None) };
        let path = open.folder.join("labels.jsonl");
        if !path.is_file() {
            return Ok(None);
        }
        let mut items = Vec::new();
        for line in BufReader::new(File::open(&path).map_err(AwsError::file(&path))?).lines() {
            let line = line.map_err(AwsError::file(&path))?;
            let value: Option<Value> = serde_json::from_str(&line).ok();
            match value.and_then(|v| item_from_json(&v).ok()) {
                Some(item) => items.push(item),
                // The file is renamed into place when whole, so something else has written here.
                None => return Ok(None),
            }
        }
        Ok(Some(items))
    }

    pub(super) fn save_labels(&self, items: &[Item]) -> Result<(), AwsError> {
        let Some(open) = &self.open else { return Ok(()) };
        write_whole(&open.folder.join("labels.jsonl"), |file| {
            items.iter().try_for_each(|item| writeln!(file, "{}", item_to_json(item)))
        })
    }

    /// Words kept earlier.
    pub(super) fn words(&mut self) -> Result<BTreeMap<ReceiptKey, CachedWords>, AwsError> {
        let Some(open) = &mut self.open else { return Ok(BTreeMap::new()) };
        let path = open.folder.join("words.jsonl");
        let mut known = BTreeMap::new();
        let mut whole_bytes = 0;
        if path.is_file() {
            let mut reader = BufReader::new(File::open(&path).map_err(AwsError::file(&path))?);
            let mut line = String::new();
            while reader.read_line(&mut line).map_err(AwsError::file(&path))? > 0 {
                let Ok(parsed) = serde_json::from_str::<Line<CachedWords>>(&line) else { break };
                known.insert(parsed.receipt, parsed.found);
                whole_bytes += line.len() as u64;
                line.clear();
            }
        }
        let file = File::options().create(true).append(true).open(&path).map_err(AwsError::file(&path))?;
        file.set_len(whole_bytes).map_err(AwsError::file(&path))?;
        open.words = Some(BufWriter::new(file));
        Ok(known)
    }

    pub(super) fn save_words(&mut self, key: &ReceiptKey, found: &CachedWords) -> Result<(), AwsError> {
        let Some(Open { words: Some(file), folder, .. }) = &mut self.open else { return Ok(()) };
        let line = serde_json::to_string(&Line { receipt: key.clone(), found }).map_err(std::io::Error::from);
        line.and_then(|line| writeln!(file, "{line}")).map_err(AwsError::file(&folder.join("words.jsonl")))
    }

    /// Marks the cache complete and says what it was good for, given how many receipts had to be read after all.
    pub(super) fn finish(mut self, read_anew: usize) -> Result<CacheUse, AwsError> {
        let Some(open) = &mut self.open else { return Ok(CacheUse::None) };
        if let Some(mut file) = open.words.take() {
            let path = open.folder.join("words.jsonl");
            file.flush().and_then(|()| file.get_ref().sync_all()).map_err(AwsError::file(&path))?;
        }
        open.state.complete = true;
        open.write_state()?;
        Ok(match open.found {
            CacheUse::Whole(started) if read_anew > 0 => CacheUse::Resumed(started),
            found => found,
        })
    }
}

impl Open {
    fn write_state(&self) -> Result<(), AwsError> {
        write_whole(&self.folder.join("state.json"), |file| Ok(serde_json::to_writer(file, &self.state)?))
    }
}

/// The state of a cache that may still be used.
fn known_state(folder: &Path, max_age: Duration) -> Option<State> {
    let state: State = serde_json::from_str(&fs::read_to_string(folder.join("state.json")).ok()?).ok()?;
    let age = Utc::now().signed_duration_since(state.started).to_std().ok()?;
    (age <= max_age).then_some(state)
}

/// The table's name for people, and a hash that keeps regions, endpoints and statuses apart.
fn folder_name(table: &Table, status: LabelStatus) -> String {
    let endpoint = ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL", "DYNAMODB_ENDPOINT_URL"]
        .map(|name| std::env::var(name).unwrap_or_default());
    let key = format!("{}\n{endpoint:?}\n{status:?}\nv1", table.describe());
    let hash = sha256_hex(key.as_bytes());
    let name: String = table
        .name()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' })
        .take(80)
        .collect();
    format!("{name}-{}", hash.get(..12).unwrap_or_default())
}
