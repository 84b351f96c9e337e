//! Instance metadata (IMDSv2) of a spot instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::proxy::Plain;

/// A running metadata service.
pub struct Metadata {
    /// Its address.
    pub url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    taken_back: AtomicBool,
    asked: AtomicUsize,
}

impl Metadata {
    /// Starts one of an instance that is not taken back yet.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&state), request));
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { url, state }
    }

    /// Gives notice.
    pub fn take_back(&self) {
        self.state.taken_back.store(true, Ordering::SeqCst);
    }

    /// How often the notice was asked for.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Plain {
    let plain = |status: StatusCode, text: &str| {
        let mut response = Response::new(Full::new(Bytes::from(text.to_string())));
        *response.status_mut() = status;
        response.headers_mut().insert("x-aws-ec2-metadata-token-ttl-seconds", 21600.into());
        Ok(response)
    };
    if request.method() == Method::PUT && request.uri().path() == "/latest/api/token" {
        return plain(StatusCode::OK, "a-token");
    }
    if request.headers().get("x-aws-ec2-metadata-token").is_none_or(|token| token != "a-token") {
        return plain(StatusCode::UNAUTHORIZED, "");
    }
    if request.uri().path() != "/latest/meta-data/spot/instance-action" {
        return plain(StatusCode::NOT_FOUND, "");
    }
    state.asked.fetch_add(1, Ordering::SeqCst);
    if state.taken_back.load(Ordering::SeqCst) {
        return plain(StatusCode::OK, r#"{"action": "terminate", "time": "2025-11-13T02:15:00Z"}"#);
    }
    plain(StatusCode::NOT_FOUND, "")
}
