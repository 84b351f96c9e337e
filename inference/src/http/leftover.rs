//! What a refusal left unread of a body.
//!
//! Closed over unread bytes, a connection is reset, and the reset may overtake the answer: the caller sees a broken
//! connection in place of 429. So the rest is read off first, and the connection stays in use. Where that would take
//! long, the answer says that the connection closes, and [`Lingering`](crate::linger::Lingering) sees to a close in
//! good order.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Frame, SizeHint};

use super::app::App;

/// How long an answer may wait for the rest of its request. A body under way is there by then.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is left of a body when its borrower is done with it.
#[derive(Default)]
enum Rest {
    /// It came to its end. A chunked body can't be asked that afterwards.
    #[default]
    Nothing,
    /// It broke off, or was none.
    Broken,
    Unread(Body),
}

/// A body that goes back to its owner when the borrower drops it.
struct Lent {
    body: Body,
    /// How it ended, once it has.
    end: Option<Rest>,
    home: Arc<Mutex<Rest>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let unread = Rest::Unread(std::mem::take(&mut self.body));
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = self.end.take().unwrap_or(unread);
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match &frame {
            Poll::Ready(None) => self.end = Some(Rest::Nothing),
            Poll::Ready(Some(Err(_))) => self.end = Some(Rest::Broken),
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Answers a request and leaves nothing of its body unread, or says that the connection closes.
pub(super) async fn read_off(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    // Who asks first whether the body is wanted has not sent it, and must not be made to.
    let asks_first = request.headers().contains_key(header::EXPECT);
    let home = Arc::new(Mutex::new(Rest::default()));
    let lend = |body| Body::new(Lent { body, end: None, home: home.clone() });
    let mut response = next.run(request.map(lend)).await;
    let too_much = matches!(response.status(), StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT);
    let rest = std::mem::take(&mut *home.lock().unwrap_or_else(PoisonError::into_inner));
    let stays = match rest {
        Rest::Nothing => true,
        Rest::Broken => false,
        Rest::Unread(body) if body.is_end_stream() => true,
        Rest::Unread(body) => !asks_first && !too_much && ended(body, app.limits.body_bytes).await,
    };
    if !stays {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether a body came to its end in time and size.
async fn ended(body: Body, most: usize) -> bool {
    let mut body = Limited::new(body, most);
    let to_the_end = async {
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(PATIENCE, to_the_end).await.unwrap_or(false)
}
