//! A server on a free port for the length of a test.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use layoutlm_inference::config::ServerConfig;
use layoutlm_inference::server::{ServeError, serve};
use tokio::sync::oneshot;

use crate::client::Client;

/// A running server; told to stop and waited for when dropped.
pub struct TestServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl TestServer {
    /// Serves a bundle with two workers, changed by `change`, and waits until it is ready.
    pub fn start(bundle: &Path, change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::try_start(bundle, change).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The same for a server that is expected to refuse.
    ///
    /// # Errors
    /// As the server.
    pub fn try_start(bundle: &Path, change: impl FnOnce(&mut ServerConfig)) -> Result<Self, ServeError> {
        let mut config = ServerConfig::new(bundle);
        (config.port, config.workers, config.drain_seconds) = (0, Some(2), 10.0);
        change(&mut config);
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, ready) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let shutdown = async move {
                let _ = stopped.await;
            };
            runtime.block_on(serve(config, shutdown, move |address| tell.send(address).unwrap()))
        });
        match ready.recv_timeout(Duration::from_secs(60)) {
            Ok(address) => Ok(Self { address, stop: Some(stop), thread: Some(thread) }),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let error =
                    thread.join().expect("the server panicked").expect_err("it stopped without being ready");
                Err(error)
            }
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the server was not ready within a minute"),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Tells it to stop, without waiting.
    pub fn tell_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// As the server.
    pub fn wait(&mut self) -> Result<(), ServeError> {
        self.thread.take().map_or(Ok(()), |thread| thread.join().expect("the server panicked"))
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.tell_to_stop();
        let ended = self.wait();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}
