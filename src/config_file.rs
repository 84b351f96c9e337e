//! `--config`: options from a TOML file, or from the `run.json` of an earlier run. Flags and environment variables
//! win over it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};
use serde_json::Value;

use crate::exit::usage;

/// Option values by flag name without dashes, as they would be typed.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The file they came from.
    pub path: PathBuf,
    /// Each option's values; more than one for repeatable ones.
    pub values: BTreeMap<String, Vec<String>>,
}

/// The file named by `--config` (or `LAYOUTLM_CONFIG`) after the subcommand, looked for before anything is parsed.
pub fn named_in(argv: &[OsString], subcommand: &str) -> Option<PathBuf> {
    if argv.get(1)?.to_str()? != subcommand {
        return None;
    }
    let mut rest = argv.iter().skip(2);
    while let Some(arg) = rest.next() {
        let text = arg.to_string_lossy();
        if text == "--config" {
            return rest.next().map(PathBuf::from);
        }
        if let Some(path) = text.strip_prefix("--config=") {
            return Some(path.into());
        }
    }
    std::env::var_os("LAYOUTLM_CONFIG").filter(|p| !p.is_empty()).map(PathBuf::from)
}

/// Reads a TOML file, a `run.json`, or a run folder's `run.json`.
///
/// # Errors
/// What can't be read or is no option value, with the file.
pub fn read(path: &Path) -> anyhow::Result<Settings> {
    let path = if path.is_dir() { path.join("run.json") } else { path.to_path_buf() };
    let at = || flag(&path);
    let text = std::fs::read_to_string(&path).with_context(at).map_err(usage)?;
    let table = if path.extension().is_some_and(|e| e == "json") {
        recorded(&text).with_context(at)
    } else {
        toml::from_str::<BTreeMap<String, Value>>(&text)
            .map_err(|e| anyhow!("{}", e.to_string().lines().collect::<Vec<_>>().join(" ")))
            .with_context(at)
    };
    let mut values = BTreeMap::new();
    for (key, value) in table.map_err(usage)? {
        let name = key.replace('_', "-");
        let typed = typed(&value).ok_or_else(|| anyhow!("{}: {key}: {value} is no option value", at()));
        if values.insert(name, typed.map_err(usage)?).is_some() {
            return Err(usage(anyhow!("{}: {key} is given twice", at())));
        }
    }
    Ok(Settings { path, values })
}

/// The option that names the file, as typed.
pub fn flag(path: &Path) -> String {
    format!("--config {}", path.display())
}

/// The options an earlier run was asked for.
fn recorded(text: &str) -> anyhow::Result<BTreeMap<String, Value>> {
    let record: Value = serde_json::from_str(text)?;
    let asked =
        record.pointer("/config/asked").cloned().context("no run.json of a run from the command line")?;
    Ok(serde_json::from_value(asked)?)
}

/// A value as it would be typed: once, or in a list several times.
fn typed(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(list) => list.iter().map(typed_once).collect(),
        one => Some(vec![typed_once(one)?]),
    }
}

/// An object is an option that takes JSON.
fn typed_once(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Array(_) => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

impl Settings {
    /// Names every option by its long name, where the file has another of its names, and checks how many values it has.
    ///
    /// # Errors
    /// For a key that is no option, one that is given twice, and several values of an option that takes one.
    pub fn resolved(self, command: &Command, subcommand: &str) -> anyhow::Result<Self> {
        let wrong = |reason: String| usage(anyhow!("{}: {reason}", flag(&self.path)));
        let known = command.find_subcommand(subcommand).cloned().unwrap_or_default();
        let mut resolved = BTreeMap::new();
        for (name, values) in self.values {
            let named = |a: &&Arg| {
                a.get_long() == Some(&name) || a.get_all_aliases().is_some_and(|all| all.contains(&&*name))
            };
            let found = known.get_arguments().find(named).filter(|_| name != "config");
            let Some((arg, long)) = found.and_then(|arg| Some((arg, arg.get_long()?))) else {
                return Err(wrong(format!(
                    "there is no option --{name}; `layoutlm-cli {subcommand} --help` lists them"
                )));
            };
            if values.len() != 1 && !matches!(arg.get_action(), ArgAction::Append) {
                return Err(wrong(format!("{name}: {} values, but --{long} takes one", values.len())));
            }
            if resolved.insert(long.to_string(), values).is_some() {
                return Err(wrong(format!("--{long} is given twice")));
            }
        }
        Ok(Self { path: self.path, values: resolved })
    }

    /// Makes the values the defaults of a subcommand's options.
    pub fn apply(&self, command: Command, subcommand: &str) -> Command {
        command.mut_subcommand(subcommand, |sub| {
            sub.mut_args(|arg| match arg.get_long().and_then(|long| self.values.get(long)) {
                Some(values) => arg.required(false).default_values(values.clone()),
                None => arg,
            })
        })
    }

    /// Whether the file holds a value that was refused, so that it is to blame.
    pub fn holds(&self, error: &clap::Error) -> bool {
        let text = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.as_str()),
            _ => None,
        };
        let (Some(arg), Some(value)) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue))
        else {
            return false;
        };
        // The option is shown as its usage, such as `--epochs <EPOCHS>`.
        let end = |c: char| !c.is_ascii_alphanumeric() && c != '-';
        let name = arg.trim_start_matches('-').split(end).next().unwrap_or_default();
        self.values.get(name).is_some_and(|values| values.iter().any(|v| v == value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(args: &[&str]) -> Vec<OsString> {
        args.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_file_is_found_wherever_it_is_named_and_only_for_its_command() {
        let named = |args: &[&str]| named_in(&argv(args), "train");
        assert_eq!(named(&["cli", "train", "--epochs", "3", "--config", "a.toml"]), Some("a.toml".into()));
        assert_eq!(named(&["cli", "train", "--config=b.toml"]), Some("b.toml".into()));
        assert_eq!(named(&["cli", "evaluate", "--config", "a.toml"]), None);
    }

    #[test]
    fn toml_values_are_what_would_have_been_typed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        let text = "epochs = 3\nlr = 6e-5\nmerge_amounts = true\nallowed-label = [\"DATE\", \"TIME\"]\n\
                    [label_merges]\nAMOUNT = [\"TAX\"]\n";
        std::fs::write(&path, text).unwrap();
        let values = read(&path).unwrap().values;
        assert_eq!(values["epochs"], ["3"]);
        assert_eq!(values["lr"][0].parse::<f64>().unwrap(), 6e-5);
        assert_eq!(values["merge-amounts"], ["true"]);
        assert_eq!(values["allowed-label"], ["DATE", "TIME"]);
        assert_eq!(values["label-merges"], [r#"{"AMOUNT":["TAX"]}"#]);
        assert_eq!(typed(&serde_json::json!([["DATE"]])), None);
        std::fs::write(&path, "epochs = ").unwrap();
        let said = format!("{:#}", read(&path).unwrap_err());
        assert!(said.contains("c.toml") && !said.contains('\n'), "{said}");
    }

    #[test]
    fn options_go_by_their_long_names_and_take_as_many_values_as_when_typed() {
        let resolved = |values: &[(&str, &[&str])]| {
            let typed = |v: &[&str]| v.iter().map(ToString::to_string).collect();
            let values = values.iter().map(|(name, v)| (name.to_string(), typed(v))).collect();
            Settings { path: "c.toml".into(), values }.resolved(&crate::arguments::command(), "train")
        };
        let known = resolved(&[("val-keys", &["a"]), ("allowed-label", &["DATE", "TIME"])]).unwrap();
        assert_eq!(known.values.keys().collect::<Vec<_>>(), ["allowed-label", "val-keys-s3"]);
        let said = |values| resolved(values).unwrap_err().to_string();
        assert_eq!(said(&[("lr", &["1", "2"])]), "--config c.toml: lr: 2 values, but --lr takes one");
        let twice = said(&[("val-keys", &["a"]), ("val-keys-s3", &["b"])]);
        assert_eq!(twice, "--config c.toml: --val-keys-s3 is given twice");
        assert!(said(&[("config", &["a"])]).contains("there is no option --config;"));
    }
}
