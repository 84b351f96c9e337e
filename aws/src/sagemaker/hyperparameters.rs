//! From hyperparameters, all of them strings, to the flags of `train`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::layout::Layout;
use crate::error::AwsError;

/// The command that a container was meant to run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Invocation {
    /// Flags of `train`.
    pub flags: Vec<String>,
    /// Environment variables to set for it.
    pub env: BTreeMap<String, String>,
    /// Hyperparameters that mean nothing here.
    pub unknown: Vec<String>,
}

/// Hyperparameters that are flags of the same name but for `_`, or of another.
const VALUES: [(&[&str], &str); 17] = [
    (&["epochs"], "--epochs"),
    (&["batch_size"], "--batch-size"),
    (&["learning_rate", "lr"], "--lr"),
    (&["warmup_ratio"], "--warmup-ratio"),
    (&["gradient_accumulation_steps"], "--gradient-accumulation-steps"),
    (&["label_smoothing"], "--label-smoothing"),
    (&["early_stopping_patience"], "--early-stopping-patience"),
    (&["checkpoint_metric", "metric_for_best_model"], "--checkpoint-metric"),
    (&["product_detail_loss_weight"], "--product-detail-loss-weight"),
    (&["o_entity_ratio"], "--o-entity-ratio"),
    (&["resume_from_s3"], "--resume-from-s3"),
    (&["model_version"], "--model-version"),
    (&["output_s3_path"], "--output-s3-path"),
    (&["scope"], "--scope"),
    (&["receipt_allowlist_s3"], "--receipt-allowlist-s3"),
    (&["item_window_size"], "--item-window-size"),
    (&["item_window_stride"], "--item-window-stride"),
];

/// Those that are not flags of their own.
const OTHERS: [&str; 18] = [
    "job_name",
    "dynamo_table",
    "region",
    "pretrained",
    "label_merges",
    "merge_preset",
    "merge_amounts",
    "merge_date_time",
    "merge_address_phone",
    "allowed_labels",
    "eval_heldout_windowed",
    "val_keys_s3",
    "no_frozen_val",
    "item_window_augmentation",
    "item_window_augment",
    "seed",
    "window_size",
    "window_stride",
];

/// The command line for what SageMaker left: hyperparameters.json, else `SM_HPS`, with `SM_HP_<NAME>` on top; channels
/// `training` (or `train`, `data`) and `pretrained` (or `model`) stand in for the table and the pretrained name.
///
/// What has no meaning of its own here is a flag, if `has_flag` says that there is one of that name; what is left, but for
/// SageMaker's own `sagemaker_…`, is [`Invocation::unknown`].
///
/// # Errors
/// [`AwsError::Content`] when they can't be read.
pub fn arguments(
    layout: &Layout,
    environment: &BTreeMap<String, String>,
    has_flag: impl Fn(&str) -> bool,
) -> Result<Invocation, AwsError> {
    let given = Given { values: read(layout, environment)? };
    let mut call = Invocation::default();
    let name = given.get("job_name").or_else(|| environment.get("TRAINING_JOB_NAME").map(String::as_str));
    call.flag("--job-name", name.unwrap_or("sagemaker-job"));
    let table =
        given.get("dynamo_table").or_else(|| environment.get("DYNAMO_TABLE_NAME").map(String::as_str));
    let channel = ["training", "train", "data"].iter().find_map(|name| layout.channel(name));
    match (table, channel) {
        (_, Some(folder)) => call.flag("--data", &folder.to_string_lossy()),
        (Some(table), None) => call.flag("--dynamo-table", table),
        (None, None) => {}
    }
    if let Some(region) = given.get("region") {
        call.flag("--region", region);
    }
    let folder = ["pretrained", "model"].iter().find_map(|name| layout.channel(name));
    match (folder, given.get("pretrained")) {
        (Some(folder), _) => call.flag("--pretrained", &folder.to_string_lossy()),
        (None, Some(name)) => call.flag("--pretrained", name),
        (None, None) => {}
    }
    for (names, flag) in VALUES {
        if let Some(value) = names.iter().find_map(|name| given.get(name)) {
            call.flag(flag, value);
        }
    }
    for (name, flag) in
        [("seed", "--seed"), ("window_size", "--window-size"), ("window_stride", "--window-stride")]
    {
        if let Some(value) = given.get(name) {
            call.flag(flag, value);
        }
    }
    call.labels(&given);
    call.split(&given);
    call.flag("--output-dir", &layout.checkpoints().to_string_lossy());
    for (name, value) in &given.values {
        if let Some(variable) = name.strip_prefix("env_") {
            call.env.insert(variable.into(), value.clone());
        } else if !given.known(name) {
            let flag = name.replace('_', "-");
            if has_flag(&flag) {
                call.flag(&format!("--{flag}"), value)
            } else {
                call.unknown.push(name.clone())
            }
        }
    }
    Ok(call)
}

impl Invocation {
    fn flag(&mut self, name: &str, value: &str) {
        // One argument, so that a value may begin with a dash.
        self.flags.push(format!("{name}={value}"));
    }

    fn switch(&mut self, name: &str, on: bool) {
        if on {
            self.flags.push(name.into());
        }
    }

    fn labels(&mut self, given: &Given) {
        let (merges, preset) = (given.get("label_merges"), given.get("merge_preset"));
        if let Some(json) = merges {
            self.flag("--label-merges", json);
        }
        if let Some(name) = preset {
            self.flag("--merge-preset", name);
        }
        let neither = merges.is_none() && preset.is_none();
        self.switch("--merge-amounts", neither && given.is_true("merge_amounts"));
        self.switch("--merge-date-time", neither && given.is_true("merge_date_time"));
        self.switch("--merge-address-phone", neither && given.is_true("merge_address_phone"));
        let allowed = given.get("allowed_labels").unwrap_or_default();
        for label in allowed.split(',').map(str::trim).filter(|l| !l.is_empty()) {
            self.flag("--allowed-label", label);
        }
    }

    fn split(&mut self, given: &Given) {
        match given.get("val_keys_s3") {
            Some(uri) => self.flag("--val-keys-s3", uri),
            None => self.switch("--no-frozen-val", given.is_true("no_frozen_val")),
        }
        let off = given.get("eval_heldout_windowed").is_some_and(|v| v.eq_ignore_ascii_case("false"));
        self.switch("--no-eval-heldout-windowed", off);
        let augment = given.is_true("item_window_augmentation") || given.is_true("item_window_augment");
        self.switch("--item-window-augment", augment);
    }
}

/// Hyperparameters by name.
struct Given {
    values: BTreeMap<String, String>,
}

impl Given {
    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| v.eq_ignore_ascii_case("true"))
    }

    fn known(&self, name: &str) -> bool {
        name.starts_with("sagemaker_")
            || OTHERS.contains(&name)
            || VALUES.iter().any(|(names, _)| names.contains(&name))
    }
}

fn read(
    layout: &Layout,
    environment: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, AwsError> {
    let path = layout.hyperparameters();
    let content = |what: String, reason: String| AwsError::Content { what, reason };
    let mut values = if path.is_file() {
        let text = std::fs::read_to_string(&path).map_err(AwsError::file(&path))?;
        object(&text).map_err(|e| content(path.display().to_string(), e))?
    } else {
        let text = environment.get("SM_HPS").map_or("{}", String::as_str);
        object(text).map_err(|e| content("SM_HPS".into(), e))?
    };
    for (variable, value) in environment {
        if let Some(name) = variable.strip_prefix("SM_HP_") {
            let lower = name.to_lowercase();
            let name = match lower.strip_prefix("env_") {
                // Variable names keep their case.
                Some(_) => format!("env_{}", name.get(4..).unwrap_or_default()),
                None => lower,
            };
            values.insert(name, value.clone());
        }
    }
    Ok(values)
}

/// SageMaker writes every value as a string; SDKs quote theirs once more (`"\"f1\""`), which is undone.
fn object(text: &str) -> Result<BTreeMap<String, String>, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("is no JSON: {e}"))?;
    let map = value.as_object().ok_or("expected an object of strings")?;
    Ok(map
        .iter()
        .map(|(name, value)| {
            let text = match value {
                Value::String(text) => match serde_json::from_str(text) {
                    Ok(Value::String(inner)) => inner,
                    _ => text.clone(),
                },
                other => other.to_string(),
            };
            (name.clone(), text)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(json: &str, environment: &[(&str, &str)]) -> Invocation {
        let base = tempfile::tempdir().unwrap();
        let layout = Layout::at(base.path().into());
        std::fs::create_dir_all(base.path().join("input/config")).unwrap();
        std::fs::write(layout.hyperparameters(), json).unwrap();
        let environment = environment.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
        let mut call = arguments(&layout, &environment, |flag| flag == "weight-decay").unwrap();
        call.flags.retain(|flag| !flag.starts_with("--output-dir="));
        call
    }

    #[test]
    fn hyperparameters_become_the_flags_a_person_would_type() {
        let got = call(
            r#"{"job_name": "r-1", "dynamo_table": "T", "learning_rate": "6e-5", "merge_amounts": "true",
                "allowed_labels": "DATE, AMOUNT", "eval_heldout_windowed": "false", "val_keys_s3": "s3://b/k.json",
                "no_frozen_val": "true", "checkpoint_metric": "\"f1\"", "env_LAYOUTLM_WINDOW_SIZE": "100"}"#,
            &[],
        );
        let want = [
            "--job-name=r-1",
            "--dynamo-table=T",
            "--lr=6e-5",
            "--checkpoint-metric=f1",
            "--merge-amounts",
            "--allowed-label=DATE",
            "--allowed-label=AMOUNT",
            "--val-keys-s3=s3://b/k.json",
            "--no-eval-heldout-windowed",
        ];
        assert_eq!(got.flags, want);
        assert_eq!(got.env, BTreeMap::from([("LAYOUTLM_WINDOW_SIZE".to_string(), "100".to_string())]));
    }

    #[test]
    fn what_is_no_hyperparameter_of_old_is_a_flag_or_is_named() {
        let got =
            call(r#"{"job_name": "r", "weight_decay": 0.1, "wieght_decay": "1", "sagemaker_x": "1"}"#, &[]);
        assert_eq!(got.flags, ["--job-name=r", "--weight-decay=0.1"]);
        assert_eq!(got.unknown, ["wieght_decay"]);
    }

    #[test]
    fn merges_by_name_or_json_silence_the_old_switches_and_variables_win() {
        let environment =
            [("SM_HP_EPOCHS", "5"), ("SM_HP_ENV_AWS_REGION", "eu-west-1"), ("TRAINING_JOB_NAME", "t")];
        let got = call(r#"{"epochs": "3", "merge_preset": "sroie", "merge_amounts": "true"}"#, &environment);
        assert_eq!(got.flags, ["--job-name=t", "--epochs=5", "--merge-preset=sroie"]);
        assert_eq!(got.env.get("AWS_REGION").map(String::as_str), Some("eu-west-1"));
    }
}
