//! What the measurements have in common: a peer in another process, taken in turns with our side.
//!
//! Machines are shared and their clocks move, so only ratios within one run mean anything: both sides take turns,
//! and the medians are compared.

pub mod peer;
pub mod serve;
pub mod shape;
