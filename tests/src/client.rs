//! A plain HTTP client that hands out every answer, errors as well.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

/// A client of one server.
#[derive(Clone)]
pub struct Client {
    base: String,
    agent: Agent,
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body as it came.
    pub text: String,
}

impl Answer {
    fn of(response: Response<Body>) -> Self {
        let (parts, mut body) = response.into_parts();
        let text = body.with_config().limit(256 << 20).read_to_string().unwrap();
        Self { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// `(status, error code)`; the code is empty where there is none.
    pub fn refusal(&self) -> (u16, String) {
        let code = self.json().pointer("/error/code").and_then(Value::as_str).unwrap_or_default().to_string();
        (self.status, code)
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

impl Client {
    /// A client of the server at an address.
    pub fn new(address: SocketAddr) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)));
        Self { base: format!("http://{address}"), agent: config.build().into() }
    }

    /// `GET`.
    pub fn get(&self, path: &str) -> Answer {
        Answer::of(self.agent.get(format!("{}{path}", self.base)).call().unwrap())
    }

    /// `GET` from a server that may not be there yet.
    pub fn try_get(&self, path: &str) -> Option<Answer> {
        self.agent.get(format!("{}{path}", self.base)).call().ok().map(Answer::of)
    }

    /// `POST` of bytes as JSON.
    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.post_as(path, "application/json", body)
    }

    /// `POST` of bytes under some media type.
    pub fn post_as(&self, path: &str, kind: &str, body: impl AsRef<[u8]>) -> Answer {
        let request = self.agent.post(format!("{}{path}", self.base)).header("content-type", kind);
        Answer::of(request.send(body.as_ref()).unwrap())
    }

    /// `POST /v1/classify` that must succeed.
    pub fn classify(&self, body: &Value) -> Value {
        let answer = self.post("/v1/classify", body.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }
}
