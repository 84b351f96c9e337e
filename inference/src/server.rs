//! The server's life: listen, load and prove the bundle, serve, drain, stop.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use utoipa_axum::router::OpenApiRouter;

use crate::config::ServerConfig;
use crate::http::{App, router};
use crate::service::{Service, StartError};

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
    /// The bundle did not come into service.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Accepting connections failed for good.
    #[error("serving failed: {0}")]
    Io(std::io::Error),
}

/// Serves until `shutdown` completes, then drains. The address is bound before anything is loaded: until the probe has
/// replayed well, `/health/live` answers 200 and everything else 503.
///
/// `on_ready` is called once, with the bound address, when the bundle is in service.
///
/// # Errors
/// [`ServeError`]. A bundle that can't be served ends the server.
pub async fn serve(
    config: ServerConfig,
    shutdown: impl Future<Output = ()> + Send,
    on_ready: impl FnOnce(SocketAddr) + Send,
) -> Result<(), ServeError> {
    serve_with(config, OpenApiRouter::new(), shutdown, on_ready).await
}

/// The same with routes of the caller's own beside the server's.
///
/// # Errors
/// As [`serve`].
pub async fn serve_with(
    config: ServerConfig,
    routes: OpenApiRouter<Arc<App>>,
    shutdown: impl Future<Output = ()> + Send,
    on_ready: impl FnOnce(SocketAddr) + Send,
) -> Result<(), ServeError> {
    let wanted = SocketAddr::new(config.host, config.port);
    let listen_error = |source| ServeError::Listen { address: wanted, source };
    let listener = TcpListener::bind(wanted).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    tracing::info!(%address, "listening");
    let app = App::new(&config);
    let (stop, stopped) = watch::channel(false);
    let mut serving = tokio::spawn(accept(listener, router(app.clone(), routes), stopped));
    let mut loading = Some(load(config.clone()));
    let mut on_ready = Some(on_ready);
    tokio::pin!(shutdown);
    let outcome = loop {
        tokio::select! {
            () = &mut shutdown => break Ok(()),
            ended = &mut serving => return ended.unwrap_or_else(|e| Err(std::io::Error::other(e))).map_err(ServeError::Io),
            loaded = finished(&mut loading) => match loaded {
                Err(error) => break Err(ServeError::Start(error)),
                Ok(service) => {
                    announce(&service);
                    app.install(service);
                    if let Some(tell) = on_ready.take() {
                        tell(address);
                    }
                }
            },
        }
    };
    app.drain();
    tracing::info!(in_hand = app.in_hand(), "draining");
    let _ = stop.send(true);
    if tokio::time::timeout(config.drain(), &mut serving).await.is_err() {
        tracing::warn!(
            in_hand = app.in_hand(),
            "requests were still in hand when the time to drain was over"
        );
        serving.abort();
    }
    retire(&app).await;
    tracing::info!("stopped");
    outcome
}

async fn accept(
    listener: TcpListener,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) -> std::io::Result<()> {
    // Answers are written in one piece; waiting for more would only cost time.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let told_to_stop = async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    axum::serve(listener, router).with_graceful_shutdown(told_to_stop).await
}

/// Loads on a thread of its own: the runtime would wait for a blocking task even when told to stop.
fn load(config: ServerConfig) -> oneshot::Receiver<Result<Service, StartError>> {
    let (tell, told) = oneshot::channel();
    let loading = std::thread::Builder::new().name("loading".into()).spawn(move || {
        let _ = tell.send(Service::start(&config));
    });
    if let Err(error) = loading {
        tracing::error!(%error, "no thread to load the bundle on");
    }
    told
}

/// What loading came to; never, once it was told.
async fn finished(
    loading: &mut Option<oneshot::Receiver<Result<Service, StartError>>>,
) -> Result<Service, StartError> {
    let Some(receiver) = loading else { return std::future::pending().await };
    let loaded = receiver.await;
    *loading = None;
    loaded.unwrap_or_else(|_| Err(StartError::Threads(std::io::Error::other("loading the bundle panicked"))))
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
        probe_windows = replayed.windows,
        max_abs_logit_diff = replayed.max_abs_logit_diff,
        loaded_in_ms = service.loaded_in().as_millis() as u64,
        "ready"
    );
}

/// Stops the workers where that holds nobody up.
async fn retire(app: &App) {
    if let Some(service) = app.retire() {
        let _ = tokio::task::spawn_blocking(move || drop(service)).await;
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
