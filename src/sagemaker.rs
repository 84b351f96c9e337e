//! The program as a SageMaker training container: started as `layoutlm-cli train`, it takes its flags from the
//! hyperparameters, publishes the finished run as the model, and says why it failed where SageMaker looks.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use layoutlm_aws::sagemaker::{Layout, arguments};

use crate::cloud::sort;
use crate::exit::{Interrupted, sentence};

/// Starts the program anew with the flags and variables that hyperparameters stand for, where it was started as a
/// training container is.
///
/// # Errors
/// When hyperparameters can't be read, or the program can't be started.
pub fn take_over(argv: &[OsString]) -> anyhow::Result<()> {
    let bare = argv.len() == 2 && argv.get(1).is_some_and(|command| command == "train");
    let Some(layout) = Layout::detect().filter(|_| bare) else { return Ok(()) };
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let call = arguments(&layout, &environment, crate::arguments::is_train_flag).map_err(sort)?;
    for name in &call.unknown {
        eprintln!("warning: the hyperparameter {name} means nothing to this trainer and is passed over");
    }
    let program = std::env::current_exe().context("this program's own path is unknown")?;
    let error = Command::new(program).arg("train").args(call.flags).envs(call.env).exec();
    Err(error).context("the program could not be started with the hyperparameters")
}

/// Leaves what SageMaker expects of a run that ended: the model, or the reason of the failure.
pub fn conclude(result: &anyhow::Result<()>, run_dir: &Path) -> anyhow::Result<()> {
    let Some(layout) = Layout::detect() else { return Ok(()) };
    match result {
        // Only the host that leads has the run.
        Ok(()) if !run_dir.is_dir() => Ok(()),
        Ok(()) => layout.publish(run_dir).map_err(sort),
        // Stopped from outside: the job is started again and goes on.
        Err(error) if error.is::<Interrupted>() => Ok(()),
        Err(error) => layout.fail(&sentence(error)).map_err(sort),
    }
}

/// Says where SageMaker looks that the flags were wrong; elsewhere nothing.
pub fn refused(reason: &str) {
    if let Some(layout) = Layout::detect() {
        // It is said on stderr as well.
        let _ = layout.fail(reason);
    }
}

/// What SageMaker says of the hosts of a training job, in a training container.
///
/// # Errors
/// When the file can't be read.
pub fn resource_config() -> anyhow::Result<Option<String>> {
    let Some(path) = Layout::detect().map(|layout| layout.resource_config()).filter(|p| p.is_file()) else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(Some(text))
}

/// True in a training container.
pub fn is_container() -> bool {
    Layout::detect().is_some()
}
