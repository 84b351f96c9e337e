//! Settings that decide the numbers: a run only goes on from a checkpoint of the same ones.

use std::collections::BTreeMap;

use layoutlm_core::encoder::Encoder;
use layoutlm_core::encoding::sha256_hex;
use layoutlm_core::receipt::Receipt;

use super::{Setup, TrainData};
use crate::config::TrainConfig;
use crate::data::keys_hash;
use crate::gpu::Precision;

/// Hashes of what the receipts hold, in their order: words and labels in a table may change while a run rests, and no
/// run should be lost for that.
const CONTENTS: [&str; 2] = ["training receipts' contents", "validation receipts' contents"];

/// Every such setting by flag name, as text.
pub(super) fn settings(
    config: &TrainConfig,
    encoder: &Encoder,
    data: &TrainData,
    setup: &Setup,
) -> BTreeMap<String, String> {
    let keys = |receipts: &[Receipt]| {
        let keys: Vec<String> = receipts.iter().map(Receipt::key).collect();
        keys_hash(keys.iter().map(String::as_str))
    };
    let mut map = BTreeMap::from([
        ("training receipts".to_string(), keys(&data.train)),
        ("validation receipts".to_string(), keys(&data.validation)),
        ("encoding".to_string(), encoder.encoding().fingerprint()),
    ]);
    for (name, receipts) in CONTENTS.into_iter().zip([&data.train, &data.validation]) {
        map.insert(name.into(), contents(receipts));
    }
    let numbers = serde_json::json!({
        "start": config.start,
        "--epochs": config.epochs,
        "--batch-size": config.batch_size,
        "--max-batch-tokens": config.max_batch_tokens,
        "--group-by-length": config.group_by_length,
        "--pad-to-max-length": config.pad_to_max_length,
        "--gradient-accumulation-steps": config.gradient_accumulation_steps * setup.world_size(),
        "--lr": config.learning_rate,
        "--warmup-ratio": config.warmup_ratio,
        "--weight-decay": config.weight_decay,
        "--max-grad-norm": config.max_grad_norm,
        "--layer-lr-decay": config.layer_lr_decay,
        "--freeze-embeddings": config.freeze_embeddings,
        "--freeze-layers": config.freeze_layers,
        "--ema-decay": config.ema_decay,
        "--label-smoothing": config.label_smoothing,
        "--class-weights": config.class_weights,
        "--class-weight-min": config.class_weight_min,
        "--class-weight-max": config.class_weight_max,
        "--product-detail-loss-weight": config.product_detail_loss_weight,
        "--dropout": config.dropout,
        "--r-drop": config.r_drop,
        "--checkpoint-metric": config.checkpoint_metric,
        "--seed": config.seed,
        "--validation-status": config.validation_status,
        "--loader": config.loader,
        "--scope": config.scope,
        "--item-window-augment": config.item_windows,
        "--o-entity-ratio": config.o_entity_ratio,
    });
    let numbers = numbers.as_object().into_iter().flatten();
    map.extend(numbers.map(|(name, value)| (name.clone(), value.to_string())));
    let on_card = setup.compute().is_some();
    let pass = if on_card && config.auto_batch { "auto".into() } else { config.max_pass_tokens.to_string() };
    map.insert("tokens per pass".into(), pass);
    // A run may move between a processor and a card of the same format; fp32 is left out, as it once went without saying.
    if on_card && config.precision.on_card() != Precision::Fp32 {
        map.insert("--precision".into(), config.precision.on_card().name().into());
    }
    map
}

fn contents(receipts: &[Receipt]) -> String {
    let each: Vec<String> = receipts.iter().map(|r| serde_json::json!(r).to_string()).collect();
    sha256_hex(each.join("\n").as_bytes())
}

/// The settings that must be the same for a run to go on.
pub(super) fn without_contents(settings: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut settings = settings.clone();
    settings.retain(|name, _| !CONTENTS.contains(&name.as_str()));
    settings
}

/// The side whose receipts hold something else than before; earlier versions did not note what they held.
pub(super) fn other_contents(
    now: &BTreeMap<String, String>,
    before: &BTreeMap<String, String>,
) -> Option<&'static str> {
    let changed = |name: &&str| before.get(*name).is_some_and(|then| now.get(*name) != Some(then));
    let sides = CONTENTS.iter().zip(["training receipts", "validation receipts"]);
    sides.filter(|(name, _)| changed(name)).map(|(_, side)| side).next()
}

/// The first setting that differs, in words; those of the command line before those derived from the data.
pub(super) fn difference(
    now: &BTreeMap<String, String>,
    before: &BTreeMap<String, String>,
) -> Option<String> {
    let text = |value: Option<&String>| value.map_or("nothing", String::as_str).to_string();
    let names = now.keys().chain(before.keys().filter(|name| !now.contains_key(*name)));
    let name = names.into_iter().find(|name| now.get(*name) != before.get(*name))?;
    Some(format!("{name}: {} then, {} now", text(before.get(name)), text(now.get(name))))
}
