//! A run's folder: records, checkpoints and what is in them.

mod checkpoint;
mod record;

pub use checkpoint::{
    BestCheckpoint, RunError, State, checkpoints, load_state, prune, remove_strays, save, save_best,
};
pub use record::{
    Comparability, EpochMetrics, EpochsRecord, RunRecord, SplitCounts, SplitMetadata, legacy_configs,
    split_counts,
};
