//! From gradients to the next weights: learning-rate schedule, clipping, AdamW, averaging.

mod adamw;
mod average;
mod schedule;

pub use adamw::{AdamW, AdamWConfig, StepStats};
pub use average::WeightAverage;
pub(crate) use average::decay_after;
pub use schedule::LinearSchedule;
