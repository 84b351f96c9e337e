//! Stops the run in good time when a spot instance is taken back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// A watch for the notice, beside the run.
#[derive(Debug, Clone, Default)]
pub struct SpotWatch {
    notice: Arc<OnceLock<String>>,
}

impl SpotWatch {
    /// Watches where there is something to watch; the notice sets `stop`.
    pub fn start(wanted: bool, stop: &Arc<AtomicBool>) -> Self {
        let watch = Self::default();
        if !wanted || !layoutlm_aws::spot::is_ec2() {
            return watch;
        }
        let (notice, stop) = (Arc::clone(&watch.notice), Arc::clone(stop));
        // Ends with the process: there is nothing to clean up.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            if let Some(text) = runtime.block_on(layoutlm_aws::spot::notice()) {
                eprintln!("this spot instance is taken back ({text}): saving the run");
                let _ = notice.set(text);
                stop.store(true, Ordering::SeqCst);
            }
        });
        watch
    }

    /// The notice, if one came.
    pub fn notice(&self) -> Option<&str> {
        self.notice.get().map(String::as_str)
    }
}
