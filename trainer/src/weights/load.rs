//! Checkpoint folders in, weights of this model out.
//!
//! Takes LayoutLM v1 and BERT checkpoints of any age and says of every tensor where it came from. A BERT checkpoint
//! is a start: its missing 2-D tables begin fresh. Anything else that is missing or misshapen is an error.

use std::collections::BTreeMap;
use std::path::Path;

use layoutlm_core::config::ModelConfig;
use layoutlm_core::label::LabelSet;

use super::spec::{TABLES_2D, TensorSpec, canonical_name};
use super::{
    CONFIG_FILE, PICKLE_FILE, WEIGHTS_FILE, Weights, WeightsError, init, pickle, read_tensor_file, specs,
};
use crate::files::FileError;

/// What to make of a checkpoint.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadOptions<'a> {
    /// The labels wanted; `None` takes those of the checkpoint.
    pub labels: Option<&'a LabelSet>,
    /// Seed of fresh tensors.
    pub seed: u64,
}

/// Where a tensor came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorOrigin {
    /// From the file.
    Loaded,
    /// Not in the file, or a head for other labels: drawn anew.
    Fresh,
    /// In the file but not part of this model.
    Ignored,
}

/// Where every tensor came from, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadReport(pub BTreeMap<String, TensorOrigin>);

impl LoadReport {
    /// Names of one origin, sorted.
    pub fn names(&self, origin: TensorOrigin) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(_, o)| **o == origin).map(|(name, _)| name.as_str())
    }
}

/// A loaded model, not yet on a device.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Its dimensions, with the labels that were asked for.
    pub config: ModelConfig,
    /// Every tensor of the model.
    pub weights: Weights,
    /// Where they came from.
    pub report: LoadReport,
}

impl Checkpoint {
    /// Loads `config.json` and `model.safetensors` (or `pytorch_model.bin`) from a folder.
    ///
    /// # Errors
    /// [`WeightsError`] names the file, or the tensor with its expected and found shapes.
    pub fn load(folder: &Path, options: LoadOptions<'_>) -> Result<Self, WeightsError> {
        let mut config = read_config(folder)?;
        let stored_labels = config.labels().map_err(config_error(folder))?;
        let (path, raw) = read_weights(folder)?;
        let mut found = canonical(raw, &path)?;
        let wanted = match options.labels {
            Some(labels) => labels.tags().to_vec(),
            None => stored_labels.clone().ok_or_else(|| WeightsError::Missing {
                name: "classifier.weight".into(),
                shape: vec![0, config.hidden_size],
            })?,
        };
        if !head_fits(&found, stored_labels.as_deref(), &wanted) {
            found.remove("classifier.weight");
            found.remove("classifier.bias");
        }
        let (weights, report) = assemble(found, &config, &wanted, options)?;
        if let Some(labels) = options.labels {
            config.set_labels(labels);
        }
        config.model_type = "layoutlm".into();
        config.architectures = vec!["LayoutLMForTokenClassification".into()];
        Ok(Self { config, weights, report })
    }
}

fn read_config(folder: &Path) -> Result<ModelConfig, WeightsError> {
    let path = folder.join(CONFIG_FILE);
    let text = std::fs::read_to_string(&path).map_err(FileError::at(&path))?;
    ModelConfig::from_json(&text).map_err(config_error(folder))
}

fn config_error(folder: &Path) -> impl FnOnce(layoutlm_core::config::ConfigError) -> WeightsError + '_ {
    move |source| WeightsError::Config { path: folder.join(CONFIG_FILE), source }
}

fn read_weights(folder: &Path) -> Result<(std::path::PathBuf, Weights), WeightsError> {
    let (tensors, pickled) = (folder.join(WEIGHTS_FILE), folder.join(PICKLE_FILE));
    if tensors.exists() {
        read_tensor_file(&tensors).map(|w| (tensors, w))
    } else if pickled.exists() {
        pickle::read_pickle(&pickled).map(|w| (pickled, w))
    } else {
        Err(WeightsError::NoWeights { folder: folder.to_path_buf() })
    }
}

fn canonical(raw: Weights, path: &Path) -> Result<Weights, WeightsError> {
    let mut found = Weights::default();
    for (name, array) in raw {
        let name = canonical_name(&name);
        if found.insert(name.clone(), array).is_some() {
            return Err(WeightsError::Duplicate { path: path.to_path_buf(), name });
        }
    }
    Ok(found)
}

/// A head is taken over when it is there, has a row for each label and was not trained for other labels.
fn head_fits(found: &Weights, stored: Option<&[String]>, wanted: &[String]) -> bool {
    let rows = found.get("classifier.weight").and_then(|a| a.shape.first());
    let unnamed = |labels: &[String]| labels.iter().all(|l| l.starts_with("LABEL_"));
    rows == Some(&wanted.len()) && stored.is_none_or(|labels| labels == wanted || unnamed(labels))
}

fn assemble(
    mut found: Weights,
    config: &ModelConfig,
    labels: &[String],
    options: LoadOptions<'_>,
) -> Result<(Weights, LoadReport), WeightsError> {
    let a_start = TABLES_2D.iter().all(|name| found.get(name).is_none());
    let may_be_fresh = |spec: &TensorSpec| {
        let head = spec.name.starts_with("classifier.") && options.labels.is_some();
        head || (a_start && options.labels.is_some() && TABLES_2D.contains(&spec.name.as_str()))
    };
    let (mut weights, mut report) = (Weights::default(), LoadReport::default());
    for spec in specs(config, labels.len()) {
        let (array, origin) = match found.remove(&spec.name) {
            Some(array) if array.shape != spec.shape => {
                return Err(WeightsError::Shape {
                    name: spec.name,
                    expected: spec.shape,
                    found: array.shape,
                });
            }
            Some(array) if array.data.iter().any(|x| !x.is_finite()) => {
                return Err(WeightsError::NotFinite { name: spec.name });
            }
            Some(array) => (array, TensorOrigin::Loaded),
            None if may_be_fresh(&spec) => (init::fresh(&spec, config, options.seed), TensorOrigin::Fresh),
            None => return Err(WeightsError::Missing { name: spec.name, shape: spec.shape }),
        };
        report.0.insert(spec.name.clone(), origin);
        weights.insert(spec.name, array);
    }
    report.0.extend(found.into_iter().map(|(name, _)| (name, TensorOrigin::Ignored)));
    Ok((weights, report))
}
