//! Ctrl-C and SIGTERM as a flag that long work looks at. A second signal ends the process at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::TERM_SIGNALS;
use signal_hook::flag;

/// A flag that the first SIGINT, SIGTERM or SIGQUIT sets.
///
/// # Errors
/// When the handler can't be registered.
pub fn flag() -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for &signal in TERM_SIGNALS {
        // Registered in this order: the second signal finds the flag set and exits.
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
