//! ONNX Runtime sessions as a [`TokenClassifier`](layoutlm_core::classifier::TokenClassifier).

mod graph_file;
mod model;
mod options;
mod pool;
mod session;

pub use model::Model;
pub use options::{EngineOptions, available_cores};
pub use pool::Engine;
pub(crate) use pool::Share;
pub use session::{EngineError, WindowSession};
