//! One admitted request on its way through the model: what every route that labels receipts goes through.
//!
//! A handler asks for [`Work`], reads its own kind of body and calls [`Work::answer`] with two plain functions: from
//! bytes to receipts, and from labels to an answer. Admission, deadline, scheduling and faults are taken care of here.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::response::Response;
use layoutlm_core::encoder::EncodedReceipt;
use layoutlm_core::predict::ReceiptPrediction;
use layoutlm_core::receipt::Receipt;
use layoutlm_core::window::Window;
use tokio::task::spawn_blocking;

use super::app::{App, InHand};
use super::error::ApiError;
use super::request::RequestLimits;
use crate::pool::{Done, PoolError};
use crate::service::Service;

/// A request that was let in: the bundle that will answer it, whatever is put into service meanwhile.
#[derive(Debug, Clone)]
pub struct Work {
    app: Arc<App>,
    service: Arc<Service>,
    _in_hand: Arc<InHand>,
}

/// Receipts with their labels.
#[derive(Debug)]
pub struct Labelled {
    /// The bundle that answered.
    pub service: Arc<Service>,
    /// As they were read.
    pub receipts: Vec<Receipt>,
    /// One per receipt, with all probabilities.
    pub predictions: Vec<ReceiptPrediction>,
    /// Windows computed, of all receipts.
    pub windows: usize,
    /// When the last byte was there.
    pub arrived: Instant,
    /// Reading and encoding.
    pub encode: Duration,
    /// Until the first window was started.
    pub queued: Duration,
    /// Computing, summed over workers.
    pub computed: Duration,
}

/// What a call came to, for the access log. Put it into the answer's extensions.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Receipts labelled.
    pub receipts: usize,
    /// Their words.
    pub words: usize,
    /// Their windows.
    pub windows: usize,
    /// Reading and encoding.
    pub encode: Duration,
    /// Until the first window was started.
    pub queued: Duration,
    /// Computing, summed over workers.
    pub computed: Duration,
}

impl Labelled {
    /// What the access log says of it.
    pub fn counts(&self) -> Counts {
        let words = self.predictions.iter().map(|p| p.words.len()).sum();
        let Self { windows, encode, queued, computed, .. } = *self;
        Counts { receipts: self.predictions.len(), words, windows, encode, queued, computed }
    }
}

impl Work {
    /// Lets a request in.
    ///
    /// # Errors
    /// 503 while starting or draining, 429 when as many requests are in hand as allowed.
    pub fn admit(app: &Arc<App>) -> Result<Self, ApiError> {
        let service = app.service()?;
        Ok(Self { _in_hand: Arc::new(app.admit()?), app: app.clone(), service })
    }

    /// The bundle that will answer.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// What a request may hold.
    pub fn limits(&self) -> RequestLimits {
        self.app.limits
    }

    /// Reads receipts from a body, labels them and writes the answer, all within the deadline. `read` also hands over
    /// whatever `write` needs to know; both run where they may take their time.
    ///
    /// # Errors
    /// Those of `read` and `write`, 429 when the queue is full, 504 past the deadline, 500 for faults of the server.
    pub async fn answer<T: Send + 'static>(
        &self,
        body: Bytes,
        read: impl FnOnce(&[u8], RequestLimits) -> Result<(Vec<Receipt>, T), ApiError> + Send + 'static,
        write: impl FnOnce(Labelled, T) -> Result<Response, ApiError> + Send + 'static,
    ) -> Result<Response, ApiError> {
        let arrived = Instant::now();
        self.within_deadline(async {
            let (encoding, limits) = (self.service.clone(), self.limits());
            let (receipts, rest, encoded) = self
                .blocking(move || {
                    let (receipts, rest) = read(&body, limits)?;
                    drop(body);
                    let encoded = encode(&encoding, &receipts)?;
                    Ok((receipts, rest, encoded))
                })
                .await?;
            let (encoded, encode) = (Arc::new(encoded), arrived.elapsed());
            let done = self.compute(encoded.clone()).await?;
            let work = self.clone();
            self.blocking(move || write(work.label(receipts, &encoded, done, arrived, encode)?, rest)).await
        })
        .await
    }

    /// Labels receipts that did not come in a body, within the deadline. They must have passed
    /// [`Receipt::check`](layoutlm_core::receipt::Receipt::check).
    ///
    /// # Errors
    /// 429 when the queue is full, 504 past the deadline, 500 for faults of the server.
    pub async fn classify(&self, receipts: Vec<Receipt>) -> Result<Labelled, ApiError> {
        let arrived = Instant::now();
        self.within_deadline(async {
            let encoding = self.service.clone();
            let (receipts, encoded) = self
                .blocking(move || {
                    let encoded = encode(&encoding, &receipts)?;
                    Ok((receipts, encoded))
                })
                .await?;
            let (encoded, encode) = (Arc::new(encoded), arrived.elapsed());
            let done = self.compute(encoded.clone()).await?;
            let work = self.clone();
            self.blocking(move || work.label(receipts, &encoded, done, arrived, encode)).await
        })
        .await
    }

    /// Runs the network on windows made elsewhere, within the deadline: `[seq, labels]` for each, in their order.
    ///
    /// # Errors
    /// 429 when the queue is full, 504 past the deadline, 500 for faults of the server.
    pub async fn logits(&self, windows: Vec<Window>) -> Result<Vec<Vec<f32>>, ApiError> {
        let encoded = vec![EncodedReceipt { num_words: 0, order: Vec::new(), windows }];
        let done = self.within_deadline(self.compute(Arc::new(encoded))).await?;
        Ok(done.logits.into_iter().flatten().collect())
    }

    /// Runs what would hold up the network threads elsewhere; a panic there is an internal error.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        spawn_blocking(work).await.unwrap_or_else(|error| {
            tracing::error!(%error, "a request panicked");
            self.app.metrics.panicked();
            Err(ApiError::internal())
        })
    }

    async fn compute(&self, encoded: Arc<Vec<EncodedReceipt>>) -> Result<Done, ApiError> {
        self.service.compute(encoded).await.map_err(|e| refused(&e))
    }

    fn label(
        &self,
        receipts: Vec<Receipt>,
        encoded: &[EncodedReceipt],
        done: Done,
        arrived: Instant,
        encode: Duration,
    ) -> Result<Labelled, ApiError> {
        let service = self.service.clone();
        let predictions = service.label(&receipts, encoded, &done.logits).map_err(|error| {
            tracing::error!(%error, "labelling failed");
            ApiError::internal()
        })?;
        self.app.metrics.labelled(&predictions, encoded, service.encoder().tokenizer().unk_id());
        if self.app.log_content {
            predictions.iter().for_each(log_content);
        }
        let windows = encoded.iter().map(|e| e.windows.len()).sum();
        let Done { queued, computed, .. } = done;
        Ok(Labelled { service, receipts, predictions, windows, arrived, encode, queued, computed })
    }

    async fn within_deadline<T>(
        &self,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let timeout = self.app.timeout;
        let late = |_| ApiError::deadline_exceeded(timeout.as_secs_f64());
        tokio::time::timeout(timeout, work).await.map_err(late)?
    }
}

/// The one place where the words of a receipt reach the log.
fn log_content(prediction: &ReceiptPrediction) {
    let words: Vec<String> = prediction.words.iter().map(|w| format!("{}/{}", w.text, w.label)).collect();
    let (image_id, receipt_id) = (&prediction.image_id, prediction.receipt_id);
    tracing::info!(image_id, receipt_id, words = words.join(" "), "content");
}

fn encode(service: &Service, receipts: &[Receipt]) -> Result<Vec<EncodedReceipt>, ApiError> {
    service.encode(receipts).map_err(|(index, error)| {
        tracing::error!(%error, receipt = index, "the tokenizer failed");
        ApiError::internal().at_receipt(index)
    })
}

fn refused(error: &PoolError) -> ApiError {
    match error {
        PoolError::Full { .. } | PoolError::TooLate { .. } => ApiError::overloaded(error.to_string()),
        PoolError::Closed => ApiError::draining(),
        PoolError::Engine(_) | PoolError::Panicked(_) => {
            tracing::error!(%error, "a window could not be computed");
            ApiError::internal()
        }
    }
}
