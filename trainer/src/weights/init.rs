//! Fresh weights from a seed. The same seed gives the same tensors, whichever others are fresh too.

use layoutlm_core::config::ModelConfig;

use super::spec::{Fresh, TensorSpec};
use super::{Array, Weights, specs};
use crate::random::Stream;

impl Weights {
    /// A random model: normal(0, `initializer_range`) weights, zero biases, unit layer norms, zero `[PAD]` row.
    pub fn random(config: &ModelConfig, labels: usize, seed: u64) -> Self {
        specs(config, labels)
            .into_iter()
            .map(|spec| (spec.name.clone(), fresh(&spec, config, seed)))
            .collect()
    }
}

/// The start value of one tensor.
pub(super) fn fresh(spec: &TensorSpec, config: &ModelConfig, seed: u64) -> Array {
    let shape = spec.shape.clone();
    match spec.fresh {
        Fresh::Ones => Array::filled(shape, 1.0),
        Fresh::Zeros => Array::filled(shape, 0.0),
        Fresh::Normal | Fresh::WordTable => {
            let stream = Stream::new(seed).child(name_hash(&spec.name));
            let elements: usize = shape.iter().product();
            let mut data: Vec<f32> =
                (0..elements as u64).map(|i| (stream.normal(i) * config.initializer_range) as f32).collect();
            if spec.fresh == Fresh::WordTable {
                let width = config.hidden_size;
                let pad = data.iter_mut().skip(config.pad_token_id as usize * width).take(width);
                pad.for_each(|x| *x = 0.0);
            }
            Array { shape, data }
        }
    }
}

/// FNV-1a: a number for each name that does not change between versions of the standard library.
fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01B3))
}
