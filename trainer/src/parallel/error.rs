//! Why processes could not train together.

use std::io;

/// Why processes could not train together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParallelError {
    /// What started the processes said something that can't be.
    #[error("{0}")]
    Launch(String),
    /// Rank 0 can't listen, or another rank can't reach it.
    #[error("rank {rank} can't reach the other processes at {address}: {source}")]
    Unreachable {
        /// The process that tried.
        rank: usize,
        /// MASTER_ADDR and MASTER_PORT.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Not all processes came.
    #[error(
        "after {seconds} s rank 0 still waits for rank {missing}: was every process started, with the same MASTER_ADDR and MASTER_PORT?"
    )]
    Missing {
        /// Ranks that did not come.
        missing: String,
        /// Time waited.
        seconds: u64,
    },
    /// A process is gone: killed, or its machine.
    #[error(
        "rank {rank} is gone ({reason}); start all processes anew: the run goes on from its last checkpoint"
    )]
    Lost {
        /// Whose connection broke.
        rank: usize,
        /// What the system said.
        reason: String,
    },
    /// A process gave up and said why.
    #[error("{0}")]
    GaveUp(String),
    /// The processes do not do the same.
    #[error("rank {rank} {what}; all processes need the same program, flags and data")]
    Differs {
        /// The other process.
        rank: usize,
        /// How it differs.
        what: String,
    },
    /// NCCL failed.
    #[error("NCCL: {0}")]
    Nccl(String),
}
