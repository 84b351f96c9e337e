//! A small search over settings on one machine: every trial is an ordinary run, hopeless ones are stopped early.
//!
//! [`grid`] says which values are tried, [`rungs()`] when trials are compared, [`sweep()`] runs them. Trials share
//! their encoded receipts. A sweep that was stopped goes on from its runs' checkpoints.

mod plan;
mod record;
mod rungs;
mod trial;

pub use plan::{Axis, PlanError, Values, grid, random};
pub use record::{SWEEP_FILE, SweepRecord, TrialRecord, write_sweep_reports};
pub use rungs::{keep, rungs};
pub use trial::{SweepConfig, SweepError, Trial, sweep};
