//! Receipts by the million: reading, encoding, network and writing side by side, answers in the order of the input.
//!
//! One thread reads and encodes, two keep the classifier's sessions busy (while one waits for the last window of its
//! share, the other's windows run), and the caller's thread labels and hands on. At most a few hundred receipts are in
//! memory, however many there are. What shares a batch changes nothing: windows are the classifier's business.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::encoder::{EncodedReceipt, Encoder};
use layoutlm_core::predict::{self, PredictError, ReceiptPrediction};
use layoutlm_core::receipt::Receipt;
use layoutlm_core::window::Window;

/// Receipts that go through the network together.
const TOGETHER: usize = 32;

/// Threads that keep the classifier busy.
const FEEDING: usize = 2;

/// Why labelling stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfflineError<E> {
    /// The source or the sink gave an error of its own.
    #[error("{0}")]
    Outside(E),
    /// A receipt could not be labelled.
    #[error(transparent)]
    Predict(#[from] PredictError),
}

/// Receipts on their way through the network.
#[derive(Debug, Default)]
struct Batch {
    receipts: Vec<Receipt>,
    encoded: Vec<EncodedReceipt>,
    /// `[receipts][windows][seq × labels]`, once computed.
    logits: Vec<Vec<Vec<f32>>>,
}

/// A batch with its place in the input, or why the input ends there.
type Step<E> = (usize, Result<Batch, OfflineError<E>>);

/// Labels every receipt of `source` and hands each to `sink` in the order of the source, probabilities filled in.
///
/// Returns whether the source was exhausted: once `stop` is set, what is on its way is finished and handed on, and
/// nothing more is read.
///
/// # Errors
/// The first error of source, network or sink. What came before it in the source has been handed on, except for
/// receipts that shared a failing run of the network.
pub fn label_all<E: Send>(
    encoder: &Encoder,
    classifier: &dyn TokenClassifier,
    source: impl Iterator<Item = Result<Receipt, E>> + Send,
    mut sink: impl FnMut(&Receipt, ReceiptPrediction) -> Result<(), E>,
    stop: &AtomicBool,
) -> Result<bool, OfflineError<E>> {
    let (encoded, to_compute) = sync_channel(FEEDING);
    let (computed, to_label) = sync_channel(FEEDING);
    let to_compute = Arc::new(Mutex::new(to_compute));
    std::thread::scope(|scope| {
        let feeder = scope.spawn(move || feed(encoder, source, &encoded, stop));
        for _ in 0..FEEDING {
            let (to_compute, computed) = (to_compute.clone(), computed.clone());
            scope.spawn(move || compute(classifier, &to_compute, &computed));
        }
        // The threads' own ends must be the last ones, so that each thread ends with those it talks to.
        drop((to_compute, computed));
        in_order(to_label, |batch| {
            for ((receipt, encoded), logits) in batch.receipts.iter().zip(&batch.encoded).zip(&batch.logits) {
                let prediction = predict::label(encoder, encoded, receipt, logits)?;
                sink(receipt, prediction).map_err(OfflineError::Outside)?;
            }
            Ok(())
        })?;
        Ok(feeder.join().unwrap_or(false))
    })
}

/// Reads and encodes until the source ends (`true`), fails, or nobody listens or wants more (`false`).
fn feed<E>(
    encoder: &Encoder,
    mut source: impl Iterator<Item = Result<Receipt, E>>,
    encoded: &SyncSender<Step<E>>,
    stop: &AtomicBool,
) -> bool {
    for index in 0.. {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let mut batch = Batch::default();
        let mut end = None;
        while batch.receipts.len() < TOGETHER && end.is_none() {
            match source.next() {
                None => end = Some(None),
                Some(Err(error)) => end = Some(Some(OfflineError::Outside(error))),
                Some(Ok(receipt)) => match encoder.encode(&receipt) {
                    Ok(windows) => {
                        batch.encoded.push(windows);
                        batch.receipts.push(receipt);
                    }
                    Err(error) => end = Some(Some(PredictError::from(error).into())),
                },
            }
        }
        if encoded.send((index, Ok(batch))).is_err() {
            return false;
        }
        match end {
            None => {}
            Some(None) => return true,
            Some(Some(error)) => {
                // When nobody listens any more, an earlier error is on its way already.
                let _ = encoded.send((index + 1, Err(error)));
                return false;
            }
        }
    }
    true
}

fn compute<E>(
    classifier: &dyn TokenClassifier,
    to_compute: &Mutex<Receiver<Step<E>>>,
    computed: &SyncSender<Step<E>>,
) {
    loop {
        let received = to_compute.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((index, step)) = received else { return };
        let step = step.and_then(|batch| run(classifier, batch).map_err(OfflineError::from));
        if computed.send((index, step)).is_err() {
            return;
        }
    }
}

fn run(classifier: &dyn TokenClassifier, mut batch: Batch) -> Result<Batch, PredictError> {
    let windows: Vec<&Window> = batch.encoded.iter().flat_map(|encoded| &encoded.windows).collect();
    let logits = classifier.logits(&windows).map_err(|source| {
        let receipt = batch.receipts.first().map(Receipt::key).unwrap_or_default();
        PredictError::Classifier { receipt: format!("{receipt} or the {TOGETHER} from it on"), source }
    })?;
    let mut logits = logits.into_iter();
    batch.logits =
        batch.encoded.iter().map(|encoded| logits.by_ref().take(encoded.windows.len()).collect()).collect();
    Ok(batch)
}

/// Hands on batches in the order of the input, whichever was ready first.
fn in_order<E>(
    to_label: Receiver<Step<E>>,
    mut hand_on: impl FnMut(Batch) -> Result<(), OfflineError<E>>,
) -> Result<(), OfflineError<E>> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for (index, step) in to_label {
        early.insert(index, step);
        while let Some(step) = early.remove(&next) {
            hand_on(step?)?;
            next += 1;
        }
    }
    Ok(())
}
