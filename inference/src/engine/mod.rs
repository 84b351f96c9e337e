//! ONNX Runtime sessions as a [`TokenClassifier`](layoutlm_core::classifier::TokenClassifier).

mod options;
mod pool;
mod session;

pub use options::EngineOptions;
pub use pool::Engine;
pub use session::{EngineError, WindowSession};
