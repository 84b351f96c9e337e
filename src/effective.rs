//! The configuration a command really runs with: every option's value and where it came from.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use layoutlm_trainer::config::InvalidConfig;
use serde_json::Value;

use crate::config_file::{self, Settings};
use crate::exit::usage;

/// Who said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A flag.
    CommandLine,
    /// An environment variable.
    Environment,
    /// The file of `--config`.
    File,
    /// Nobody.
    Default,
}

/// Every option with a value, in the order of `--help`.
#[derive(Debug, Clone, Default)]
pub struct Effective {
    options: Vec<(String, Value, Origin)>,
    /// The file of `--config`; empty without one.
    file: PathBuf,
}

impl Effective {
    /// Reads what was parsed; `file` holds the options that came from `--config`.
    pub fn of(command: &Command, given: &ArgMatches, file: &Settings) -> Self {
        let one = |arg: &Arg| {
            let name = arg.get_long().filter(|n| !["config", "help", "version"].contains(n))?;
            let id = arg.get_id().as_str();
            let raw = given.get_raw(id)?.map(|v| v.to_string_lossy().into_owned());
            let values: Vec<Value> = raw.map(|text| value(arg, text)).collect();
            let origin = match given.value_source(id)? {
                ValueSource::CommandLine => Origin::CommandLine,
                ValueSource::EnvVariable => Origin::Environment,
                _ if file.values.contains_key(name) => Origin::File,
                _ => Origin::Default,
            };
            let value = match arg.get_action() {
                ArgAction::Append => Value::Array(values),
                _ => values.into_iter().next_back()?,
            };
            Some((name.to_string(), value, origin))
        };
        let options = command.get_arguments().filter_map(one).collect();
        Self { options, file: file.path.clone() }
    }

    /// Who gave an option, named with or without its dashes, its value; nobody where it has none.
    pub fn origin(&self, flag: &str) -> Origin {
        let found = self.options.iter().find(|(name, ..)| name == bare(flag));
        found.map_or(Origin::Default, |(.., origin)| *origin)
    }

    /// All but one option.
    #[must_use]
    pub fn without(mut self, flag: &str) -> Self {
        self.options.retain(|(name, ..)| name != bare(flag));
        self
    }

    /// The caller's mistake; with the file of `--config` where the value is from there.
    pub fn mistaken(&self, error: InvalidConfig) -> anyhow::Error {
        let from_file = error.flag.split('/').any(|flag| self.origin(flag) == Origin::File);
        let error = anyhow::Error::from(error);
        usage(if from_file { error.context(config_file::flag(&self.file)) } else { error })
    }

    /// By name, for the run's record.
    pub fn values(&self) -> BTreeMap<String, Value> {
        self.options.iter().map(|(name, value, _)| (name.clone(), value.clone())).collect()
    }

    /// As a TOML file that `--config` takes, with a comment on every value that is not the default.
    pub fn toml(&self) -> String {
        let line = |(name, value, origin): &(String, Value, Origin)| {
            let value = toml::Value::try_from(value).map_or_else(|_| value.to_string(), |v| v.to_string());
            let comment = match origin {
                Origin::CommandLine => "  # flag",
                Origin::Environment => "  # environment",
                Origin::File => "  # file",
                Origin::Default => "",
            };
            format!("{name} = {value}{comment}\n")
        };
        self.options.iter().map(line).collect()
    }
}

/// An option's name without its dashes.
fn bare(flag: &str) -> &str {
    flag.trim_start_matches('-')
}

/// A number or truth value where the option takes one, else text.
fn value(arg: &Arg, text: String) -> Value {
    let kind = arg.get_value_parser().type_id();
    let is = |id: TypeId| kind == id;
    if is(TypeId::of::<bool>()) {
        return Value::Bool(!["false", "f", "no", "n", "off", "0"].contains(&text.to_lowercase().as_str()));
    }
    if [TypeId::of::<usize>(), TypeId::of::<u64>(), TypeId::of::<u16>()].into_iter().any(is)
        && let Ok(number) = text.parse::<u64>()
    {
        return number.into();
    }
    if is(TypeId::of::<f64>())
        && let Some(number) = text.parse().ok().and_then(serde_json::Number::from_f64)
    {
        return Value::Number(number);
    }
    Value::String(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::command;

    #[test]
    fn every_value_is_typed_and_says_who_gave_it() {
        let mut all = command();
        let argv = ["cli", "train", "--job-name", "7", "--lr", "6e-5", "--epochs", "3", "--no-frozen-val"];
        let matches = all.try_get_matches_from_mut(argv).unwrap();
        let (_, given) = matches.subcommand().unwrap();
        let file =
            Settings { values: [("seed".to_string(), vec!["42".to_string()])].into(), ..Settings::default() };
        let effective = Effective::of(all.find_subcommand("train").unwrap(), given, &file);
        let values = effective.values();
        assert_eq!(values["job-name"], "7");
        assert_eq!(values["lr"], 6e-5);
        assert_eq!((&values["epochs"], &values["no-frozen-val"]), (&3.into(), &true.into()));
        assert_eq!(values["merge-amounts"], false);
        assert_eq!(effective.origin("epochs"), Origin::CommandLine);
        assert_eq!((effective.origin("seed"), effective.origin("region")), (Origin::File, Origin::Default));
        let text = effective.toml();
        assert!(text.contains("job-name = \"7\"  # flag\n"), "{text}");
        let back: BTreeMap<String, Value> = toml::from_str(&text).unwrap();
        assert_eq!(back, values);
    }
}
