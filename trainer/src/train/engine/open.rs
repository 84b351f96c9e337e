//! Which engine a run gets.

use super::card::OnCard;
use super::processor::Processor;
use super::{Engine, Parts};
use crate::config::{Device, TrainConfig};
use crate::gpu::GpuError;
use crate::loss::LossConfig;
use crate::optim::AdamWConfig;
use crate::train::{Setup, TrainError};

/// Opens engines for one run.
#[derive(Debug, Clone, Copy)]
pub(in crate::train) struct Opener<'a> {
    pub(in crate::train) config: &'a TrainConfig,
    pub(in crate::train) setup: &'a Setup,
    pub(in crate::train) loss: &'a LossConfig,
    /// Tokens of the longest training window.
    pub(in crate::train) longest: usize,
}

impl Opener<'_> {
    /// An engine on what the run was set up with. A model that no card can compute goes to the processor where the choice
    /// was left to the program.
    pub(in crate::train) fn open(&self, parts: Parts) -> Result<Box<dyn Engine>, TrainError> {
        let optimizer = AdamWConfig {
            weight_decay: self.config.weight_decay,
            max_grad_norm: Some(self.config.max_grad_norm),
            ..AdamWConfig::default()
        };
        if let Some(compute) = self.setup.compute() {
            let opened =
                OnCard::open(self.config, compute, optimizer, self.loss.clone(), self.longest, &parts);
            match opened {
                Err(TrainError::Gpu(error @ GpuError::Dimension { .. }))
                    if self.config.device == Device::Auto =>
                {
                    tracing::warn!("{error}; this run goes to the processor");
                }
                other => return Ok(Box::new(other?)),
            }
        }
        Ok(Box::new(Processor::open(self.config, optimizer, self.loss.clone(), parts)?))
    }
}
