//! Whole training runs of a tiny model: what they are told to do is what they do, and what they leave behind.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test fails by panicking.

mod data_modes;
mod events;
mod resume;
mod shared;
