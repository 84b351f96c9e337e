//! The process's allocator: mimalloc, which can be told to keep the memory it has.
//!
//! A training step allocates and frees the same hundreds of megabytes again and again; handing them back to the
//! system in between costs a page fault for every 4 KiB.
#![allow(unsafe_code)] // Calls into the allocators' C interfaces, reviewed here.

use libmimalloc_sys::{mi_collect, mi_option_set, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h, which the bindings do not name.
const PURGE_DELAY: mi_option_t = 15;

/// Never gives freed memory back before the process ends. To be called once, before there are threads.
pub fn keep_freed_memory() {
    // SAFETY: sets one integer option of the allocator; valid at any time, from the only thread there is.
    unsafe { mi_option_set(PURGE_DELAY, -1) };
}

/// Gives freed memory back at once. To be called once, before there are threads.
pub fn give_back_freed_memory() {
    // SAFETY: as above.
    unsafe { mi_option_set(PURGE_DELAY, 0) };
}

/// Gives back what was freed so far, by C and C++ libraries as well; their allocator keeps it otherwise.
pub fn trim() {
    // SAFETY: may be called from any thread at any time.
    unsafe { mi_collect(true) };
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number and may be called from any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
