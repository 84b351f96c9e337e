//! A run's records on their way into the table: who owns the job, what is written when, and what is kept while the
//! table can't be reached.

mod claim;
mod figures;
mod journal;
mod rebuild;
mod recorder;

pub use claim::{LEASE, trainer_name};
pub use figures::{epoch_figures, heldout_figures, job_config, job_results, run_figures, run_summary};
pub use journal::{Journal, Pushed};
pub use rebuild::run_record;
pub use recorder::{JobRecorder, NewJob};
