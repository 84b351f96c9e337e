//! `pytorch_model.bin`: the zip-with-pickle format of older checkpoints.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use candle_core::DType;
use candle_core::pickle::PthTensors;

use super::{Array, Weights, WeightsError};
use crate::files::FileError;

/// Reads every floating-point tensor as f32; integer tensors are left out. No code of the pickle is run.
///
/// # Errors
/// [`WeightsError::File`] when unreadable, [`WeightsError::Corrupt`] when it is not such a file.
pub(super) fn read_pickle(path: &Path) -> Result<Weights, WeightsError> {
    let length = std::fs::metadata(path).map_err(FileError::at(path))?.len();
    // The parser indexes into what the file claims; a hostile file must not take the process down.
    catch_unwind(AssertUnwindSafe(|| read(path, length)))
        .unwrap_or_else(|_| Err("the pickle is malformed".to_string()))
        .map_err(|reason| WeightsError::Corrupt { path: path.to_path_buf(), reason })
}

fn read(path: &Path, length: u64) -> Result<Weights, String> {
    let file = PthTensors::new(path, None).map_err(|e| e.to_string())?;
    let infos: BTreeMap<_, _> = file.tensor_infos().iter().collect();
    if infos.is_empty() {
        return Err("it holds no tensors".into());
    }
    let mut weights = Weights::default();
    for (name, info) in infos {
        if !matches!(info.dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16) {
            continue;
        }
        let elements = info.layout.dims().iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
        let bytes = elements.and_then(|n| n.checked_mul(info.dtype.size_in_bytes() as u64));
        if bytes.is_none_or(|b| b > length) {
            return Err(format!("tensor {name} claims more bytes than the file has"));
        }
        let tensor = file.get(name).map_err(|e| format!("tensor {name}: {e}"))?;
        let Some(tensor) = tensor else { continue };
        let shape = tensor.dims().to_vec();
        let data = tensor
            .to_dtype(DType::F32)
            .and_then(|t| t.flatten_all())
            .and_then(|t| t.to_vec1::<f32>())
            .map_err(|e| format!("tensor {name}: {e}"))?;
        weights.insert(name.as_str(), Array { shape, data });
    }
    Ok(weights)
}
