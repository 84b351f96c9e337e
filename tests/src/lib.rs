//! What the tests across rooms share: material, a small model, its bundle, a server around it.
//!
//! Nothing here is trained: the model's weights are fixed pseudo-random numbers, wide enough that labels vary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod browser;
pub mod bundle;
pub mod card;
pub mod client;
pub mod docker;
pub mod emulated;
pub mod golden;
pub mod model;
pub mod page_hand;
pub mod program;
pub mod receipt;
pub mod server;

use std::path::PathBuf;

/// A file or folder of the shared material; `None`, said on stderr, where it is not there.
pub fn shared(path: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let root = std::env::var_os("LAYOUTLM_SHARED").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let found = Some(root.join(path)).filter(|p| p.exists());
    if found.is_none() {
        eprintln!("skipped: {} is not there (set LAYOUTLM_SHARED)", root.join(path).display());
    }
    found
}
