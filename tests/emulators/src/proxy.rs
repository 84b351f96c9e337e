//! A proxy that fails on purpose, as AWS and networks do.
//!
//! Faults are drawn by rate from a fixed sequence, so a test meets about the same ones every time.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};

/// Which faults, each as a share of requests, 0..1. None of them stays away for longer than its share says: of ten
/// requests at 0.1, whichever they are, one at least is hit.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Refused with a request for fewer requests.
    pub throttle: f64,
    /// Answered with HTTP 500.
    pub server_error: f64,
    /// Broken off before anything is done.
    pub drop_before: f64,
    /// Done, but broken off before the answer.
    pub drop_after: f64,
    /// Answered with half a body.
    pub cut: f64,
    /// Half of a batch left unprocessed.
    pub unprocessed: f64,
    /// An empty page with a key to go on from.
    pub empty_page: f64,
    /// Nobody is there at all.
    pub down: bool,
    /// After so many more requests nobody is there.
    pub down_after: Option<usize>,
    /// Every answer is this status and body.
    pub always: Option<(u16, String)>,
    /// Only requests whose operation or path holds this text fail.
    pub only: Option<String>,
}

/// A proxy before one service.
pub struct Proxy {
    /// Its address.
    pub url: String,
    state: Arc<State>,
}

struct State {
    upstream: String,
    faults: Mutex<Faults>,
    sequence: Mutex<u64>,
    /// Requests that each fault has spared since it last came.
    spared: Mutex<BTreeMap<&'static str, usize>>,
    counts: Mutex<BTreeMap<String, usize>>,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// A body that may break off half way.
struct MaybeCut {
    bytes: Option<Bytes>,
    whole: bool,
}

impl Body for MaybeCut {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match (self.bytes.take(), self.whole) {
            (Some(bytes), true) if bytes.is_empty() => Poll::Ready(None),
            (Some(bytes), true) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            (Some(bytes), false) => Poll::Ready(Some(Ok(Frame::data(bytes.slice(..bytes.len() / 2))))),
            (None, true) => Poll::Ready(None),
            (None, false) => Poll::Ready(Some(Err(std::io::Error::other("cut")))),
        }
    }
}

type Answer = Result<Response<MaybeCut>, std::io::Error>;

impl Proxy {
    /// Starts one before `upstream`, without faults.
    pub async fn start(upstream: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            upstream: upstream.into(),
            faults: Mutex::default(),
            sequence: Mutex::new(1),
            spared: Mutex::default(),
            counts: Mutex::default(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        });
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&state), request));
                    let http = hyper::server::conn::http1::Builder::new();
                    // Breaking off is what it is for.
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { url, state }
    }

    /// Replaces the faults from the next request on.
    pub fn set(&self, faults: Faults) {
        *self.state.faults.lock().unwrap() = faults;
    }

    /// How often each fault, and `ok`, has happened.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.state.counts.lock().unwrap().clone()
    }

    /// How often one of them has.
    pub fn count(&self, name: &str) -> usize {
        self.state.counts.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

impl State {
    /// The next number of the sequence, 0..1.
    fn draw(&self) -> f64 {
        let mut state = self.sequence.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Whether a fault with this share comes now.
    fn hits(&self, fault: &'static str, share: f64) -> bool {
        if share <= 0.0 {
            return false;
        }
        let mut all = self.spared.lock().unwrap();
        let spared = all.entry(fault).or_default();
        *spared += 1;
        let now = self.draw() < share || *spared as f64 * share >= 1.0;
        if now {
            *spared = 0;
        }
        now
    }

    fn note(&self, name: &str) {
        *self.counts.lock().unwrap().entry(name.into()).or_default() += 1;
    }

    /// The faults in force, counting this request.
    fn current(&self) -> Faults {
        let mut faults = self.faults.lock().unwrap();
        match faults.down_after {
            Some(0) => (faults.down, faults.down_after) = (true, None),
            Some(n) => faults.down_after = Some(n - 1),
            None => {}
        }
        faults.clone()
    }

    async fn forward(
        &self,
        method: hyper::Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Response<Bytes> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.upstream))
            .body(Full::new(body.clone()))
            .unwrap();
        *request.headers_mut() = headers.clone();
        if !request.headers().contains_key("transfer-encoding") {
            request.headers_mut().insert("content-length", body.len().into());
        }
        let answer = self.client.request(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
    }
}

fn broken() -> Answer {
    Err(std::io::Error::other("broken off"))
}

fn with(status: u16, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(MaybeCut { bytes: Some(body.into()), whole: true });
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Answer {
    let faults = state.current();
    if faults.down {
        state.note("down");
        return broken();
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_string();
    let target =
        parts.headers.get("x-amz-target").and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
    let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else { return broken() };
    let meant = faults.only.as_ref().is_none_or(|text| target.contains(text) || path.contains(text));
    if let Some((status, text)) = faults.always.filter(|_| meant) {
        state.note("always");
        return with(status, text);
    }
    let hit = |fault: &'static str, share: f64| meant && state.hits(fault, share);
    let dynamodb = !target.is_empty();
    if hit("throttle", faults.throttle) {
        state.note("throttle");
        return throttled(dynamodb);
    }
    if hit("server_error", faults.server_error) {
        state.note("server_error");
        return with(500, r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}"#);
    }
    if hit("drop_before", faults.drop_before) {
        state.note("drop_before");
        return broken();
    }
    if let Some(page) = empty_page(&target, &body).filter(|_| hit("empty_page", faults.empty_page)) {
        state.note("empty_page");
        return with(200, page);
    }
    let halved = halved(&target, &body).filter(|_| hit("unprocessed", faults.unprocessed));
    let sent = halved.as_ref().map_or_else(|| body.clone(), |(part, _)| part.clone());
    let answer = state.forward(parts.method, &path, &parts.headers, sent).await;
    if let Some((_, rest)) = halved {
        state.note("unprocessed");
        return with(200, rest);
    }
    if hit("drop_after", faults.drop_after) {
        state.note("drop_after");
        return broken();
    }
    let cut = answer.body().len() > 1 && hit("cut", faults.cut);
    state.note(if cut { "cut" } else { "ok" });
    let (mut head, body) = answer.into_parts();
    if body.is_empty() {
        // A HEAD's length is that of the body it does not have.
        head.headers.remove("transfer-encoding");
    } else {
        head.headers.insert("content-length", body.len().into());
        head.headers.remove("transfer-encoding");
    }
    Ok(Response::from_parts(head, MaybeCut { bytes: Some(body), whole: !cut }))
}

fn throttled(dynamodb: bool) -> Answer {
    if dynamodb {
        let kind = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException";
        return with(400, json!({"__type": kind, "message": "slow down"}).to_string());
    }
    with(503, "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
}

/// A page without items that tells to go on from where the request began.
fn empty_page(target: &str, body: &Bytes) -> Option<Bytes> {
    if !target.ends_with(".Query") && !target.ends_with(".Scan") {
        return None;
    }
    let request: Value = serde_json::from_slice(body).ok()?;
    let start = request.get("ExclusiveStartKey")?;
    Some(json!({"Items": [], "Count": 0, "ScannedCount": 0, "LastEvaluatedKey": start}).to_string().into())
}

/// The first half of a batch, and the answer that leaves the second half unprocessed.
fn halved(target: &str, body: &Bytes) -> Option<(Bytes, Bytes)> {
    if !target.ends_with(".BatchWriteItem") {
        return None;
    }
    let mut request: Value = serde_json::from_slice(body).ok()?;
    let (table, writes) = request["RequestItems"].as_object_mut()?.iter_mut().next()?;
    let (table, writes) = (table.clone(), writes.as_array_mut()?);
    if writes.len() < 2 {
        return None;
    }
    let rest = writes.split_off(writes.len() / 2);
    let answer = json!({"UnprocessedItems": {table: rest}});
    Some((request.to_string().into(), answer.to_string().into()))
}

/// Answers of handlers that can't fail.
pub(crate) type Plain = Result<Response<Full<Bytes>>, Infallible>;
