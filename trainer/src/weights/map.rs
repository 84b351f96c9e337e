//! Named arrays, sorted by name.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::path::Path;

use layoutlm_core::config::ModelConfig;

use super::{CONFIG_FILE, WEIGHTS_FILE, WeightsError, write_tensor_file};
use crate::files::write_atomic;

/// A dense row-major f32 array.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Array {
    /// Size of each dimension.
    pub shape: Vec<usize>,
    /// The elements, as many as the product of `shape`.
    pub data: Vec<f32>,
}

impl Array {
    /// An array of one value.
    pub fn filled(shape: Vec<usize>, value: f32) -> Self {
        let elements = shape.iter().product();
        Self { shape, data: vec![value; elements] }
    }
}

/// A model's weights by Hugging Face name, e.g. `layoutlm.encoder.layer.0.output.dense.weight`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weights(BTreeMap<String, Array>);

impl Weights {
    /// The array of a name.
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.0.get(name)
    }

    /// The array of a name that must be there.
    ///
    /// # Errors
    /// [`WeightsError::Missing`] (with no shape, as none is known).
    pub fn require(&self, name: &str) -> Result<&Array, WeightsError> {
        self.get(name).ok_or_else(|| WeightsError::Missing { name: name.to_string(), shape: Vec::new() })
    }

    /// Puts an array under a name, replacing what was there.
    pub fn insert(&mut self, name: impl Into<String>, array: Array) -> Option<Array> {
        self.0.insert(name.into(), array)
    }

    /// Takes an array out.
    pub fn remove(&mut self, name: &str) -> Option<Array> {
        self.0.remove(name)
    }

    /// Names and arrays, sorted by name.
    pub fn iter(&self) -> btree_map::Iter<'_, String, Array> {
        self.0.iter()
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of elements of all tensors.
    pub fn elements(&self) -> usize {
        self.0.values().map(|a| a.data.len()).sum()
    }

    /// Writes `model.safetensors` and `config.json` into an existing folder; each file is whole or untouched.
    ///
    /// # Errors
    /// [`WeightsError::File`].
    pub fn save(&self, folder: &Path, config: &ModelConfig) -> Result<(), WeightsError> {
        let tensors =
            self.0.iter().map(|(name, array)| (name.as_str(), array.shape.as_slice(), array.data.as_slice()));
        // `format` is what the transformers library checks before it reads a file.
        write_tensor_file(&folder.join(WEIGHTS_FILE), tensors, &[("format", "pt")])?;
        write_atomic(&folder.join(CONFIG_FILE), |file| {
            serde_json::to_writer_pretty(&mut *file, config)?;
            file.write_all(b"\n")
        })?;
        Ok(())
    }
}

impl FromIterator<(String, Array)> for Weights {
    fn from_iter<I: IntoIterator<Item = (String, Array)>>(tensors: I) -> Self {
        Self(tensors.into_iter().collect())
    }
}

impl IntoIterator for Weights {
    type Item = (String, Array);
    type IntoIter = btree_map::IntoIter<String, Array>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
