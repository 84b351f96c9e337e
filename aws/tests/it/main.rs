//! The room against emulators over the network, with a proxy between that fails on purpose.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod errors;
mod export;
mod items;
mod jobs;
mod loading;
mod objects;
mod propose;
mod spot;
mod support;
