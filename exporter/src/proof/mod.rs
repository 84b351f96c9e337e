//! The proof of a variant: its logits and labels beside the reference's on the same windows.

mod answers;
mod certify;
mod compare;
mod evidence;
mod probe;
mod reference;
mod worst;

pub use evidence::Evidence;
pub use worst::{BrokenProof, WorstWindow};

pub(crate) use answers::Answers;
pub(crate) use certify::{Subject, certify};
pub(crate) use compare::mean_difference;
pub(crate) use evidence::Prepared;
pub(crate) use probe::{make_probe, probe_receipts, replay, replay_proven};
pub(crate) use reference::{Reference, evidence_of, run_reference};
