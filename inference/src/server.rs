//! The server's life: listen, load and prove the bundle, serve, change bundles, drain, stop.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use utoipa_axum::router::OpenApiRouter;

use crate::accept::{ConnectionLimits, accept};
use crate::config::ServerConfig;
use crate::http::{App, AppError, router};
use crate::reload::{Event, Loader};
use crate::service::StartError;

/// Why the server stopped, other than being told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}; choose another --host or --port")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configuration names something unusable.
    #[error(transparent)]
    Config(#[from] AppError),
    /// The bundle did not come into service.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Accepting connections failed for good.
    #[error("serving failed: {0}")]
    Io(std::io::Error),
}

/// What the outside tells a running server.
pub struct Signals {
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
    reload: mpsc::Receiver<()>,
}

impl Signals {
    /// Stops when `shutdown` completes; is never told to reload.
    pub fn only(shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { shutdown: Box::pin(shutdown), reload: mpsc::channel(1).1 }
    }

    /// SIGTERM and SIGINT stop, SIGHUP reloads. Call it inside the runtime.
    pub fn of_the_system() -> Self {
        Self { shutdown: Box::pin(shutdown_signal()), reload: hangups() }
    }

    /// Completes when it is time to stop. Once it has, there is nothing left to serve with.
    pub async fn told_to_stop(&mut self) {
        self.shutdown.as_mut().await;
    }
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signals").finish_non_exhaustive()
    }
}

/// Serves until `shutdown` completes, then drains; see [`serve_with`].
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    config: ServerConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
    on_ready: impl FnOnce(SocketAddr) + Send,
) -> Result<(), ServeError> {
    serve_with(config, OpenApiRouter::new(), Signals::only(shutdown), on_ready).await
}

/// Serves, with routes of the caller's own beside the server's. The address is bound before anything is loaded: until
/// the probe has replayed well, `/health/live` answers 200 and everything that needs the model 503.
///
/// `on_ready` is called once, with the bound address, when the bundle is in service.
///
/// # Errors
/// [`ServeError`]. A first bundle that can't be served ends the server; a later one changes nothing.
pub async fn serve_with(
    config: ServerConfig,
    routes: OpenApiRouter<Arc<App>>,
    mut signals: Signals,
    on_ready: impl FnOnce(SocketAddr) + Send,
) -> Result<(), ServeError> {
    let wanted = SocketAddr::new(config.host, config.port);
    let listen_error = |source| ServeError::Listen { address: wanted, source };
    let app = App::new(&config)?;
    let listener = TcpListener::bind(wanted).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    tracing::info!(%address, "listening");
    let limits =
        ConnectionLimits { connections: config.max_connections as usize, headers: config.header_timeout() };
    let (stop, stopped) = watch::channel(false);
    let mut serving = tokio::spawn(accept(listener, router(app.clone(), routes), limits, stopped));
    let outcome = run(&config, &app, &mut signals, &mut serving, address, on_ready).await;
    app.drain();
    tracing::info!(in_hand = app.in_hand(), "draining");
    let _ = stop.send(true);
    if tokio::time::timeout(config.drain(), &mut serving).await.is_err() {
        let in_hand = app.in_hand();
        tracing::warn!(in_hand, "requests were still in hand when the time to drain was over");
        serving.abort();
    }
    if let Some(service) = app.retire() {
        // Stops the workers where that holds nobody up.
        let _ = tokio::task::spawn_blocking(move || drop(service)).await;
    }
    tracing::info!("stopped");
    outcome
}

/// Serves until told to stop or unable to go on.
async fn run(
    config: &ServerConfig,
    app: &Arc<App>,
    signals: &mut Signals,
    serving: &mut tokio::task::JoinHandle<()>,
    address: SocketAddr,
    on_ready: impl FnOnce(SocketAddr) + Send,
) -> Result<(), ServeError> {
    let mut loader = Loader::new(config.clone(), app.clone());
    loader.load_first()?;
    let mut on_ready = Some(on_ready);
    loop {
        tokio::select! {
            () = &mut signals.shutdown => return Ok(()),
            _ = &mut *serving => return Err(ServeError::Io(std::io::Error::other("connections are no longer accepted"))),
            Some(()) = signals.reload.recv() => loader.told_to_reload(),
            event = loader.next() => match event {
                Event::TimeToLook => loader.look(),
                Event::Loaded(loaded) => {
                    loader.settle(*loaded)?;
                    if let Some(tell) = on_ready.take() {
                        tell(address);
                    }
                }
            },
        }
    }
}

/// Completes on SIGTERM or SIGINT.
pub async fn shutdown_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "signals can't be received; the server will only stop when killed");
            std::future::pending().await
        }
    }
}

/// One message per SIGHUP.
fn hangups() -> mpsc::Receiver<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (tell, told) = mpsc::channel(1);
    match signal(SignalKind::hangup()) {
        Ok(mut hangup) => {
            tokio::spawn(async move {
                while hangup.recv().await.is_some() {
                    // One reload answers any number of signals that came before it.
                    let _ = tell.try_send(());
                }
            });
        }
        Err(error) => tracing::error!(%error, "SIGHUP can't be received; bundles are not reloaded by it"),
    }
    told
}
