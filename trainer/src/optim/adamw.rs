//! AdamW with clipping of the global norm.
//!
//! Parameters without a gradient are skipped altogether: no decay either. Moments are f32 and owned here.

use candle_core::{DType, Tensor};

use crate::model::{LayoutLm, ModelError, Parameter};
use crate::ops::{self, RowState, Update};
use crate::weights::{Array, Weights};

/// The optimiser's constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay; not applied to biases and layer normalisation.
    pub weight_decay: f64,
    /// Largest global L2 norm of the gradient; `None` does not clip.
    pub max_grad_norm: Option<f64>,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01, max_grad_norm: Some(1.0) }
    }
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepStats {
    /// Global L2 norm before clipping.
    pub gradient_norm: f64,
    /// Factor the gradient was multiplied with, at most 1.
    pub clip_factor: f64,
}

/// Both moments of one parameter.
#[derive(Debug)]
struct Moments {
    mean: Tensor,
    square: Tensor,
    /// For tables: rows that ever had a gradient.
    rows: Vec<bool>,
}

/// AdamW over all parameters of one model.
///
/// Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019); arithmetic as `torch.optim.AdamW`.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    step: u64,
    /// By index of the model's parameters.
    moments: Vec<Option<Moments>>,
}

/// Prefixes of the moments' names in [`AdamW::state`].
const PREFIXES: [&str; 2] = ["exp_avg.", "exp_avg_sq."];

impl AdamW {
    /// An optimiser that has not stepped yet.
    pub fn new(config: AdamWConfig) -> Self {
        Self { config, step: 0, moments: Vec::new() }
    }

    /// The constants.
    pub fn config(&self) -> &AdamWConfig {
        &self.config
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Updates every parameter that has a gradient and drops the gradients.
    ///
    /// # Errors
    /// [`ModelError::NotFinite`] when the gradient norm is NaN or infinite; weights, moments and step count are then
    /// untouched and the gradients dropped.
    pub fn step(&mut self, model: &mut LayoutLm, learning_rate: f64) -> Result<StepStats, ModelError> {
        let model = &*model;
        let gradient_norm = rayon::scope(|_| gradient_norm(model))?;
        if !gradient_norm.is_finite() {
            model.clear_gradients()?;
            return Err(ModelError::NotFinite { what: "the gradient norm", value: gradient_norm });
        }
        // As torch.nn.utils.clip_grad_norm_.
        let clip_factor =
            self.config.max_grad_norm.map_or(1.0, |most| (most / (gradient_norm + 1e-6)).min(1.0));
        self.step += 1;
        self.moments.resize_with(model.parameters().len(), || None);
        rayon::scope(|_| {
            let (config, step) = (self.config, self.step);
            for (parameter, moments) in model.parameters().iter().zip(&mut self.moments) {
                let rate = learning_rate * parameter.learning_rate_scale();
                update_parameter(
                    parameter,
                    moments,
                    &config.update(step, rate, parameter.decays(), clip_factor),
                )?;
            }
            Ok::<_, ModelError>(())
        })?;
        Ok(StepStats { gradient_norm, clip_factor })
    }

    /// The moments as `exp_avg.<tensor>` and `exp_avg_sq.<tensor>`; with [`Self::steps`] they are the whole state.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the device fails.
    pub fn state(&self, model: &LayoutLm) -> Result<Weights, ModelError> {
        let mut state = Weights::default();
        for (parameter, moments) in model.parameters().iter().zip(&self.moments) {
            let Some(moments) = moments else { continue };
            for part in parameter.parts() {
                for (prefix, tensor) in PREFIXES.iter().zip([&moments.mean, &moments.square]) {
                    state.insert(format!("{prefix}{}", part.name), parameter.part_of(tensor, part)?);
                }
            }
        }
        Ok(state)
    }

    /// Puts back what [`Self::state`] gave, to the bit.
    ///
    /// # Errors
    /// [`ModelError::OptimizerState`] names a tensor that is missing, unknown or of another shape.
    pub fn load_state(&mut self, model: &LayoutLm, mut state: Weights, steps: u64) -> Result<(), ModelError> {
        let mut all = Vec::with_capacity(model.parameters().len());
        for parameter in model.parameters() {
            let present =
                parameter.parts().iter().any(|p| state.get(&format!("{}{}", PREFIXES[0], p.name)).is_some());
            all.push(if present { Some(Moments::take(parameter, &mut state)?) } else { None });
        }
        if let Some((name, _)) = state.iter().next() {
            return Err(ModelError::OptimizerState(format!("{name} belongs to no tensor of this model")));
        }
        (self.moments, self.step) = (all, steps);
        Ok(())
    }
}

impl AdamWConfig {
    fn update(&self, step: u64, rate: f64, decays: bool, clip_factor: f64) -> Update {
        let t = i32::try_from(step).unwrap_or(i32::MAX);
        let (correction1, correction2) = (1.0 - self.beta1.powi(t), 1.0 - self.beta2.powi(t));
        let decay = if decays { self.weight_decay } else { 0.0 };
        Update {
            gradient_scale: clip_factor as f32,
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            step_size: (rate / correction1) as f32,
            correction2_root: correction2.sqrt() as f32,
            epsilon: self.epsilon as f32,
            keep: (1.0 - rate * decay) as f32,
        }
    }
}

impl Moments {
    fn new(parameter: &Parameter) -> Result<Self, ModelError> {
        let zeros = || Tensor::zeros(parameter.value().shape(), DType::F32, parameter.value().device());
        let rows = if parameter.is_table() { vec![false; parameter.value().dim(0)?] } else { Vec::new() };
        Ok(Self { mean: zeros()?, square: zeros()?, rows })
    }

    fn take(parameter: &Parameter, state: &mut Weights) -> Result<Self, ModelError> {
        let wrong = |name: &str, what: &str| ModelError::OptimizerState(format!("{name} {what}"));
        let mut tensors = Vec::with_capacity(PREFIXES.len());
        for prefix in PREFIXES {
            let mut data = Vec::with_capacity(parameter.value().elem_count());
            for part in parameter.parts() {
                let name = format!("{prefix}{}", part.name);
                let array = state.remove(&name).ok_or_else(|| wrong(&name, "is missing"))?;
                if array.shape != part.shape {
                    return Err(wrong(&name, &format!("has shape {:?}, not {:?}", array.shape, part.shape)));
                }
                append(&mut data, array);
            }
            tensors.push(Tensor::from_vec(data, parameter.value().shape(), parameter.value().device())?);
        }
        let (Some(square), Some(mean)) = (tensors.pop(), tensors.pop()) else {
            return Err(wrong("the state", "is empty"));
        };
        // A row whose moments are all zero is updated alike whether it ever had a gradient or not.
        let rows = if parameter.is_table() { ops::rows_in_use(&mean, &square)? } else { Vec::new() };
        Ok(Self { mean, square, rows })
    }
}

fn append(data: &mut Vec<f32>, array: Array) {
    if data.is_empty() {
        *data = array.data;
    } else {
        data.extend_from_slice(&array.data);
    }
}

/// Global L2 norm of all gradients.
fn gradient_norm(model: &LayoutLm) -> Result<f64, ModelError> {
    let mut total = 0.0;
    for parameter in model.parameters() {
        let gradient = parameter.lock_gradient();
        if let Some(sum) = gradient.sum.as_ref().filter(|_| gradient.filled) {
            let rows = parameter.is_table().then_some(gradient.rows.as_slice());
            total += ops::sum_of_squares(sum, rows)?;
        }
    }
    Ok(total.sqrt())
}

fn update_parameter(
    parameter: &Parameter,
    moments: &mut Option<Moments>,
    update: &Update,
) -> Result<(), ModelError> {
    let gradient = parameter.lock_gradient();
    if let Some(sum) = gradient.sum.as_ref().filter(|_| gradient.filled) {
        let moments = match moments {
            Some(moments) => moments,
            None => moments.insert(Moments::new(parameter)?),
        };
        let both = [&moments.mean, &moments.square];
        if parameter.is_table() {
            let mut states = vec![RowState::Never; gradient.rows.len()];
            for ((state, ever), touched) in states.iter_mut().zip(&mut moments.rows).zip(&gradient.rows) {
                *ever |= touched;
                if *touched {
                    *state = RowState::Touched;
                } else if *ever {
                    *state = RowState::Idle;
                }
            }
            ops::adamw_table(parameter.value(), both, sum, &states, update)?;
        } else {
            ops::adamw(parameter.value(), both, sum, update)?;
        }
    }
    drop(gradient);
    Ok(parameter.clear_gradient()?)
}
