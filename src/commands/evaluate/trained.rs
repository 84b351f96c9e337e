//! What the run that a model came from left beside it: how its validation receipts were read, and whom it trained on.
//!
//! A model from elsewhere has nothing beside it and is scored by the defaults.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use layoutlm_core::receipt::{Receipt, ValidationStatus};
use layoutlm_trainer::data::{Loader, labelled_only, upstream_pages};
use layoutlm_trainer::stats::{DATA_FILE, DataStats};
use serde_json::Value;

use crate::exit::usage;

/// A model's run as far as scoring asks for it.
#[derive(Debug, Default)]
pub struct Trained {
    /// Labels of this status count.
    pub status: ValidationStatus,
    /// Merchants trained on, where known.
    pub merchants: Option<BTreeSet<String>>,
    loader: Loader,
    /// The run's own validation receipts, placed on their pages already.
    validation: Option<PathBuf>,
}

impl Trained {
    /// Looks into the model's folder and the one around it.
    pub fn of(model: &Path) -> Self {
        let model = std::fs::canonicalize(model).unwrap_or_else(|_| model.to_path_buf());
        let beside: Vec<&Path> = model.ancestors().take(2).collect();
        let read = |name: &str| beside.iter().find_map(|dir| std::fs::read_to_string(dir.join(name)).ok());
        let data = read(DATA_FILE).and_then(|text| serde_json::from_str::<DataStats>(&text).ok());
        let run: Value =
            read("run.json").and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Self {
            status: field(&run, "/data_config/validation_status"),
            merchants: data.map(|data| data.train_merchants),
            loader: field(&run, "/config/loader"),
            validation: beside
                .iter()
                .find_map(|dir| std::fs::canonicalize(dir.join("validation.jsonl")).ok()),
        }
    }

    /// Leaves out, as the run did, what nobody labelled: its words would all count as `O`. Says what it does on stderr.
    ///
    /// # Errors
    /// When nothing is left.
    pub fn labelled(&self, receipts: Vec<Receipt>, path: &Path) -> anyhow::Result<Vec<Receipt>> {
        let status = self.status.name();
        if self.status != ValidationStatus::default() {
            eprintln!("labels of status {status} count, as in the model's run");
        }
        let (kept, left_out) = labelled_only(receipts, self.status);
        if kept.is_empty() {
            let path = path.display();
            return Err(usage(anyhow!(
                "{path}: none of {left_out} receipts has a label of status {status}, so there is nothing to score against"
            )));
        }
        if left_out > 0 {
            eprintln!("receipts left out: {left_out} without a label of status {status}");
        }
        Ok(kept)
    }

    /// Places receipts of the file `path` on their pages as the run did its validation receipts.
    pub fn place(&self, receipts: &mut [Receipt], path: &Path) {
        let is_own = || self.validation.is_some() && std::fs::canonicalize(path).ok() == self.validation;
        if self.loader == Loader::Upstream && !is_own() {
            upstream_pages(receipts);
        }
    }
}

/// A value of a record; its default where the record or the value is missing.
fn field<T: serde::de::DeserializeOwned + Default>(record: &Value, pointer: &str) -> T {
    record.pointer(pointer).and_then(|value| T::deserialize(value).ok()).unwrap_or_default()
}
