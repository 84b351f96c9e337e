//! Scores of tag sequences, equal to those of seqeval 1.2.2 in every figure.
//!
//! Entity precision, recall and F1 per type and averaged ([`report`]), the spans they count ([`spans`]), token
//! accuracy and the confusion of tags. Tags here are plain text, not a model's classes, so that gold labels the model
//! never learned count against it. Divisions by zero give 0, as with seqeval's `zero_division=0`.
//!
//! Beyond seqeval: kinds of mistakes ([`entity_errors`]) and intervals by bootstrap ([`f1_interval`]).

mod bootstrap;
mod confusion;
mod error;
mod errors;
mod report;
mod span;

pub use bootstrap::{EntityCounts, Interval, entity_counts, f1_interval, percentile};
pub use confusion::{Confusion, confusion, token_accuracy};
pub use error::MetricError;
pub use errors::{EntityErrors, ErrorReport, entity_errors};
pub use report::{Report, Scores, report};
pub use span::{Mode, Span, spans};
