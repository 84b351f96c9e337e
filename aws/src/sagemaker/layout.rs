//! Folders under `/opt/ml`, and what is left in them at the end.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::AwsError;
use crate::files::write_whole;

/// Folders of a training container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    base: PathBuf,
    model: PathBuf,
}

impl Layout {
    /// `/opt/ml` (or `SAGEMAKER_BASE_DIR`), if this is a training container: `input/config` is there.
    pub fn detect() -> Option<Self> {
        let base = env::var_os("SAGEMAKER_BASE_DIR").map_or_else(|| PathBuf::from("/opt/ml"), PathBuf::from);
        base.join("input/config").is_dir().then(|| Self::at(base))
    }

    /// At a given folder; models go to `SM_MODEL_DIR` if that is set.
    pub fn at(base: PathBuf) -> Self {
        let model = env::var_os("SM_MODEL_DIR").map_or_else(|| base.join("model"), PathBuf::from);
        Self { base, model }
    }

    /// Hyperparameters as SageMaker wrote them: an object of strings.
    pub fn hyperparameters(&self) -> PathBuf {
        self.base.join("input/config/hyperparameters.json")
    }

    /// Which hosts take part: `current_host` and `hosts`.
    pub fn resource_config(&self) -> PathBuf {
        self.base.join("input/config/resourceconfig.json")
    }

    /// Data of a channel, if there is one of that name.
    pub fn channel(&self, name: &str) -> Option<PathBuf> {
        Some(self.base.join("input/data").join(name)).filter(|p| p.is_dir())
    }

    /// What SageMaker keeps in step with S3 while a spot job runs, and puts back on a restart.
    pub fn checkpoints(&self) -> PathBuf {
        self.base.join("checkpoints")
    }

    /// What SageMaker uploads as the model.
    pub fn model(&self) -> &Path {
        &self.model
    }

    /// Copies a finished run into the model folder.
    ///
    /// # Errors
    /// [`AwsError::File`].
    pub fn publish(&self, run_dir: &Path) -> Result<(), AwsError> {
        let mut pending = vec![(run_dir.to_path_buf(), self.model.clone())];
        while let Some((from, to)) = pending.pop() {
            fs::create_dir_all(&to).map_err(AwsError::file(&to))?;
            for entry in fs::read_dir(&from).map_err(AwsError::file(&from))? {
                let entry = entry.map_err(AwsError::file(&from))?;
                let (path, target) = (entry.path(), to.join(entry.file_name()));
                if entry.file_name().to_string_lossy().starts_with('.') {
                    continue;
                }
                if path.is_dir() {
                    pending.push((path, target));
                } else {
                    fs::copy(&path, &target).map_err(AwsError::file(&target))?;
                }
            }
        }
        Ok(())
    }

    /// Says why the job failed, where SageMaker looks for it.
    ///
    /// # Errors
    /// [`AwsError::File`].
    pub fn fail(&self, reason: &str) -> Result<(), AwsError> {
        write_whole(&self.base.join("output/failure"), |file| writeln!(file, "{reason}"))
    }
}

/// One line per evaluation, in the form that metric definitions for this trainer look for:
/// `{'eval_loss': 0.7644, 'eval_f1': 0.6808, 'epoch': 1.0}`.
pub fn metric_line(epoch: &Value) -> String {
    let mut line = String::from("{");
    let figures = epoch.as_object().into_iter().flatten();
    let named = figures.filter(|(name, _)| name.starts_with("eval_") && !name.starts_with("eval_label_"));
    let ends =
        ["train_loss", "learning_rate", "epoch"].iter().filter_map(|name| Some((*name, epoch.get(*name)?)));
    for (name, value) in named.map(|(n, v)| (n.as_str(), v)).chain(ends) {
        if let Some(number) = value.as_f64() {
            let separator = if line.len() > 1 { ", " } else { "" };
            // Writing to a string can't fail.
            let _ = write!(line, "{separator}'{name}': {}", crate::dynamo::python_float(number));
        }
    }
    line.push('}');
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_metric_line_is_found_by_the_usual_expression() {
        let line = metric_line(
            &json!({"epoch": 1.0, "eval_f1": 0.6808, "eval_label_DATE_f1": 1.0, "train_loss": 5e-5}),
        );
        assert_eq!(line, "{'eval_f1': 0.6808, 'train_loss': 5e-05, 'epoch': 1.0}");
    }

    #[test]
    fn a_finished_run_is_published_without_hidden_files() {
        let base = tempfile::tempdir().unwrap();
        let run = base.path().join("checkpoints/job");
        fs::create_dir_all(run.join("best")).unwrap();
        fs::write(run.join("best/model.safetensors"), "w").unwrap();
        fs::write(run.join(".s3-sync.json"), "{}").unwrap();
        let layout = Layout { base: base.path().into(), model: base.path().join("model") };
        layout.publish(&run).unwrap();
        assert!(layout.model().join("best/model.safetensors").is_file());
        assert!(!layout.model().join(".s3-sync.json").exists());
        layout.fail("out of memory").unwrap();
        assert_eq!(fs::read_to_string(base.path().join("output/failure")).unwrap(), "out of memory\n");
    }
}
