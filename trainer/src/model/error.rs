//! What can go wrong in building or running the model.

/// Why the model could not be built or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The tensor library failed.
    #[error("tensor operation: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A weight is missing or has another shape than `config.json` asks for.
    #[error(transparent)]
    Weights(#[from] crate::weights::WeightsError),
    /// A token the tables have no row for.
    #[error("window {window}, token {token}: {field} {value} is out of range, the model has {limit} rows")]
    OutOfRange {
        /// Index of the window in the batch.
        window: usize,
        /// Token position in the window.
        token: usize,
        /// `input_id`, `position` or `box coordinate`.
        field: &'static str,
        /// The value found.
        value: usize,
        /// Rows of the table.
        limit: usize,
    },
    /// Labels that do not fit the batch or the head.
    #[error("labels: {0}")]
    Labels(String),
    /// Trainable tensors that the backward pass did not reach.
    #[error("no gradient reached {}: training would leave them as they are", names.join(", "))]
    NoGradient {
        /// Their names, sorted.
        names: Vec<String>,
    },
    /// A gradient, loss or norm that is NaN or infinite.
    #[error("{what} is {value}: lower the learning rate or look for broken input")]
    NotFinite {
        /// What was computed.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// Optimiser state that belongs to another model.
    #[error("optimizer state: {0}")]
    OptimizerState(String),
    /// A pattern or name that matches no tensor.
    #[error("no trainable tensor is called {0:?}")]
    UnknownParameter(String),
}
