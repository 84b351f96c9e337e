//! Safetensors files of f32 arrays: read into memory, written whole or not at all.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, View};

use super::{Array, Weights, WeightsError};
use crate::files::{FileError, replace_atomic};

/// Reads every floating-point tensor of a safetensors file as f32; integer tensors are left out.
///
/// # Errors
/// [`WeightsError::File`] when unreadable, [`WeightsError::Corrupt`] when truncated or not safetensors.
pub fn read_tensor_file(path: &Path) -> Result<Weights, WeightsError> {
    let corrupt = |reason: String| WeightsError::Corrupt { path: path.to_path_buf(), reason };
    let mut file = File::open(path).map_err(FileError::at(path))?;
    let header = read_header(&mut file).map_err(FileError::at(path))?.map_err(corrupt)?;
    let mut weights = Weights::default();
    // In the order of the file, straight to where they stay.
    for name in header.offset_keys() {
        let Some(info) = header.info(&name) else { continue };
        let length = info.data_offsets.1.saturating_sub(info.data_offsets.0);
        let data = match info.dtype {
            Dtype::F32 => read_f32(&mut file, length).map(Some),
            other => read_bytes(&mut file, length).map(|bytes| to_f32(other, &bytes)),
        };
        let Some(data) = data.map_err(FileError::at(path))? else { continue };
        let shape = info.shape.clone();
        if data.len() != shape.iter().product::<usize>() {
            let elements = data.len();
            return Err(corrupt(format!("tensor {name} holds {elements} elements for shape {shape:?}")));
        }
        weights.insert(name, Array { shape, data });
    }
    Ok(weights)
}

/// Largest header of a file that is read; that of the largest models is far below.
const LARGEST_HEADER: u64 = 100 << 20;

/// What the file says it holds, if it is as long as that. The data follows.
fn read_header(file: &mut File) -> std::io::Result<Result<Metadata, String>> {
    let length = file.metadata()?.len();
    let mut prefix = [0; size_of::<u64>()];
    if length < prefix.len() as u64 {
        return Ok(Err(format!("holds {length} bytes and so no header")));
    }
    file.read_exact(&mut prefix)?;
    let (header, before) = (u64::from_le_bytes(prefix), prefix.len() as u64);
    if header > LARGEST_HEADER.min(length - before) {
        return Ok(Err(format!("its header of {header} bytes does not fit a file of {length}")));
    }
    let mut text = vec![0; usize::try_from(header).unwrap_or(usize::MAX)];
    file.read_exact(&mut text)?;
    let metadata: Metadata = match serde_json::from_slice(&text) {
        Ok(metadata) => metadata,
        Err(e) => return Ok(Err(format!("its header can't be read: {e}"))),
    };
    let expected = before + header + metadata.data_len() as u64;
    Ok(if expected == length {
        Ok(metadata)
    } else {
        Err(format!("holds {length} bytes, but its header speaks of {expected}: cut short or damaged"))
    })
}

fn read_bytes(file: &mut File, length: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// So many bytes of little-endian f32.
fn read_f32(file: &mut File, length: usize) -> std::io::Result<Vec<f32>> {
    let mut values = vec![0f32; length / size_of::<f32>()];
    file.read_exact(bytemuck::cast_slice_mut(&mut values))?;
    if cfg!(target_endian = "big") {
        values.iter_mut().for_each(|v| *v = f32::from_bits(v.to_bits().swap_bytes()));
    }
    Ok(values)
}

/// The elements as f32, or nothing for integer types.
fn to_f32(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let halves = || bytes.as_chunks::<2>().0.iter();
    match dtype {
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
