//! `--config`: options from a TOML file, or from the `run.json` of an earlier run. Flags and environment variables
//! win over it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Command;
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
    let at = || format!("--config {}", path.display());
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

/// The options an earlier run was asked for.
fn recorded(text: &str) -> anyhow::Result<BTreeMap<String, Value>> {
    let record: Value = serde_json::from_str(text)?;
    let asked =
        record.pointer("/config/asked").cloned().context("no run.json of a run from the command line")?;
    Ok(serde_json::from_value(asked)?)
}

/// A value as it would be typed; an object is an option that takes JSON.
fn typed(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Null => None,
        Value::Array(list) => list.iter().map(|v| typed(v)?.pop()).collect(),
        Value::String(text) => Some(vec![text.clone()]),
        other => Some(vec![other.to_string()]),
    }
}

/// Makes the file's values the defaults of a subcommand's options.
///
/// # Errors
/// For a key that is no option.
pub fn apply(command: Command, subcommand: &str, settings: &Settings) -> anyhow::Result<Command> {
    let known = command.find_subcommand(subcommand).cloned().unwrap_or_default();
    let mut defaults = Vec::new();
    for (name, values) in &settings.values {
        let named = |a: &&clap::Arg| {
            a.get_long() == Some(name) || a.get_all_aliases().is_some_and(|all| all.contains(&name.as_str()))
        };
        match known.get_arguments().find(named).filter(|_| name != "config") {
            Some(arg) => defaults.push((arg.get_id().to_string(), values.clone())),
            None => {
                let path = settings.path.display();
                return Err(usage(anyhow!(
                    "--config {path}: there is no option --{name}; `layoutlm-cli {subcommand} --help` lists them"
                )));
            }
        }
    }
    Ok(command.mut_subcommand(subcommand, |sub| {
        defaults
            .into_iter()
            .fold(sub, |sub, (id, values)| sub.mut_arg(id, |arg| arg.required(false).default_values(values)))
    }))
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
        std::fs::write(&path, "epochs = ").unwrap();
        let said = format!("{:#}", read(&path).unwrap_err());
        assert!(said.contains("c.toml") && !said.contains('\n'), "{said}");
    }
}
