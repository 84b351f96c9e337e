//! The int8 variant: which outliers are tamed, which products stay in float, and the proof that labels survive.

mod ranges;
mod search;

pub(crate) use ranges::{Observer, Ranges};
pub(crate) use search::{Judge, Lab, Settled, search};
