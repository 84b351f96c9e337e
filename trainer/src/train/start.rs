//! What a run starts from: tokenizer, dimensions and first weights.

use layoutlm_core::config::ModelConfig;
use layoutlm_core::label::LabelSet;
use layoutlm_core::receipt::Receipt;
use layoutlm_core::tokenize::Tokenizer;

use super::{TrainError, scratch};
use crate::config::{InvalidConfig, Scratch, Start, TrainConfig};
use crate::data::build_vocab;
use crate::model_folder::{read_config, read_tokenizer};
use crate::weights::{Checkpoint, LoadOptions, LoadReport, TensorOrigin, Weights};

/// The tokenizer of a start; for random weights one made from the training receipts.
pub(super) fn start_tokenizer(start: &Start, train: &[Receipt]) -> Result<Tokenizer, TrainError> {
    match start {
        Start::Pretrained(folder) => Ok(read_tokenizer(folder)?),
        Start::Scratch(s) => Ok(Tokenizer::from_vocab(&build_vocab(train, s.vocab_size), true)?),
    }
}

/// The dimensions before labels are known.
pub(super) fn dimensions(start: &Start, tokenizer: &Tokenizer) -> Result<ModelConfig, TrainError> {
    let model = match start {
        Start::Pretrained(folder) => read_config(folder)?,
        Start::Scratch(s) => scratch_config(s, tokenizer)?,
    };
    if tokenizer.vocab_size() > model.vocab_size {
        return Err(TrainError::Vocabulary { tokens: tokenizer.vocab_size(), rows: model.vocab_size });
    }
    Ok(model)
}

/// The dimensions with what the run decides: classes, padding, dropout.
pub(super) fn finish_dimensions(
    mut model: ModelConfig,
    config: &TrainConfig,
    tokenizer: &Tokenizer,
    labels: &LabelSet,
) -> Result<ModelConfig, TrainError> {
    model.pad_token_id = tokenizer.pad_id();
    model.set_labels(labels);
    if let Some(rate) = config.dropout {
        model.hidden_dropout_prob = rate;
        model.attention_probs_dropout_prob = rate;
    }
    if config.freeze_layers > model.num_hidden_layers {
        let reason = format!("the model has {} encoder layers", model.num_hidden_layers);
        let value = config.freeze_layers.to_string();
        return Err(InvalidConfig { flag: "--freeze-layers", value, reason }.into());
    }
    Ok(model)
}

fn scratch_config(scratch: &Scratch, tokenizer: &Tokenizer) -> Result<ModelConfig, TrainError> {
    let json = serde_json::json!({
        "model_type": "layoutlm",
        "architectures": ["LayoutLMForTokenClassification"],
        "vocab_size": tokenizer.vocab_size(),
        "hidden_size": scratch.hidden_size,
        "num_hidden_layers": scratch.layers,
        "num_attention_heads": scratch.heads,
        "intermediate_size": scratch.hidden_size * 4,
    });
    ModelConfig::from_json(&json.to_string()).map_err(|e| {
        InvalidConfig { flag: "--scratch-hidden", value: String::new(), reason: e.to_string() }.into()
    })
}

/// The start's weights with their dimensions; a head that does not fit the labels starts fresh.
pub(super) fn first_weights(
    config: &TrainConfig,
    dimensions: &ModelConfig,
    labels: &LabelSet,
) -> Result<(ModelConfig, Weights, LoadReport), TrainError> {
    let (weights, report) = match &config.start {
        Start::Pretrained(folder) => {
            let options = LoadOptions { labels: Some(labels), seed: config.seed };
            let checkpoint = Checkpoint::load(folder, options)?;
            (checkpoint.weights, checkpoint.report)
        }
        Start::Scratch(_) => {
            let weights = scratch::weights(dimensions, labels.len(), config.seed);
            let origins = weights.iter().map(|(name, _)| (name.clone(), TensorOrigin::Fresh)).collect();
            (weights, LoadReport(origins))
        }
    };
    let mut dimensions = dimensions.clone();
    dimensions.model_type = "layoutlm".into();
    dimensions.architectures = vec!["LayoutLMForTokenClassification".into()];
    Ok((dimensions, weights, report))
}

/// Each tensor's factor on the learning rate in a model of so many `layers`: 0 for what is frozen, less for lower layers.
pub(super) fn learning_rate_scale(config: &TrainConfig, layers: usize) -> impl Fn(&str) -> f64 + use<> {
    let (decay, frozen) = (config.layer_lr_decay, config.freeze_layers);
    let freeze_embeddings = config.freeze_embeddings;
    move |name: &str| {
        let number = |rest: &str| rest.split('.').next()?.parse::<usize>().ok();
        let layer = name.split_once("encoder.layer.").and_then(|(_, rest)| number(rest));
        let below_the_head = |levels: usize| decay.powi(i32::try_from(levels).unwrap_or(i32::MAX));
        match layer {
            Some(layer) if layer < frozen => 0.0,
            Some(layer) => below_the_head(layers - layer.min(layers)),
            None if !name.contains("embeddings") => 1.0,
            None if freeze_embeddings => 0.0,
            None => below_the_head(layers + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_learns_at_a_share_of_the_one_above_and_frozen_ones_not_at_all() {
        let mut config = TrainConfig { layer_lr_decay: 0.5, freeze_layers: 1, ..TrainConfig::default() };
        let rate = |config: &TrainConfig, name: &str| learning_rate_scale(config, 3)(name);
        assert_eq!(rate(&config, "classifier.weight"), 1.0);
        assert_eq!(rate(&config, "layoutlm.encoder.layer.2.attention.self.key.weight"), 0.5);
        assert_eq!(rate(&config, "layoutlm.encoder.layer.1.output.dense.bias"), 0.25);
        assert_eq!(rate(&config, "layoutlm.encoder.layer.0.output.dense.bias"), 0.0);
        assert_eq!(rate(&config, "layoutlm.embeddings.word_embeddings.weight"), 0.0625);
        config.freeze_embeddings = true;
        assert_eq!(rate(&config, "layoutlm.embeddings.word_embeddings.weight"), 0.0);
        assert_eq!(rate(&config, "layoutlm.embeddings.LayerNorm.weight"), 0.0);
    }
}
