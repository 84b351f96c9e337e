//! What a run computes on, and with whom: found out before any receipt is encoded.

use std::sync::Arc;

use super::TrainError;
use crate::config::{Device, TrainConfig};
use crate::gpu::Compute;
use crate::machine::cpu_name;
use crate::parallel::{Communicator, Launch, Patience, Tcp};

/// What a run computes on, and with whom.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    compute: Option<Arc<dyn Compute>>,
    communicator: Option<Arc<dyn Communicator>>,
    /// Why it is the processor where a card might have been.
    reason: Option<String>,
}

impl Setup {
    /// A card (or what stands in for one), and other processes; without either, the processor of this process alone.
    pub fn new(compute: Option<Arc<dyn Compute>>, communicator: Option<Arc<dyn Communicator>>) -> Self {
        Self { compute, communicator, reason: None }
    }

    /// Opens what `config.device` asks for, and meets the other processes where there are some.
    ///
    /// # Errors
    /// [`TrainError::WithoutCuda`] or [`TrainError::Gpu`] where a card was asked for that is not usable;
    /// [`TrainError::Parallel`].
    pub fn open(config: &TrainConfig, launch: Option<&Launch>) -> Result<Self, TrainError> {
        let own = launch.map_or(0, |launch| launch.local_rank);
        let card = match config.device {
            Device::Cpu => Err(None),
            Device::Cuda(index) => Ok(open_card(index.unwrap_or(own))?),
            Device::Auto => open_card(own).map_err(|error| {
                Some(match error {
                    TrainError::WithoutCuda => "built without CUDA".into(),
                    other => other.to_string(),
                })
            }),
        };
        let meet = |launch| Tcp::connect(launch, Patience::default());
        let tcp = launch.map(meet).transpose()?;
        match card {
            Ok(card) => {
                let communicator = tcp.map(|tcp| between_cards(tcp, &card)).transpose()?;
                Ok(Self { compute: Some(card), communicator, reason: None })
            }
            Err(reason) => {
                let communicator = tcp.map(|tcp| Arc::new(tcp) as Arc<dyn Communicator>);
                Ok(Self { compute: None, communicator, reason })
            }
        }
    }

    /// True for the process that evaluates and writes.
    pub fn leads(&self) -> bool {
        self.communicator.as_ref().is_none_or(|c| c.rank() == 0)
    }

    /// What it is, as a sentence's end, for the screen.
    pub fn describe(&self, config: &TrainConfig) -> String {
        let mut text = match (&self.compute, &self.reason) {
            (Some(card), _) => format!("{}, {}", card.name(), config.precision.on_card().name()),
            (None, None) => format!("{}, fp32", cpu_name()),
            (None, Some(reason)) => format!("{}, fp32 ({reason})", cpu_name()),
        };
        if let Some(c) = &self.communicator {
            text.push_str(&format!("; process {} of {}", c.rank() + 1, c.world_size()));
        }
        text
    }

    pub(super) fn compute(&self) -> Option<Arc<dyn Compute>> {
        self.compute.clone()
    }

    pub(super) fn communicator(&self) -> Option<Arc<dyn Communicator>> {
        self.communicator.clone()
    }

    pub(super) fn world_size(&self) -> usize {
        self.communicator.as_ref().map_or(1, |c| c.world_size())
    }
}

#[cfg(feature = "cuda")]
type Card = crate::gpu::Cuda;

#[cfg(feature = "cuda")]
fn open_card(index: usize) -> Result<Arc<Card>, TrainError> {
    Ok(Arc::new(Card::new(index)?))
}

#[cfg(feature = "cuda")]
fn between_cards(tcp: Tcp, card: &Arc<Card>) -> Result<Arc<dyn Communicator>, TrainError> {
    Ok(Arc::new(crate::parallel::Nccl::connect(tcp, Arc::clone(card))?))
}

#[cfg(not(feature = "cuda"))]
fn open_card(_: usize) -> Result<Arc<dyn Compute>, TrainError> {
    Err(TrainError::WithoutCuda)
}

#[cfg(not(feature = "cuda"))]
fn between_cards(tcp: Tcp, _: &Arc<dyn Compute>) -> Result<Arc<dyn Communicator>, TrainError> {
    Ok(Arc::new(tcp))
}
