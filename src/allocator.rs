//! The process's allocator: mimalloc, told to keep the memory it has.
//!
//! A training step allocates and frees the same hundreds of megabytes again and again; handing them back to the
//! system in between costs a page fault for every 4 KiB.
#![allow(unsafe_code)] // One call into the allocator's C interface, reviewed here.

use libmimalloc_sys::{mi_option_set, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h, which the bindings do not name.
const PURGE_DELAY: mi_option_t = 15;

/// Never gives freed memory back before the process ends. To be called once, first thing.
pub fn keep_freed_memory() {
    // SAFETY: sets one integer option of the allocator; valid at any time, from the only thread there is.
    unsafe { mi_option_set(PURGE_DELAY, -1) };
}
