//! A model with its optimiser on a card.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use layoutlm_core::config::ModelConfig;
use serde::{Deserialize, Serialize};

use super::batch::{DeviceBatch, TableOffsets};
use super::kernels::{AdamWArg, Kernels};
use super::layout::Layout;
use super::memory::{Buffer, Card};
use super::model::{Flat, Network};
use super::{Compute, GpuError, Precision};
use crate::loss::LossConfig;
use crate::model::{Masks, ModelError, PackedBatch};
use crate::optim::AdamWConfig;
use crate::random::Stream;
use crate::weights::{Array, Weights};

/// How a card computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GpuOptions {
    /// Format of activations and products.
    pub precision: Precision,
    /// Keeps only each layer's input and computes the rest again in the backward pass.
    pub gradient_checkpointing: bool,
}

/// What decides later steps besides weights and moments; goes into checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Factor on the loss (fp16).
    pub loss_scale: f32,
    /// Steps since it changed.
    pub good_steps: u32,
    /// Steps left out since the start.
    pub skipped: u32,
    /// Steps taken.
    pub applied: u32,
}

/// What the card knows of the steps since it was last asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepNumbers {
    /// Sum of the losses of the passes since the last call.
    pub loss: f64,
    /// Gradient norm of the last step, before clipping.
    pub gradient_norm: f64,
    /// Steps left out since the start, because a gradient was not finite (fp16 only, as the loss scale settles).
    pub skipped: u64,
    /// The loss scale.
    pub loss_scale: f64,
}

/// The numbers on the card; laid out as the kernels' `StepState`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct StepState {
    loss: f64,
    pending: f64,
    norm: f32,
    clip: f32,
    loss_scale: f32,
    good_steps: u32,
    skipped: u32,
    applied: u32,
}

/// Byte offset of `pending` in [`StepState`]: where passes add their loss.
pub(super) const PENDING: u64 = 8;
/// Byte offset of `loss_scale` in [`StepState`].
pub(super) const LOSS_SCALE: u64 = 24;
/// First loss scale in fp16.
const FIRST_LOSS_SCALE: f32 = 65536.0;
/// Prefixes of the moments' names, as the CPU optimiser's.
const PREFIXES: [&str; 2] = ["exp_avg.", "exp_avg_sq."];

/// LayoutLM with AdamW on a card.
#[derive(Debug)]
pub struct GpuTrainer {
    pub(super) card: Arc<Card>,
    pub(super) config: ModelConfig,
    pub(super) options: GpuOptions,
    pub(super) optimizer: AdamWConfig,
    pub(super) loss: LossConfig,
    pub(super) class_weights: Option<Buffer>,
    pub(super) layout: Layout,
    pub(super) network: Network,
    pub(super) flat: Flat,
    pub(super) moments: [Buffer; 2],
    pub(super) average: Option<Buffer>,
    pub(super) stretches: (Buffer, usize),
    pub(super) state: Buffer,
    pub(super) tables: TableOffsets,
}

impl GpuTrainer {
    /// Puts a model on a card.
    ///
    /// # Errors
    /// [`GpuError::Dimension`] for sizes no kernel was made for, [`GpuError::Weights`] for missing tensors,
    /// [`GpuError::OutOfMemory`].
    pub fn new(
        compute: Arc<dyn Compute>,
        config: ModelConfig,
        weights: &Weights,
        options: GpuOptions,
        optimizer: AdamWConfig,
        loss: LossConfig,
    ) -> Result<Self, GpuError> {
        check_dimensions(&config)?;
        let card = Card::new(compute);
        let labels = weights.require("classifier.weight")?.shape.first().copied().unwrap_or(0);
        let layout = Layout::new(&config, labels);
        let element = options.precision.element();
        let tables = table_offsets(&layout)?;
        let flat = Flat {
            parameters: card.holding(&layout.flatten(weights, "")?)?,
            copies: card.buffer(layout.copies() * element.bytes())?,
            gradients: card.zeros(layout.elements() * 4)?,
            tables: card.holding(&tables.map(|t| t as u64))?,
        };
        let moments = [card.zeros(layout.elements() * 4)?, card.zeros(layout.elements() * 4)?];
        let stretches = layout.stretches();
        let network = Network::new(&config, labels, &layout, &flat, element)?;
        let class_weights = loss.class_weights.as_deref().map(|w| card.holding(w)).transpose()?;
        let trainer = Self {
            stretches: (card.holding(&stretches)?, stretches.len()),
            state: card.holding(&[first_state(options.precision, 0)])?,
            card,
            config,
            options,
            optimizer,
            loss,
            class_weights,
            layout,
            network,
            flat,
            moments,
            average: None,
            tables,
        };
        trainer.refresh_copies()?;
        Ok(trainer)
    }

    /// The dimensions.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Number of classes.
    pub fn labels(&self) -> usize {
        self.network.labels
    }

    /// What runs the kernels, e.g. the card's name.
    pub fn device_name(&self) -> String {
        self.card.compute().name()
    }

    /// Most memory this run held on the card at one time, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.card.peak()
    }

    /// Sets each tensor's factor on the learning rate, by Hugging Face name; 0 freezes it.
    ///
    /// # Errors
    /// [`GpuError::Device`].
    pub fn scale_learning_rates(&mut self, scale: impl Fn(&str) -> f64) -> Result<(), GpuError> {
        self.layout.scale_learning_rates(scale);
        let stretches = self.layout.stretches();
        self.stretches = (self.card.holding(&stretches)?, stretches.len());
        Ok(())
    }

    /// One optimiser step over what was accumulated. Nothing is waited for.
    ///
    /// # Errors
    /// [`GpuError::Device`].
    pub fn step(&mut self, learning_rate: f64) -> Result<(), GpuError> {
        let kernels = self.kernels();
        let stretches = (&self.stretches.0, self.stretches.1);
        let most = self.optimizer.max_grad_norm.unwrap_or(0.0) as f32;
        let dynamic = self.options.precision == Precision::Fp16;
        kernels.norm(self.state.address(), &self.flat.gradients, stretches, most, dynamic)?;
        let settings = AdamWArg {
            rate: learning_rate as f32,
            beta1: self.optimizer.beta1 as f32,
            beta2: self.optimizer.beta2 as f32,
            epsilon: self.optimizer.epsilon as f32,
            decay: self.optimizer.weight_decay as f32,
        };
        let [mean, square] = &self.moments;
        let (flat, state) = (&self.flat, self.state.address());
        let copies = flat.copies.address();
        kernels.adamw(&flat.parameters, copies, [mean, square], &flat.gradients, stretches, state, settings)
    }

    /// Waits for the card and takes its numbers; the sum of losses starts anew.
    ///
    /// # Errors
    /// [`GpuError::Device`], also for a kernel that failed since the last call.
    pub fn numbers(&mut self) -> Result<StepNumbers, GpuError> {
        let mut state = self.read_state()?;
        let numbers = StepNumbers {
            loss: state.loss + state.pending,
            gradient_norm: f64::from(state.norm),
            skipped: u64::from(state.skipped),
            loss_scale: f64::from(state.loss_scale),
        };
        (state.loss, state.pending) = (0.0, 0.0);
        self.state.write(&[state])?;
        Ok(numbers)
    }

    /// Copies the weights out, by Hugging Face name.
    ///
    /// # Errors
    /// [`GpuError::Device`].
    pub fn weights(&self) -> Result<Weights, GpuError> {
        Ok(self.layout.tensors(&self.flat.parameters.read(0, self.layout.elements())?, ""))
    }

    /// The summed gradients, by Hugging Face name, times the loss scale.
    ///
    /// # Errors
    /// [`GpuError::Device`].
    pub fn gradients(&self) -> Result<Weights, GpuError> {
        Ok(self.layout.tensors(&self.flat.gradients.read(0, self.layout.elements())?, ""))
    }

    /// Refuses when a trainable tensor got no gradient; to be called after the first micro-batches of a run.
    ///
    /// # Errors
    /// [`ModelError::NoGradient`] names the tensors.
    pub fn check_gradients(&self) -> Result<(), GpuError> {
        let gradients = self.gradients()?;
        let mut names = Vec::new();
        for (name, array) in gradients.iter() {
            // Softmax does not see the key's bias: its true gradient is zero.
            let expected = self.layout.get(name)?.rate_scale != 0.0 && !name.ends_with("self.key.bias");
            if expected && array.data.iter().all(|g| *g == 0.0) {
                names.push(name.clone());
            }
        }
        if names.is_empty() { Ok(()) } else { Err(ModelError::NoGradient { names }.into()) }
    }

    /// The moments as `exp_avg.<tensor>` and `exp_avg_sq.<tensor>`, as the CPU optimiser names them.
    ///
    /// # Errors
    /// [`GpuError::Device`].
    pub fn optimizer_state(&self) -> Result<Weights, GpuError> {
        let mut all = Weights::default();
        for (prefix, buffer) in PREFIXES.iter().zip(&self.moments) {
            for (name, array) in self.layout.tensors(&buffer.read(0, self.layout.elements())?, prefix) {
                all.insert(name, array);
            }
        }
        Ok(all)
    }

    /// Puts back what [`Self::optimizer_state`] and [`Self::counters`] gave.
    ///
    /// # Errors
    /// [`GpuError::Weights`] names a tensor that is missing or misshapen.
    pub fn load_optimizer_state(&mut self, state: &Weights, counters: Counters) -> Result<(), GpuError> {
        for (prefix, buffer) in PREFIXES.iter().zip(&self.moments) {
            buffer.write(&self.layout.flatten(state, prefix)?)?;
        }
        let Counters { good_steps, skipped, applied, .. } = counters;
        let mut first = first_state(self.options.precision, applied);
        if self.options.precision == Precision::Fp16 {
            first.loss_scale = counters.loss_scale;
        }
        self.state.write(&[StepState { good_steps, skipped, ..first }])
    }

    /// What [`Self::load_optimizer_state`] takes besides the moments. Waits for the card.
    ///
    /// # Errors
    /// [`GpuError::Device`].
    pub fn counters(&self) -> Result<Counters, GpuError> {
        let StepState { loss_scale, good_steps, skipped, applied, .. } = self.read_state()?;
        Ok(Counters { loss_scale, good_steps, skipped, applied })
    }

    /// Logits `[tokens, labels]` of a batch without dropout, row-major.
    ///
    /// # Errors
    /// [`GpuError::Model`] for ids the tables do not have.
    pub fn logits(&self, batch: &PackedBatch) -> Result<Array, GpuError> {
        self.check(batch)?;
        let shape = vec![batch.tokens(), self.network.labels];
        if batch.tokens() == 0 {
            return Ok(Array { shape, data: Vec::new() });
        }
        let kernels = self.kernels();
        let device = self.device_batch(batch)?;
        let pass = self.network.forward(&kernels, &self.flat, &device, &self.masks(None), false, false)?;
        self.network.finish_logits(&kernels, &pass, device.tokens)?;
        let count = device.tokens * self.network.labels;
        Ok(Array { shape, data: pass.logits.read(0, count)? })
    }

    pub(super) fn kernels(&self) -> Kernels<'_> {
        let (card, precision) = (&self.card, self.options.precision);
        Kernels { card, precision, epsilon: self.config.layer_norm_eps as f32 }
    }

    pub(super) fn device_batch(&self, batch: &PackedBatch) -> Result<DeviceBatch, GpuError> {
        DeviceBatch::new(&self.card, batch, &self.tables, self.config.hidden_size, self.config.pad_token_id)
    }

    pub(super) fn masks(&self, stream: Option<Stream>) -> Masks {
        Masks {
            stream,
            hidden: self.config.hidden_dropout_prob,
            probabilities: self.config.attention_probs_dropout_prob,
        }
    }

    pub(super) fn check(&self, batch: &PackedBatch) -> Result<(), GpuError> {
        Ok(batch.check_for(&self.config, self.network.labels)?)
    }

    /// Brings the matrices' copies up to date with the parameters.
    pub(super) fn refresh_copies(&self) -> Result<(), GpuError> {
        let (kernels, element) = (self.kernels(), self.options.precision.element());
        for (start, copy, length) in self.layout.matrices() {
            let to = self.flat.copies.address() + (copy * element.bytes()) as u64;
            kernels.cast(to, self.flat.parameters.address() + start as u64 * 4, length)?;
        }
        Ok(())
    }

    fn read_state(&self) -> Result<StepState, GpuError> {
        let states: Vec<StepState> = self.state.read(0, 1)?;
        states.first().copied().ok_or_else(|| GpuError::device("reading the step's state", "it is empty"))
    }
}

fn first_state(precision: Precision, applied: u32) -> StepState {
    let loss_scale = if precision == Precision::Fp16 { FIRST_LOSS_SCALE } else { 1.0 };
    StepState {
        loss: 0.0,
        pending: 0.0,
        norm: 0.0,
        clip: 1.0,
        loss_scale,
        good_steps: 0,
        skipped: 0,
        applied,
    }
}

fn check_dimensions(config: &ModelConfig) -> Result<(), GpuError> {
    let (hidden, heads) = (config.hidden_size, config.num_attention_heads.max(1));
    if hidden == 0 || hidden % 32 != 0 || hidden > 1024 {
        let expected = "a multiple of 32 up to 1024";
        return Err(GpuError::Dimension { what: "hidden_size", value: hidden, expected });
    }
    if ![16, 32, 64].contains(&(hidden / heads)) || hidden % heads != 0 {
        let expected = "16, 32 or 64";
        return Err(GpuError::Dimension {
            what: "the size of an attention head",
            value: hidden / heads,
            expected,
        });
    }
    Ok(())
}

fn table_offsets(layout: &Layout) -> Result<TableOffsets, GpuError> {
    let mut offsets = TableOffsets::default();
    let tables = [
        "word",
        "position",
        "x_position",
        "y_position",
        "x_position",
        "y_position",
        "h_position",
        "w_position",
        "token_type",
    ];
    for (offset, table) in offsets.iter_mut().zip(tables) {
        *offset = layout.get(&format!("layoutlm.embeddings.{table}_embeddings.weight"))?.start;
    }
    Ok(offsets)
}
