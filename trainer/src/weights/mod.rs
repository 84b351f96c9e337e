//! The model's weights as plain arrays under their Hugging Face names, and the folders they live in.

mod error;
mod init;
mod load;
mod map;
mod pickle;
mod spec;
mod tensor_file;

pub use error::WeightsError;
pub use load::{Checkpoint, LoadOptions, LoadReport, TensorOrigin};
pub use map::{Array, Weights};
pub use tensor_file::{read_tensor_file, write_tensor_file};

pub(crate) use spec::{TensorSpec, specs};

/// File of the weights in a checkpoint folder.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// File of the weights in a checkpoint folder of older tools.
pub const PICKLE_FILE: &str = "pytorch_model.bin";
/// File of the model's dimensions in a checkpoint folder.
pub const CONFIG_FILE: &str = "config.json";
