//! Files and runs out of S3.

use std::path::Path;

use anyhow::{Context, anyhow};
use layoutlm_aws::s3::{Fetch, Object, S3Uri, resolve_latest};

use crate::cloud::Cloud;
use crate::exit::usage;

/// The text of an object that a flag names by its s3:// URI.
pub fn text(flag: &str, uri: &str, region: &str) -> anyhow::Result<String> {
    let place: S3Uri = uri.parse().map_err(|e| usage(anyhow!("{flag}: {e}")))?;
    let cloud = Cloud::connect(Some(region))?;
    let bytes = cloud.wait(cloud.aws.bucket(&place.bucket).read(&place.key)).context(flag.to_string())?;
    String::from_utf8(bytes).map_err(|e| usage(anyhow!("{flag} {uri}: is no text: {e}")))
}

/// Brings a run's newest complete checkpoint, and `best/`, from S3 into the run's folder.
pub fn fetch_run(uri: &str, run_dir: &Path, region: &str) -> anyhow::Result<()> {
    let place: S3Uri = uri.parse().map_err(usage)?;
    let cloud = Cloud::connect(Some(region))?;
    let place = cloud.wait(resolve_latest(&cloud.aws, &place))?.as_folder();
    let bucket = cloud.aws.bucket(&place.bucket);
    let objects = cloud.wait(bucket.list(&place.key))?;
    let Some((name, prefix)) = newest_checkpoint(&objects, &place.key) else {
        eprintln!("warning: --resume-from-s3 {uri}: no complete checkpoint there; training starts afresh");
        return Ok(());
    };
    let best = format!("{}best/", place.key);
    for (name, prefix) in [(name.as_str(), prefix), ("best", best)] {
        let files: Vec<Object> = objects.iter().filter(|o| o.key.starts_with(&prefix)).cloned().collect();
        if files.is_empty() {
            continue;
        }
        let (work, target) = (run_dir.join(format!(".{name}.tmp")), run_dir.join(name));
        cloud.wait(bucket.download(&prefix, files, &work, &Fetch::default()))?;
        if !target.exists() {
            std::fs::rename(&work, &target).with_context(|| target.display().to_string())?;
        }
    }
    eprintln!("{name} brought from {place}");
    Ok(())
}

/// The complete checkpoint of the highest step, at the run's root or under `checkpoints/`: its name and prefix.
fn newest_checkpoint(objects: &[Object], root: &str) -> Option<(String, String)> {
    let has = |folder: &str, file: &str| {
        objects.iter().filter_map(|o| o.key.strip_prefix(root)).any(|key| key == format!("{folder}/{file}"))
    };
    let found = objects.iter().filter_map(|object| {
        let folder = object.key.strip_prefix(root)?.strip_suffix("/trainer_state.json")?;
        let name = folder.strip_prefix("checkpoints/").unwrap_or(folder);
        let step: u64 = name.strip_prefix("checkpoint-")?.parse().ok()?;
        // Whatever copied it there may not have sent the state last.
        let complete = ["model.safetensors", "trainer_state.safetensors"].iter().all(|f| has(folder, f));
        complete.then_some(())?;
        Some((step, name.to_string(), format!("{root}{folder}/")))
    });
    found.max_by_key(|(step, ..)| *step).map(|(_, name, prefix)| (name, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_step_is_resumed_wherever_it_lies() {
        let object = |key: &str| Object { key: key.into(), size: 1, modified: None };
        let whole = ["trainer_state.json", "model.safetensors", "trainer_state.safetensors"];
        let mut keys: Vec<Object> = ["runs/a/checkpoint-20", "runs/a/checkpoints/checkpoint-100"]
            .iter()
            .flat_map(|folder| whole.iter().map(move |file| object(&format!("{folder}/{file}"))))
            .collect();
        keys.extend(
            [
                "runs/a/checkpoints/checkpoint-200/model.safetensors",
                "runs/a/checkpoints/checkpoint-300/trainer_state.json",
                "runs/a/checkpoints/checkpoint-300/model.safetensors",
                "runs/a/best/trainer_state.json",
            ]
            .map(object),
        );
        let (name, prefix) = newest_checkpoint(&keys, "runs/a/").unwrap();
        assert_eq!(
            (name.as_str(), prefix.as_str()),
            ("checkpoint-100", "runs/a/checkpoints/checkpoint-100/")
        );
        assert_eq!(newest_checkpoint(&keys[6..], "runs/a/"), None);
    }
}
