//! One trainable block of weights with its gradient.
//!
//! A parameter is usually one Hugging Face tensor. Query, key and value of a layer are one parameter of three parts,
//! stacked along the first dimension, so that they are one matrix product; files still hold them apart.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Tensor};

use super::ModelError;
use crate::ops;
use crate::weights::Array;

/// A Hugging Face tensor inside a [`Parameter`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterPart {
    /// Its Hugging Face name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Where its elements lie in the parameter.
    pub elements: Range<usize>,
}

/// Weights that are updated together.
#[derive(Debug)]
pub struct Parameter {
    parts: Vec<ParameterPart>,
    value: Tensor,
    learning_rate_scale: f64,
    decays: bool,
    table: bool,
    gradient: Mutex<Gradient>,
}

/// A gradient being summed up over the micro-batches of a step.
#[derive(Debug, Default)]
pub(crate) struct Gradient {
    /// Same shape as the value; allocated when first needed. Holds the sum where `filled`.
    pub(crate) sum: Option<Tensor>,
    /// Whether `sum` holds anything of this step. For tables, rows not in `rows` are zero at all times.
    pub(crate) filled: bool,
    /// For tables: which rows were reached in this step.
    pub(crate) rows: Vec<bool>,
}

impl Parameter {
    /// Stacks arrays of equal trailing shape along the first dimension.
    pub(crate) fn stack(arrays: Vec<(String, Array)>, device: &Device) -> Result<Self, ModelError> {
        let mut parts = Vec::with_capacity(arrays.len());
        let mut shape = arrays.first().map(|(_, a)| a.shape.clone()).unwrap_or_default();
        if let Some(rows) = shape.first_mut() {
            *rows = arrays.iter().filter_map(|(_, a)| a.shape.first()).sum();
        }
        let mut data: Vec<f32> = Vec::new();
        for (name, array) in arrays {
            let start = data.len();
            let elements = start..start + array.data.len();
            if data.is_empty() {
                data = array.data;
            } else {
                data.extend_from_slice(&array.data);
            }
            parts.push(ParameterPart { name, shape: array.shape, elements });
        }
        let decays = parts.iter().all(|p| !p.name.ends_with(".bias") && !p.name.contains("LayerNorm"));
        let table = parts.iter().any(|p| p.name.contains("_embeddings."));
        let value = Tensor::from_vec(data, shape, device)?;
        Ok(Self { parts, value, learning_rate_scale: 1.0, decays, table, gradient: Mutex::default() })
    }

    /// The Hugging Face tensors it is made of.
    pub fn parts(&self) -> &[ParameterPart] {
        &self.parts
    }

    /// The weights, contiguous f32.
    pub fn value(&self) -> &Tensor {
        &self.value
    }

    /// Factor on the learning rate; 0 freezes the tensor and saves the work of its gradient.
    pub fn learning_rate_scale(&self) -> f64 {
        self.learning_rate_scale
    }

    /// Whether weight decay applies: not to biases and layer normalisation.
    pub fn decays(&self) -> bool {
        self.decays
    }

    /// Whether a gradient is computed.
    pub fn is_trainable(&self) -> bool {
        self.learning_rate_scale != 0.0
    }

    /// Whether it is an embedding table, whose gradient is zero in most rows.
    pub(crate) fn is_table(&self) -> bool {
        self.table
    }

    pub(crate) fn set_learning_rate_scale(&mut self, scale: f64) {
        self.learning_rate_scale = scale;
    }

    /// Copies one part's elements of a tensor shaped like this parameter.
    pub(crate) fn part_of(&self, tensor: &Tensor, part: &ParameterPart) -> Result<Array, ModelError> {
        let flat = tensor.flatten_all()?.narrow(0, part.elements.start, part.elements.len())?;
        Ok(Array { shape: part.shape.clone(), data: flat.to_vec1::<f32>()? })
    }

    pub(crate) fn lock_gradient(&self) -> MutexGuard<'_, Gradient> {
        self.gradient.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the gradient buffer to `add`, with whether it already holds something (else it is to be overwritten,
    /// but for tables, which are zero). Does nothing for frozen parameters.
    pub(crate) fn accumulate(
        &self,
        add: impl FnOnce(&Tensor, bool, &mut Vec<bool>) -> candle_core::Result<()>,
    ) -> candle_core::Result<()> {
        if !self.is_trainable() {
            return Ok(());
        }
        let mut gradient = self.lock_gradient();
        let Gradient { sum, filled, rows } = &mut *gradient;
        let sum = match sum {
            Some(sum) => sum,
            None => sum.insert(Tensor::zeros(self.value.shape(), DType::F32, self.value.device())?),
        };
        if self.table && rows.is_empty() {
            rows.resize(self.value.dim(0)?, false);
        }
        add(sum, *filled, rows)?;
        *filled = true;
        Ok(())
    }

    /// Empties the gradient; its buffer stays.
    pub(crate) fn clear_gradient(&self) -> candle_core::Result<()> {
        let mut gradient = self.lock_gradient();
        let Gradient { sum, filled, rows } = &mut *gradient;
        *filled = false;
        if self.table {
            if let Some(sum) = sum {
                ops::clear_rows(sum, rows)?;
            }
            rows.fill(false);
        }
        Ok(())
    }
}
