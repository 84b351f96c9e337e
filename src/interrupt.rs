//! Ctrl-C and SIGTERM as a flag that long work looks at. A second signal ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, TERM_SIGNALS};
use signal_hook::flag;

/// What the signals so far have said.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// Set by the first SIGINT, SIGTERM or SIGQUIT.
    pub stop: Arc<AtomicBool>,
    by_hand: Arc<AtomicBool>,
}

impl Signals {
    /// True when somebody pressed Ctrl-C; SIGTERM comes from a machine that is going away.
    pub fn by_hand(&self) -> bool {
        self.by_hand.load(Ordering::SeqCst)
    }
}

/// Listens for the signals.
///
/// # Errors
/// When the handler can't be registered.
pub fn signals() -> std::io::Result<Signals> {
    let signals = Signals::default();
    flag::register(SIGINT, Arc::clone(&signals.by_hand))?;
    for &signal in TERM_SIGNALS {
        // Registered in this order: the second signal finds the flag set and exits.
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&signals.stop))?;
        flag::register(signal, Arc::clone(&signals.stop))?;
    }
    Ok(signals)
}

/// Only the flag that the first signal sets.
///
/// # Errors
/// As [`signals`].
pub fn flag() -> std::io::Result<Arc<AtomicBool>> {
    Ok(signals()?.stop)
}
