//! `sweep.json` and the sweep's report: every trial's values and what came of them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::plan::Values;
use super::trial::{SweepConfig, Trial};
use crate::files::{FileError, write_json};
use crate::report::{
    Align, Bars, Block, Chart, Lines, RunView, Section, Series, Table, comparison_section, markdown, page,
    write_text,
};

/// The record's file in the sweep's folder.
pub const SWEEP_FILE: &str = "sweep.json";

/// One trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// Name of its run.
    pub job_name: String,
    /// What was varied.
    pub values: Values,
    /// `waiting`, `finished`, `stopped after epoch <n>` or `failed: <why>`.
    pub status: String,
    /// Epochs done.
    pub epochs: usize,
    /// Best checkpoint metric.
    pub best: Option<f64>,
    /// Seconds trained.
    pub seconds: f64,
}

/// A sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepRecord {
    /// Its name.
    pub name: String,
    /// Checkpoint metric the trials are compared by.
    pub metric: String,
    /// Epochs before the first comparison.
    pub first_rung: usize,
    /// One in so many goes on.
    pub factor: usize,
    /// In the plan's order.
    pub trials: Vec<TrialRecord>,
    /// Name of the best run; `None` until the sweep is done.
    pub winner: Option<String>,
}

impl SweepRecord {
    pub(super) fn new(config: &SweepConfig, trials: &[Trial]) -> Self {
        let trial = |t: &Trial| TrialRecord {
            job_name: t.config.job_name.clone(),
            values: t.values.clone(),
            status: "waiting".into(),
            epochs: 0,
            best: None,
            seconds: 0.0,
        };
        Self {
            name: config.name.clone(),
            metric: trials.first().map_or("f1", |t| t.config.checkpoint_metric.name()).into(),
            first_rung: config.first_rung,
            factor: config.factor,
            trials: trials.iter().map(trial).collect(),
            winner: None,
        }
    }

    /// Names the best among the trials that ran to their end.
    pub(super) fn finish(&mut self, alive: &[usize]) {
        let lower = self.metric == "loss";
        let value = |t: &TrialRecord| t.best.map(|b| if lower { -b } else { b });
        let finished = alive.iter().filter_map(|&i| self.trials.get(i)).filter_map(|t| Some((t, value(t)?)));
        let best = finished.fold(None, |best: Option<(&TrialRecord, f64)>, new| match best {
            Some(b) if b.1 >= new.1 => Some(b),
            _ => Some(new),
        });
        self.winner = best.map(|(t, _)| t.job_name.clone());
    }

    /// Writes `sweep.json`.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write(&self, folder: &Path) -> Result<(), FileError> {
        write_json(&folder.join(SWEEP_FILE), self)
    }

    /// Trials with their values and results.
    pub fn table(&self) -> Table {
        let mut table = Table::new(["<run"]);
        let flags = self.trials.first().map(|t| t.values.iter().map(|(f, _)| f.clone()).collect::<Vec<_>>());
        table.columns.extend(flags.unwrap_or_default().into_iter().map(|f| (f, Align::Right)));
        let rest = [
            (self.metric.as_str(), Align::Right),
            ("epochs", Align::Right),
            ("seconds", Align::Right),
            ("outcome", Align::Left),
        ];
        table.columns.extend(rest.map(|(n, a)| (n.to_string(), a)));
        for t in &self.trials {
            let best = if Some(&t.job_name) == self.winner.as_ref() { " (best)" } else { "" };
            let mut row = vec![format!("{}{best}", t.job_name)];
            row.extend(t.values.iter().map(|(_, v)| v.clone()));
            row.push(t.best.map_or_else(|| "–".into(), |b| format!("{b:.4}")));
            row.extend([t.epochs.to_string(), format!("{:.0}", t.seconds), t.status.clone()]);
            table.rows.push(row);
        }
        table
    }
}

/// Writes `RESULTS.md` and `report.html` of a sweep into its folder. Gives their paths.
///
/// # Errors
/// [`FileError`].
pub fn write_sweep_reports(record: &SweepRecord, folder: &Path) -> Result<[PathBuf; 2], FileError> {
    let runs: Vec<RunView> =
        record.trials.iter().filter_map(|t| RunView::read(&folder.join(&t.job_name)).ok()).collect();
    let bar = |t: &TrialRecord| {
        let values: Vec<String> = t.values.iter().map(|(f, v)| format!("{f} {v}")).collect();
        Some((values.join(", "), t.best?, format!("{:.4}", t.best?)))
    };
    let bars = record.trials.iter().filter_map(bar).collect::<Vec<(String, f64, String)>>();
    let curve = |r: &RunView| Series {
        name: r.job_name.clone(),
        points: r.epochs.iter().filter_map(|e| Some((e.epoch, e.get("f1")?))).collect(),
    };
    let mut trials = vec![Block::Table(record.table())];
    if record.metric != "loss" {
        let title = format!("Best {} by trial", record.metric);
        trials.push(Block::Chart(Chart::Bars(Bars { title, bars })));
    }
    trials.push(Block::Chart(Chart::Lines(Lines {
        title: "F1 by epoch".into(),
        x_name: "epoch".into(),
        series: runs.iter().map(curve).collect(),
        y_range: Some((0.0, 1.0)),
    })));
    let mut sections = vec![Section::new("Trials", trials)];
    let refs: Vec<&RunView> = runs.iter().filter(|r| !r.epochs.is_empty()).collect();
    if !refs.is_empty() {
        let winner = refs.iter().position(|r| Some(&r.job_name) == record.winner.as_ref()).unwrap_or(0);
        sections.push(comparison_section("The runs side by side", &refs, winner));
    }
    let title = format!("Sweep {}", record.name);
    let paths = [folder.join("RESULTS.md"), folder.join("report.html")];
    write_text(&paths[0], &markdown(&title, &sections))?;
    write_text(&paths[1], &page(&title, &sections))?;
    Ok(paths)
}
