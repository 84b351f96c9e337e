//! What every handler shares: the bundle in service, the phase of the process, the limits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::error::ApiError;
use super::request::RequestLimits;
use crate::config::ServerConfig;
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
}

#[derive(Debug)]
struct State {
    phase: Phase,
    service: Option<Arc<Service>>,
}

impl App {
    /// A server that has nothing to serve yet.
    pub fn new(config: &ServerConfig) -> Arc<Self> {
        Arc::new(Self {
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
        })
    }

    /// Puts a proved bundle into service.
    pub fn install(&self, service: Service) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.service = Some(Arc::new(service));
        if state.phase == Phase::Starting {
            state.phase = Phase::Ready;
        }
    }

    /// Takes no new work from here on.
    pub fn drain(&self) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).phase = Phase::Draining;
    }

    /// Takes the bundle out of service and hands it over.
    pub fn retire(&self) -> Option<Arc<Service>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner).service.take()
    }

    /// Where the process is in its life.
    pub fn phase(&self) -> Phase {
        self.state.read().unwrap_or_else(PoisonError::into_inner).phase
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
        if self.in_hand.fetch_add(1, Ordering::Relaxed) < self.max_in_hand {
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
        self.0.in_hand.fetch_sub(1, Ordering::Relaxed);
    }
}
