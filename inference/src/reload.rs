//! Loads the first bundle and those that come after it, without the requests noticing.
//!
//! A new bundle is opened, checked and made to replay its probe while the old one serves. Only then does it take over;
//! requests let in before that are finished by the old one, which goes when the last of them is answered. A bundle that
//! fails any of this changes nothing but a log line and a metric.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Interval, MissedTickBehavior};

use crate::config::ServerConfig;
use crate::http::App;
use crate::service::{Service, StartError};
use crate::source::BundleSource;

type Loading = oneshot::Receiver<Result<Service, StartError>>;

/// What a [`Loader`] waits for.
pub(crate) enum Event {
    /// The source may point elsewhere now.
    TimeToLook,
    /// A bundle was loaded, or not.
    Loaded(Box<Result<Service, StartError>>),
}

/// Brings bundles into service.
pub(crate) struct Loader {
    config: ServerConfig,
    app: Arc<App>,
    source: BundleSource,
    /// Where the source pointed when it was last followed.
    followed: Option<PathBuf>,
    loading: Option<Loading>,
    looks: Option<Interval>,
    /// Told to reload while a bundle was being loaded.
    again: bool,
}

impl Loader {
    /// Call it inside the runtime.
    pub(crate) fn new(config: ServerConfig, app: Arc<App>) -> Self {
        let looks = config.reload_every().map(|every| {
            let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            looks
        });
        let source = BundleSource::new(&config.bundle);
        Self { config, app, source, followed: None, loading: None, looks, again: false }
    }

    /// Begins with the first bundle.
    ///
    /// # Errors
    /// When the source leads nowhere.
    pub(crate) fn load_first(&mut self) -> Result<(), StartError> {
        let folder = self.source.resolve().map_err(StartError::Source)?;
        self.load(folder);
        Ok(())
    }

    /// Loads what the source points to now, changed or not.
    pub(crate) fn told_to_reload(&mut self) {
        if self.loading.is_some() {
            self.again = true;
            return;
        }
        match self.source.resolve() {
            Ok(folder) => self.load(folder),
            Err(error) => self.refused(&StartError::Source(error)),
        }
    }

    /// Completes when there is something to do.
    pub(crate) async fn next(&mut self) -> Event {
        tokio::select! {
            loaded = finished(&mut self.loading) => Event::Loaded(Box::new(loaded)),
            () = tick(&mut self.looks) => Event::TimeToLook,
        }
    }

    /// Loads what the source points to, if that is another place than before. A place that was refused is not tried
    /// again until it changes or a signal says so.
    pub(crate) fn look(&mut self) {
        if self.loading.is_some() {
            return;
        }
        // An unreadable pointer may be one that is being replaced.
        if let Ok(folder) = self.source.resolve()
            && self.followed.as_ref() != Some(&folder)
        {
            self.load(folder);
        }
    }

    /// Lets a loaded bundle take over, or says why there is none.
    ///
    /// # Errors
    /// When there was none before it and it can't be served.
    pub(crate) fn settle(&mut self, loaded: Result<Service, StartError>) -> Result<(), StartError> {
        self.loading = None;
        match loaded {
            Ok(service) => self.take_over(service),
            Err(error) if self.app.is_serving() => self.refused(&error),
            Err(error) => return Err(error),
        }
        if std::mem::take(&mut self.again) {
            self.told_to_reload();
        }
        Ok(())
    }

    /// Loads on a thread of its own: the runtime would wait for a blocking task even when told to stop.
    fn load(&mut self, folder: PathBuf) {
        self.followed = Some(folder.clone());
        let (tell, told) = oneshot::channel();
        let (config, metrics) = (self.config.clone(), self.app.metrics.clone());
        let loading = std::thread::Builder::new().name("loading".into()).spawn(move || {
            let _ = tell.send(Service::start(&config, &folder, &metrics));
        });
        if let Err(error) = loading {
            tracing::error!(%error, "no thread to load the bundle on");
        }
        self.loading = Some(told);
    }

    fn take_over(&mut self, service: Service) {
        announce(&service);
        let before = self.app.install(service);
        self.app.metrics.reloaded("taken");
        if let Some(before) = before {
            retire(before);
        }
    }

    fn refused(&self, error: &StartError) {
        tracing::error!(%error, "the new bundle is not served; the old one stays");
        self.app.metrics.reloaded("refused");
    }
}

/// What loading came to; never, where nothing is being loaded.
async fn finished(loading: &mut Option<Loading>) -> Result<Service, StartError> {
    let Some(loading) = loading else { return std::future::pending().await };
    let panicked = |_| Err(StartError::Threads(std::io::Error::other("loading the bundle panicked")));
    loading.await.unwrap_or_else(panicked)
}

async fn tick(looks: &mut Option<Interval>) {
    match looks {
        Some(looks) => {
            looks.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn announce(service: &Service) {
    let manifest = service.bundle().manifest();
    let replayed = service.replayed();
    tracing::info!(
        bundle = %service.bundle().folder().display(),
        variant = service.variant(),
        job = manifest.source.job_name.as_deref(),
        fingerprint = manifest.fingerprint,
        onnxruntime = service.runtime_version(),
        workers = service.workers(),
        threads = service.threads(),
        probe_windows = replayed.windows,
        max_abs_logit_diff = replayed.max_abs_logit_diff,
        loaded_in_ms = service.loaded_in().as_millis() as u64,
        "ready"
    );
}

/// Lets the old bundle go when its last request is answered, on a thread that nobody waits for.
fn retire(service: Arc<Service>) {
    let waiting = std::thread::Builder::new().name("retiring".into()).spawn(move || {
        while Arc::strong_count(&service) > 1 {
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(service);
        crate::memory::give_back();
        tracing::info!("the bundle before it is gone");
    });
    if let Err(error) = waiting {
        tracing::warn!(%error, "no thread to let the old bundle go on");
    }
}
