//! The training engine against the reference, against itself, and against bad files.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)] // Test helpers fail by panicking.

mod checkpoints;
mod determinism;
mod gradients;
mod logits;
mod shared;
mod steps;
