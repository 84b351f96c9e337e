//! Named arrays from rank 0 to all.

use super::{Communicator, ParallelError};
use crate::weights::{Array, Weights};

/// Gives every process the tensors of rank 0.
///
/// # Errors
/// [`ParallelError`].
pub(crate) fn broadcast_weights(
    communicator: &dyn Communicator,
    own: Weights,
) -> Result<Weights, ParallelError> {
    let leads = communicator.rank() == 0;
    let shapes: Vec<(&String, &Vec<usize>)> = own.iter().map(|(name, array)| (name, &array.shape)).collect();
    let head = serde_json::to_vec(&shapes).map_err(|e| differs(&e.to_string()))?;
    let head = communicator.broadcast(if leads { head } else { Vec::new() })?;
    let shapes: Vec<(String, Vec<usize>)> =
        serde_json::from_slice(&head).map_err(|e| differs(&e.to_string()))?;
    let mut all = Weights::default();
    for (name, shape) in shapes {
        let bytes = own.get(&name).filter(|_| leads).map(|array| bytemuck::cast_slice(&array.data).to_vec());
        let bytes = communicator.broadcast(bytes.unwrap_or_default())?;
        let data: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if data.len() != shape.iter().product::<usize>() {
            return Err(differs(&format!("sent {} elements of {name}", data.len())));
        }
        all.insert(name, Array { shape, data });
    }
    Ok(all)
}

fn differs(what: &str) -> ParallelError {
    ParallelError::Differs { rank: 0, what: what.into() }
}
