//! A run's folder: records, checkpoints and what is in them.

mod checkpoint;
mod digest;
mod epochs;
mod event_log;
mod lock;
mod record;
mod showcase;

pub use checkpoint::{
    BestCheckpoint, CardState, RunError, State, checkpoints, load_moments, load_state, prune, remove_strays,
    save, save_best,
};
pub use epochs::{Compute, EpochEntry, EpochsRecord};
pub use event_log::{EVENTS_DIR, EventLog};
pub use lock::RunLock;
pub use record::{
    Comparability, EpochMetrics, Hardware, RunRecord, SplitCounts, SplitMetadata, legacy_configs,
    split_counts,
};
pub use showcase::{SHOWCASE, showcase_key, write_showcase};
