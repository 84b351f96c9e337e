//! Where the first weights come from, and which of them stay.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use layoutlm_trainer::config::{Scratch, Start, TrainConfig};

use crate::exit::usage;

/// Flags about the model.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Model")]
pub struct StartArgs {
    /// What to start from: a Hugging Face folder (LayoutLM, or a BERT whose 2-D tables start fresh), or the name of a
    /// model that the Hugging Face cache of this machine holds.
    #[arg(
        long,
        env = "LAYOUTLM_PRETRAINED",
        default_value = "microsoft/layoutlm-base-uncased",
        value_name = "FOLDER_OR_NAME"
    )]
    pub pretrained: String,
    /// LayoutLM's version; this toolkit trains v1.
    #[arg(long, env = "LAYOUTLM_MODEL_VERSION", default_value = "v1", value_name = "VERSION")]
    pub model_version: String,
    /// Start from random weights of this width instead, with a vocabulary made from the training receipts.
    #[arg(long, env = "LAYOUTLM_SCRATCH_HIDDEN", value_name = "WIDTH")]
    pub scratch_hidden: Option<usize>,
    /// Encoder layers of a model from random weights.
    #[arg(long, env = "LAYOUTLM_SCRATCH_LAYERS", default_value_t = 3, value_name = "LAYERS")]
    pub scratch_layers: usize,
    /// Attention heads of a model from random weights.
    #[arg(long, env = "LAYOUTLM_SCRATCH_HEADS", default_value_t = 4, value_name = "HEADS")]
    pub scratch_heads: usize,
    /// Entries of the vocabulary of a model from random weights.
    #[arg(long, env = "LAYOUTLM_SCRATCH_VOCAB", default_value_t = 3000, value_name = "ENTRIES")]
    pub scratch_vocab: usize,
    /// Dropout rate in place of the start's.
    #[arg(long, env = "LAYOUTLM_DROPOUT")]
    pub dropout: Option<f64>,
    /// Leave the embeddings as they are.
    #[arg(long, env = "LAYOUTLM_FREEZE_EMBEDDINGS")]
    pub freeze_embeddings: bool,
    /// Leave this many of the lowest encoder layers as they are.
    #[arg(long, env = "LAYOUTLM_FREEZE_LAYERS", default_value_t = 0, value_name = "LAYERS")]
    pub freeze_layers: usize,
}

impl StartArgs {
    /// Sets everything these flags decide.
    ///
    /// # Errors
    /// For a value that makes no sense, used or not, and a start that is not there.
    pub fn apply(&self, config: TrainConfig) -> anyhow::Result<TrainConfig> {
        // Without a width, one that suits the heads.
        self.scratch(self.scratch_hidden.unwrap_or(self.scratch_heads)).check().map_err(usage)?;
        Ok(TrainConfig {
            start: self.start()?,
            dropout: self.dropout,
            freeze_embeddings: self.freeze_embeddings,
            freeze_layers: self.freeze_layers,
            ..config
        })
    }

    fn scratch(&self, hidden_size: usize) -> Scratch {
        let (layers, heads, vocab_size) = (self.scratch_layers, self.scratch_heads, self.scratch_vocab);
        Scratch { hidden_size, layers, heads, vocab_size }
    }

    /// The start these flags name.
    fn start(&self) -> anyhow::Result<Start> {
        if self.model_version != "v1" {
            return Err(usage(anyhow!(
                "--model-version {}: only v1 is built; LayoutLMv3 also reads images",
                self.model_version
            )));
        }
        if self.pretrained.to_lowercase().contains("layoutlmv3") && self.scratch_hidden.is_none() {
            return Err(usage(anyhow!(
                "--pretrained {}: is a LayoutLMv3, but --model-version is v1; give a LayoutLM v1 or a BERT",
                self.pretrained
            )));
        }
        if let Some(hidden_size) = self.scratch_hidden {
            return Ok(Start::Scratch(self.scratch(hidden_size)));
        }
        let path = PathBuf::from(&self.pretrained);
        if path.is_dir() {
            return Ok(Start::Pretrained(path));
        }
        if let Some(cached) = hub_cache().and_then(|cache| in_cache(&cache, &self.pretrained)) {
            return Ok(Start::Pretrained(cached));
        }
        Err(usage(anyhow!(
            "--pretrained {}: no such folder, and the Hugging Face cache does not hold it; give a folder with \
             config.json, model.safetensors and a tokenizer, or --scratch-hidden to start from random weights",
            self.pretrained
        )))
    }
}

/// Where Hugging Face tools keep what they fetched.
fn hub_cache() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    variable("HF_HUB_CACHE")
        .or_else(|| Some(variable("HF_HOME")?.join("hub")))
        .or_else(|| Some(variable("HOME")?.join(".cache/huggingface/hub")))
}

/// The snapshot that `main` of a model points to.
fn in_cache(cache: &Path, name: &str) -> Option<PathBuf> {
    let folder = cache.join(format!("models--{}", name.replace('/', "--")));
    let revision = std::fs::read_to_string(folder.join("refs/main")).ok()?;
    let snapshot = folder.join("snapshots").join(revision.trim());
    snapshot.join("config.json").is_file().then_some(snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_in_the_hub_cache_is_found_by_its_name() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("models--microsoft--layoutlm-base-uncased");
        let snapshot = folder.join("snapshots/abc");
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir_all(folder.join("refs")).unwrap();
        std::fs::write(folder.join("refs/main"), "abc\n").unwrap();
        assert_eq!(in_cache(cache.path(), "microsoft/layoutlm-base-uncased"), None);
        std::fs::write(snapshot.join("config.json"), "{}").unwrap();
        assert_eq!(in_cache(cache.path(), "microsoft/layoutlm-base-uncased"), Some(snapshot));
        assert_eq!(in_cache(cache.path(), "microsoft/other"), None);
    }
}
