//! From gradients to the next weights: learning-rate schedule, clipping, AdamW.

mod adamw;
mod schedule;

pub use adamw::{AdamW, AdamWConfig, StepStats};
pub use schedule::LinearSchedule;
