//! The contract between SageMaker and a training container: where hyperparameters, channels, models and failures lie.
//!
//! SageMaker starts the container with the argument `train` and nothing else; [`arguments`] makes the command line out
//! of what it left in `/opt/ml`. The names of hyperparameters are those that launchers of the present container send.

mod hyperparameters;
mod layout;

pub use hyperparameters::{Invocation, arguments};
pub use layout::{Layout, metric_line};
