//! What every handler shares: the bundle in service, the phase of the process, the limits.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::auth::ApiKey;
use super::error::ApiError;
use super::request::RequestLimits;
use crate::config::ServerConfig;
use crate::metrics::Metrics;
use crate::otlp::Exporter;
use crate::service::Service;

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The bundle is being loaded and proved.
    Starting,
    /// Requests are taken.
    Ready,
    /// Told to stop: what is in hand is finished, nothing new is taken.
    Draining,
}

/// Why a server can't be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The file with the API key.
    #[error("--api-key-file {}: {reason}; expected the key on its first line", path.display())]
    ApiKey {
        /// As configured.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No thread for the collector.
    #[error("the thread that sends spans: {0}")]
    Thread(std::io::Error),
}

/// State of one server.
#[derive(Debug)]
pub struct App {
    state: RwLock<State>,
    in_hand: AtomicUsize,
    max_in_hand: usize,
    /// What a request may hold.
    pub limits: RequestLimits,
    /// Time for computing a request.
    pub timeout: Duration,
    /// Time for receiving a body.
    pub body_timeout: Duration,
    /// What an operator sees.
    pub metrics: Arc<Metrics>,
    /// Whether the words of receipts are logged.
    pub log_content: bool,
    /// Origins of pages that may call from a browser.
    pub cors_origins: Vec<String>,
    pub(super) api_key: Option<ApiKey>,
    pub(super) exporter: Option<Exporter>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    service: Option<Arc<Service>>,
}

impl App {
    /// A server that has nothing to serve yet.
    ///
    /// # Errors
    /// [`AppError`] when a file that the configuration names can't be used.
    pub fn new(config: &ServerConfig) -> Result<Arc<Self>, AppError> {
        let exporter = config.otlp_endpoint.as_deref().map(Exporter::start).transpose();
        Ok(Arc::new(Self {
            state: RwLock::new(State { phase: Phase::Starting, service: None }),
            in_hand: AtomicUsize::new(0),
            max_in_hand: config.max_requests as usize,
            limits: RequestLimits {
                body_bytes: config.max_body_bytes as usize,
                words: config.max_words as usize,
                receipts: config.max_receipts as usize,
            },
            timeout: config.timeout(),
            body_timeout: config.body_timeout(),
            metrics: Arc::new(Metrics::new(config.low_confidence)),
            log_content: config.log_content,
            cors_origins: config.cors_origins.clone(),
            api_key: ApiKey::of(config)?,
            exporter: exporter.map_err(AppError::Thread)?,
        }))
    }

    /// Puts a proved bundle into service; gives back the one before it.
    pub fn install(&self, service: Service) -> Option<Arc<Service>> {
        let manifest = service.bundle().manifest();
        let job = manifest.source.job_name.as_deref().unwrap_or_default();
        self.metrics.serving(job, service.variant(), &manifest.fingerprint);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.phase == Phase::Starting {
            state.phase = Phase::Ready;
            self.metrics.ready(true);
        }
        state.service.replace(Arc::new(service))
    }

    /// Takes no new work from here on.
    pub fn drain(&self) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).phase = Phase::Draining;
        self.metrics.ready(false);
    }

    /// Takes the bundle out of service and hands it over.
    pub fn retire(&self) -> Option<Arc<Service>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner).service.take()
    }

    /// Where the process is in its life.
    pub fn phase(&self) -> Phase {
        self.state.read().unwrap_or_else(PoisonError::into_inner).phase
    }

    /// Whether there is a bundle in service, draining or not.
    pub fn is_serving(&self) -> bool {
        self.state.read().unwrap_or_else(PoisonError::into_inner).service.is_some()
    }

    /// The bundle in service.
    ///
    /// # Errors
    /// 503 while starting or draining.
    pub fn service(&self) -> Result<Arc<Service>, ApiError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        match (state.phase, &state.service) {
            (Phase::Ready, Some(service)) => Ok(service.clone()),
            (Phase::Draining, _) => Err(ApiError::draining()),
            _ => Err(ApiError::not_ready()),
        }
    }

    /// Requests in hand.
    pub fn in_hand(&self) -> usize {
        self.in_hand.load(Ordering::Relaxed)
    }

    /// Counts one more request in hand, until the value is dropped.
    ///
    /// # Errors
    /// 429 when there are as many as allowed.
    pub fn admit(self: &Arc<Self>) -> Result<InHand, ApiError> {
        let admitted = InHand(self.clone());
        let before = self.in_hand.fetch_add(1, Ordering::Relaxed);
        self.metrics.in_hand(before + 1);
        if before < self.max_in_hand {
            Ok(admitted)
        } else {
            Err(ApiError::overloaded(format!("{} requests are in hand already", self.max_in_hand)))
        }
    }
}

/// One request in hand.
#[derive(Debug)]
pub struct InHand(Arc<App>);

impl Drop for InHand {
    fn drop(&mut self) {
        let before = self.0.in_hand.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.in_hand(before.saturating_sub(1));
    }
}
