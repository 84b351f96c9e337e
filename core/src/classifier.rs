//! The seam between encoding and whatever runs the network.

use crate::window::Window;

/// An engine's own error, behind one type.
pub type ClassifierError = Box<dyn std::error::Error + Send + Sync>;

/// Turns windows into logits. Implemented by the candle model and by the ONNX Runtime engine.
pub trait TokenClassifier: Send + Sync {
    /// Number of classes.
    fn num_labels(&self) -> usize;

    /// Logits of each window, `[seq, labels]` row-major, in the order given.
    ///
    /// # Errors
    /// Whatever the engine reports; no window is silently left out.
    fn logits(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ClassifierError>;
}
