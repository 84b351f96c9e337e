//! ONNX files, written without ever holding one in memory.

mod framing;
mod hashing;
mod model_file;

pub(crate) use hashing::sha256_file;
pub(crate) use model_file::{Durability, EXTERNAL_ABOVE, write_model};
