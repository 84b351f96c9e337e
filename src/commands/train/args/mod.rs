//! The options of `train`, by subject, and the checked configuration they become.

mod cloud;
mod data;
mod device;
mod encoding;
mod labels;
mod learning;
mod start;

pub use data::DataArgs;
pub use device::DeviceArgs;
pub use encoding::EncodingArgs;
pub use labels::LabelArgs;
pub use learning::LearningArgs;
pub use start::StartArgs;

use std::collections::BTreeSet;
use std::path::PathBuf;

use layoutlm_trainer::config::TrainConfig;

use crate::effective::Effective;

/// Flags of `train`.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Args {
    /// Names the run and its folder.
    #[arg(long, env = "LAYOUTLM_JOB_NAME")]
    pub job_name: String,
    /// Options from a TOML file, a run.json or a run's folder; flags and environment variables win over it.
    #[arg(long, env = "LAYOUTLM_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub labels: LabelArgs,
    #[command(flatten)]
    pub encoding: EncodingArgs,
    #[command(flatten)]
    pub start: StartArgs,
    #[command(flatten)]
    pub learning: LearningArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    /// Every option with its value and who gave it.
    #[arg(skip)]
    pub effective: Effective,
}

/// Where results go.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Folder that holds runs.
    #[arg(long, env = "LAYOUTLM_RUNS", default_value = "runs")]
    pub output_dir: PathBuf,
    /// Bucket, or s3://bucket/prefix, that the run is copied to as it goes on.
    #[arg(long, env = "LAYOUTLM_TRAINING_BUCKET", value_name = "BUCKET")]
    pub output_s3_path: Option<String>,
    /// Start from the checkpoints of a run elsewhere: an s3:// URI, or a folder.
    #[arg(long, env = "LAYOUTLM_RESUME_FROM_S3", value_name = "URI")]
    pub resume_from_s3: Option<String>,
    /// Checkpoints kept besides the best.
    #[arg(long, env = "LAYOUTLM_KEEP_CHECKPOINTS", default_value_t = 2)]
    pub keep_checkpoints: usize,
    /// Don't write each epoch's held-out evaluation to epochs.json.
    #[arg(long, env = "LAYOUTLM_NO_EVAL_HELDOUT_WINDOWED")]
    pub no_eval_heldout_windowed: bool,
    /// Export the best checkpoint as an ONNX bundle at the end, with its proof, into the run's folder.
    #[arg(long, env = "LAYOUTLM_EXPORT_ONNX")]
    pub export_onnx: bool,
    /// ONNX Runtime library for --export-onnx, or the folder it is in [default: searched]
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    pub onnxruntime: Option<PathBuf>,
    /// Freeze the encoded data set under this folder, named by its content.
    #[arg(long, env = "LAYOUTLM_DATASET_SNAPSHOT_SAVE", value_name = "FOLDER")]
    pub dataset_snapshot_save: Option<PathBuf>,
}

impl Args {
    /// The checked configuration; `known` are the labels that exist.
    pub fn to_config(&self, known: &BTreeSet<String>) -> anyhow::Result<TrainConfig> {
        let config = TrainConfig {
            job_name: self.job_name.clone(),
            output_dir: self.output.output_dir.clone(),
            seed: self.data.seed,
            validation_status: self.data.status(),
            scheme: self.labels.scheme(known, self.encoding.loader())?,
            o_entity_ratio: Some(self.labels.o_entity_ratio),
            eval_heldout_windowed: !self.output.no_eval_heldout_windowed,
            keep_checkpoints: self.output.keep_checkpoints,
            dataset_snapshot_save: self.output.dataset_snapshot_save.clone(),
            asked: self.effective.values(),
            ..TrainConfig::default()
        };
        self.encoding.apply(self.learning.apply(self.device.apply(self.start.apply(config)?)))
    }
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;
    use crate::arguments::command;
    use crate::commands::Command;

    fn parse(argv: &[&str]) -> Args {
        let all = ["layoutlm-cli", "train", "--job-name", "a"].iter().chain(argv);
        let matches = command().try_get_matches_from(all).unwrap();
        match crate::arguments::Cli::from_arg_matches(&matches).unwrap().command {
            Command::Train(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_flags_the_configuration_is_the_librarys_default() {
        let known = layoutlm_core::label::core_labels();
        let args = parse(&["--scratch-hidden", "8"]);
        let expected =
            TrainConfig { job_name: "a".into(), ..args.start.apply(TrainConfig::default()).unwrap() };
        assert_eq!(args.to_config(&known).unwrap(), expected);
    }

    #[test]
    fn a_switch_can_be_turned_off_again() {
        assert!(parse(&["--merge-amounts"]).labels.merge_amounts);
        assert!(!parse(&["--merge-amounts=false"]).labels.merge_amounts);
        assert!(parse(&["--merge-amounts=1"]).labels.merge_amounts);
        assert!(!parse(&["--group-by-length=off"]).learning.group_by_length);
    }

    #[test]
    fn every_flag_has_an_environment_variable_and_a_line_of_help() {
        let all = command();
        for arg in all.find_subcommand("train").unwrap().get_arguments() {
            let name = arg.get_long().unwrap_or_default();
            if ["help", "version"].contains(&name) {
                continue;
            }
            assert!(arg.get_env().is_some(), "--{name} has no environment variable");
            assert!(arg.get_help().is_some(), "--{name} has no help");
        }
    }

    /// The table of docs/training.md, made from the flags themselves.
    fn table() -> String {
        let all = command();
        let text = |value: &std::ffi::OsStr| value.to_string_lossy().into_owned();
        let row = |arg: &clap::Arg| {
            let name = arg.get_long().filter(|n| !["help", "version"].contains(n))?;
            let aliases: String =
                arg.get_visible_aliases().unwrap_or_default().iter().map(|a| format!(", `--{a}`")).collect();
            let values: Vec<String> = arg.get_default_values().iter().map(|v| text(v)).collect();
            let default = match values.join(",") {
                none if none.is_empty() => String::new(),
                values => format!("`{values}`"),
            };
            let variable = arg.get_env().map(text).unwrap_or_default();
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let help = help.replace('\n', " ").replace('|', "\\|").replace('<', "\\<");
            Some(format!(
                "| `--{name}`{aliases} | `{variable}` | {default} | {} |\n",
                help.trim_end_matches('.')
            ))
        };
        let rows: String = all.find_subcommand("train").unwrap().get_arguments().filter_map(row).collect();
        format!("| flag | variable | default | meaning |\n|---|---|---|---|\n{rows}")
    }

    /// With UPDATE_DOCS set, writes the table instead of checking it.
    #[test]
    fn the_documentation_lists_every_flag_as_it_is() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/training.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (before, rest) = text.split_once("<!-- flags -->\n").unwrap();
        let (found, after) = rest.split_once("<!-- end of flags -->").unwrap();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            let new = format!("{before}<!-- flags -->\n{}<!-- end of flags -->{after}", table());
            std::fs::write(path, new).unwrap();
            return;
        }
        assert!(
            found == table(),
            "docs/training.md: run `UPDATE_DOCS=1 cargo test --release --bin layoutlm-cli`"
        );
    }
}
