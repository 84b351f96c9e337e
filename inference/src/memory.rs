//! Gives memory back that loading a bundle has freed.
//!
//! Opening a session packs weights that are then found packed already, and frees them again. The C library keeps such
//! memory for later, and a server that has loaded its bundle has no use for it.

/// Asks the C library to return what it holds and nobody uses; does nothing where it is not glibc.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    trim();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn trim() {
    // SAFETY: `malloc_trim` takes a number, locks the allocator itself and touches only memory that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
