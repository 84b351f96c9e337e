//! Writes LayoutLM checkpoints as ONNX bundles and proves that they label as the checkpoint does.
//!
//! [`export`] goes from a checkpoint to a bundle: graphs written operator by operator, streamed to disk, run by the
//! engine the caller brings, and held against the candle model on the same windows. [`verify`] repeats the proof.
//! Knows no ONNX engine and no server.

mod bundle_files;
mod checkpoint;
mod error;
mod export;
mod graph;
mod int8;
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
#[rustfmt::skip]
mod onnx_proto;
mod options;
mod progress;
mod proof;
mod quantize;
mod staging;
#[cfg(test)]
mod test_model;
mod verify;
mod write;

pub use error::ExportError;
pub use export::export;
pub use graph::{Product, Signature, TableStorage, UnknownVariant, VariantKind};
pub use options::{ExportOptions, OpenGraph};
pub use progress::{Progress, Watch};
pub use proof::{BrokenProof, Evidence, WorstWindow};
pub use verify::{VerifyOptions, verify};
