//! What a run is worth, written out: `RESULTS.md` and a self-contained `report.html`, and runs put side by side.
//!
//! Everything is read from the run's folder, so a report can be made again at any time, also for runs of the Python
//! trainer. `sections` decides what is said; [`markdown()`] and
//! [`page`] only how it looks.

mod chart;
mod compare;
mod document;
mod findings;
mod format;
mod html;
mod lenient;
mod markdown;
mod sections;
pub mod tables;
mod view;

pub use chart::{Bars, Chart, Lines, Matrix, Series};
pub use compare::{Comparison, compare, comparison_section, incomparable};
pub use document::{Align, Block, Section, Table};
pub(crate) use html::frame;
pub use html::page;
pub use markdown::{markdown, plain, table_text};
pub use view::{EpochView, RunView, list_runs};

use std::path::{Path, PathBuf};

use crate::files::{FileError, write_atomic};

/// The report for text editors and repositories.
pub const RESULTS_FILE: &str = "RESULTS.md";
/// The report for browsers.
pub const REPORT_FILE: &str = "report.html";

/// Writes both reports into a run's folder, compared with the other runs of `runs_dir`. Gives their paths.
///
/// # Errors
/// [`FileError`] when the run can't be read or the reports can't be written. Other runs that can't be read are left out.
pub fn write_reports(run_dir: &Path, runs_dir: Option<&Path>) -> Result<[PathBuf; 2], FileError> {
    let run = RunView::read(run_dir)?;
    let others: Vec<RunView> = runs_dir.map(list_runs).unwrap_or_default();
    let others: Vec<RunView> = others.into_iter().filter(|r| r.dir != run.dir).collect();
    let sections = sections::of_run(&run, &others);
    let title = format!("Results of {}", run.job_name);
    let paths = [run_dir.join(RESULTS_FILE), run_dir.join(REPORT_FILE)];
    write_text(&paths[0], &markdown(&title, &sections))?;
    write_text(&paths[1], &page(&title, &sections))?;
    Ok(paths)
}

/// Writes a text file whole or not at all.
///
/// # Errors
/// [`FileError`].
pub fn write_text(path: &Path, text: &str) -> Result<(), FileError> {
    write_atomic(path, |f| f.write_all(text.as_bytes()))
}
