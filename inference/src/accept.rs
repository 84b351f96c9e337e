//! Connections: taken up to a limit, served with a deadline for headers, closed in good order.
//!
//! A client that sends its headers a byte at a time, or none, is cut off; bodies have a deadline of their own in
//! [`http`](crate::http). Where all connections are taken, further ones wait in the system's queue.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::linger::Lingering;

/// Limits of connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// At once.
    pub(crate) connections: usize,
    /// From a connection's begin or its last answer to the end of the next headers.
    pub(crate) headers: Duration,
}

/// Serves until told to stop, then finishes what is in hand.
pub(crate) async fn accept(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    mut stopped: watch::Receiver<bool>,
) {
    let connections = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.headers);
    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, stream) = tokio::select! {
            () = told_to_stop(&mut stopped) => break,
            (slot, accepted) = next => match accepted {
                Ok((stream, _)) => (slot, stream),
                Err(error) => {
                    rest_after(&error).await;
                    continue;
                }
            },
        };
        let io = TokioIo::new(Lingering::new(at_once(stream)));
        let service = TowerToHyperService::new(router.clone());
        let connection = connections.watch(builder.serve_connection(io, service));
        tokio::spawn(async move {
            // A connection that breaks off is the client's business.
            let _ = connection.await;
            drop(slot);
        });
    }
    drop(listener);
    connections.shutdown().await;
}

async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    // Whoever could tell being gone means the same.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Answers are written in one piece; waiting for more would only cost time.
fn at_once(stream: TcpStream) -> TcpStream {
    let _ = stream.set_nodelay(true);
    stream
}

/// A connection that died before it was accepted is nothing; out of file descriptors, a moment's rest helps.
async fn rest_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "a connection could not be accepted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
