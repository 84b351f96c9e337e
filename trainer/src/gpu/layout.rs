//! Where each tensor lies in the flat buffers of parameters, gradients and moments.

use std::collections::BTreeMap;

use bytemuck::{Pod, Zeroable};
use layoutlm_core::config::ModelConfig;

use super::GpuError;
use crate::weights::{Array, TensorSpec, Weights, WeightsError, specs};

/// Elements of one block of the optimiser's kernels.
const STRETCH: usize = 4096;
/// Parameters start at multiples of this many elements, which keeps matrix rows aligned.
const ALIGNMENT: usize = 64;
/// A stretch without a copy in compute format.
const NO_COPY: u64 = u64::MAX;

/// What a block of the optimiser's kernels owns; laid out as the kernels' `Stretch`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Stretch {
    start: u64,
    copy: u64,
    length: u32,
    decays: u32,
    rate_scale: f32,
    unused: u32,
}

/// One Hugging Face tensor's place.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) shape: Vec<usize>,
    pub(crate) start: usize,
    /// Start among the matrices' copies in compute format.
    pub(crate) copy: Option<usize>,
    pub(crate) rate_scale: f32,
}

impl Place {
    fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Places of all tensors.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    places: BTreeMap<String, Place>,
    elements: usize,
    copies: usize,
}

impl Layout {
    /// Lays out a model; query, key and value of a layer lie side by side, so that they are one product.
    pub(crate) fn new(config: &ModelConfig, labels: usize) -> Self {
        let mut layout = Self { places: BTreeMap::new(), elements: 0, copies: 0 };
        let (stacked, single): (Vec<TensorSpec>, Vec<TensorSpec>) =
            specs(config, labels).into_iter().partition(|s| s.name.contains(".attention.self."));
        for kind in ["weight", "bias"] {
            for spec in stacked.iter().filter(|s| s.name.ends_with(kind)) {
                // Three of one size follow each other; hidden sizes are multiples of 32, so none needs a gap inside.
                layout.place(spec, spec.name.contains(".query."));
            }
        }
        single.iter().for_each(|spec| layout.place(spec, true));
        layout
    }

    fn place(&mut self, spec: &TensorSpec, aligned: bool) {
        if aligned {
            self.elements = self.elements.next_multiple_of(ALIGNMENT);
            self.copies = self.copies.next_multiple_of(ALIGNMENT);
        }
        let length: usize = spec.shape.iter().product();
        let matrix = spec.shape.len() == 2 && !spec.name.contains("_embeddings.");
        let place = Place {
            shape: spec.shape.clone(),
            start: self.elements,
            copy: matrix.then_some(self.copies),
            rate_scale: 1.0,
        };
        self.elements += length;
        self.copies += if matrix { length } else { 0 };
        self.places.insert(spec.name.clone(), place);
    }

    /// Elements of the flat f32 buffers.
    pub(crate) fn elements(&self) -> usize {
        self.elements
    }

    /// Elements of the matrices' copies.
    pub(crate) fn copies(&self) -> usize {
        self.copies
    }

    /// The place of a tensor.
    pub(crate) fn get(&self, name: &str) -> Result<&Place, GpuError> {
        let missing = || WeightsError::Missing { name: name.to_string(), shape: Vec::new() };
        self.places.get(name).ok_or_else(|| missing().into())
    }

    /// Sets each tensor's factor on the learning rate; 0 freezes it.
    pub(crate) fn scale_learning_rates(&mut self, scale: impl Fn(&str) -> f64) {
        for (name, place) in &mut self.places {
            place.rate_scale = scale(name) as f32;
        }
    }

    /// Start, start of the copy and length of every matrix.
    pub(crate) fn matrices(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        self.places.values().filter_map(|p| Some((p.start, p.copy?, p.len())))
    }

    /// What the optimiser's blocks own.
    pub(crate) fn stretches(&self) -> Vec<Stretch> {
        let mut all = Vec::new();
        for (name, place) in &self.places {
            let decays = !name.ends_with(".bias") && !name.contains("LayerNorm");
            for offset in (0..place.len()).step_by(STRETCH) {
                all.push(Stretch {
                    start: (place.start + offset) as u64,
                    copy: place.copy.map_or(NO_COPY, |c| (c + offset) as u64),
                    length: (place.len() - offset).min(STRETCH) as u32,
                    decays: u32::from(decays),
                    rate_scale: place.rate_scale,
                    unused: 0,
                });
            }
        }
        all
    }

    /// All tensors in one flat array.
    pub(crate) fn flatten(&self, weights: &Weights, prefix: &str) -> Result<Vec<f32>, GpuError> {
        let mut flat = vec![0f32; self.elements];
        for (name, place) in &self.places {
            let array = weights.require(&format!("{prefix}{name}"))?;
            if array.shape != place.shape {
                let (expected, found) = (place.shape.clone(), array.shape.clone());
                return Err(WeightsError::Shape { name: name.clone(), expected, found }.into());
            }
            if let Some(target) = flat.get_mut(place.start..place.start + place.len()) {
                target.copy_from_slice(&array.data);
            }
        }
        Ok(flat)
    }

    /// Cuts a flat array into tensors.
    pub(crate) fn tensors(&self, flat: &[f32], prefix: &str) -> Weights {
        let cut = |(name, place): (&String, &Place)| {
            let data = flat.get(place.start..place.start + place.len()).unwrap_or_default().to_vec();
            (format!("{prefix}{name}"), Array { shape: place.shape.clone(), data })
        };
        self.places.iter().map(cut).collect()
    }
}
