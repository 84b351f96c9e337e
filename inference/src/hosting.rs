//! Starting as platforms start a container: `layoutlm-server serve` for Amazon SageMaker, and `MODEL_URI` for whoever
//! names the model by that variable.
//!
//! For SageMaker the same options with other defaults: the bundle where SageMaker unpacks a model, every address, and the port it asks
//! for in `SAGEMAKER_BIND_TO_PORT`.

use std::path::{Path, PathBuf};

use clap::Command;
use layoutlm_core::bundle::MANIFEST_FILE;

/// Where SageMaker unpacks `model.tar.gz`.
pub const MODEL_FOLDER: &str = "/opt/ml/model";

/// The argument SageMaker gives a container.
pub const ARGUMENT: &str = "serve";

/// The variable that many platforms name a model by: a folder or an `s3://` address.
pub const MODEL_URI: &str = "MODEL_URI";

/// Reads the bundle's address from `MODEL_URI` in place of `LAYOUTLM_BUNDLE`, which an image may have set to its own
/// folder. An empty value counts as none; the flag `--bundle` wins over both.
#[must_use]
pub fn named_by_platform(command: Command) -> Command {
    match std::env::var_os(MODEL_URI) {
        Some(uri) if !uri.is_empty() => command.mut_arg("bundle", |bundle| bundle.env(MODEL_URI)),
        _ => command,
    }
}

/// Gives the server's command the defaults of hosting.
#[must_use]
pub fn hosted(command: Command) -> Command {
    command
        .mut_arg("bundle", |bundle| bundle.required(false).default_value(MODEL_FOLDER))
        .mut_arg("host", |host| host.default_value("0.0.0.0"))
        .mut_arg("port", |port| port.env("SAGEMAKER_BIND_TO_PORT"))
}

/// The bundle in a folder: the folder itself, or the only folder in it that is one, as `tar` of a folder packs it.
pub fn locate(folder: &Path) -> PathBuf {
    let is_bundle = |folder: &Path| folder.join(MANIFEST_FILE).is_file();
    if is_bundle(folder) {
        return folder.to_path_buf();
    }
    let inner = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut bundles = inner.filter(|path| is_bundle(path));
    match (bundles.next(), bundles.next()) {
        (Some(only), None) => only,
        _ => folder.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_folder_is_found_and_two_are_not_guessed_between() {
        let folder = tempfile::tempdir().unwrap();
        let inner = |name: &str| {
            let inner = folder.path().join(name);
            std::fs::create_dir(&inner).unwrap();
            std::fs::write(inner.join(MANIFEST_FILE), "{}").unwrap();
            inner
        };
        assert_eq!(locate(folder.path()), folder.path());
        let first = inner("bundle");
        assert_eq!(locate(folder.path()), first);
        inner("other");
        assert_eq!(locate(folder.path()), folder.path());
    }
}
