//! Safetensors files of f32 arrays: read into memory, written whole or not at all.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};

use super::{Array, Weights, WeightsError};
use crate::files::{FileError, replace_atomic};

/// Reads every floating-point tensor of a safetensors file as f32; integer tensors are left out.
///
/// # Errors
/// [`WeightsError::File`] when unreadable, [`WeightsError::Corrupt`] when truncated or not safetensors.
pub fn read_tensor_file(path: &Path) -> Result<Weights, WeightsError> {
    let bytes = std::fs::read(path).map_err(FileError::at(path))?;
    let corrupt = |reason: String| WeightsError::Corrupt { path: path.to_path_buf(), reason };
    let file = SafeTensors::deserialize(&bytes).map_err(|e| corrupt(e.to_string()))?;
    let mut weights = Weights::default();
    for (name, view) in file.iter() {
        if let Some(data) = to_f32(&view) {
            let shape = view.shape().to_vec();
            if data.len() != shape.iter().product::<usize>() {
                return Err(corrupt(format!(
                    "tensor {name} holds {} elements for shape {shape:?}",
                    data.len()
                )));
            }
            weights.insert(name, Array { shape, data });
        }
    }
    Ok(weights)
}

/// The elements as f32, or nothing for integer types.
fn to_f32(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let bytes = view.data();
    let halves = || bytes.as_chunks::<2>().0.iter();
    match view.dtype() {
        Dtype::F32 => Some(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        Dtype::F64 => Some(bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect()),
        Dtype::F16 => Some(halves().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect()),
        Dtype::BF16 => Some(halves().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect()),
        _ => None,
    }
}

/// Writes named f32 arrays (name, shape, elements) with optional metadata as a safetensors file.
///
/// # Errors
/// [`WeightsError::File`]; the old file, if any, is then untouched.
pub fn write_tensor_file<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a [usize], &'a [f32])>,
    metadata: &[(&str, &str)],
) -> Result<(), WeightsError> {
    let views: Vec<(&str, Borrowed<'_>)> =
        tensors.into_iter().map(|(name, shape, data)| (name, Borrowed { shape, data })).collect();
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let metadata = (!metadata.is_empty()).then_some(metadata);
    replace_atomic(path, |temporary| {
        safetensors::tensor::serialize_to_file(views, metadata, temporary).map_err(std::io::Error::other)
    })?;
    Ok(())
}

/// An array lent to the writer.
struct Borrowed<'a> {
    shape: &'a [usize],
    data: &'a [f32],
}

impl View for Borrowed<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        if cfg!(target_endian = "little") {
            Cow::Borrowed(bytemuck::cast_slice(self.data))
        } else {
            Cow::Owned(self.data.iter().flat_map(|x| x.to_le_bytes()).collect())
        }
    }
    fn data_len(&self) -> usize {
        size_of_val(self.data)
    }
}
