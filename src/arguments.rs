//! From the command line to typed arguments: switches that can be turned off again, and defaults from `--config`.

use std::ffi::OsString;

use clap::builder::{BoolishValueParser, Resettable};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches, Parser};

use crate::commands;
use crate::config_file::{self, Settings};
use crate::effective::Effective;
use crate::exit::usage;

/// Train, export and serve LayoutLM for receipts.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 a check or proof did not hold, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "layoutlm-cli", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: commands::Command,
}

/// The command that reads `--config`.
const CONFIGURABLE: &str = "train";

/// Parses; help, versions and wrong usage end the process here.
///
/// # Errors
/// When the file of `--config` can't be used.
pub fn parse(argv: Vec<OsString>) -> anyhow::Result<Cli> {
    let mut command = command();
    let mut from_file = Settings::default();
    if let Some(path) = config_file::named_in(&argv, CONFIGURABLE) {
        from_file = config_file::read(&path)?.resolved(&command, CONFIGURABLE)?;
        command = from_file.apply(command, CONFIGURABLE);
    }
    let matches = command.try_get_matches_from_mut(argv).unwrap_or_else(|e| complain(&e, &from_file));
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| complain(&e, &from_file));
    let effective = |path: &[&str]| -> Option<Effective> {
        let mut place = (&command, &matches);
        for name in path {
            place = (place.0.find_subcommand(name)?, place.1.subcommand_matches(name)?);
        }
        Some(Effective::of(place.0, place.1, &from_file))
    };
    match &mut cli.command {
        commands::Command::Train(args) => args.effective = effective(&[CONFIGURABLE]).unwrap_or_default(),
        commands::Command::Data(commands::data::Command::Snapshot(args)) => {
            args.effective = effective(&["data", "snapshot"]).unwrap_or_default();
        }
        _ => {}
    }
    Ok(cli)
}

/// The whole command line as it is parsed.
pub fn command() -> Command {
    Cli::command()
        .mut_subcommand(CONFIGURABLE, adapted)
        .mut_subcommand("data", |data| data.mut_subcommand("snapshot", adapted))
}

fn adapted(command: Command) -> Command {
    command.mut_args(|arg| said_nothing(switch_off(arg)))
}

/// A variable that is set to nothing says nothing: compose files pass those of the host on whether they are set or not.
fn said_nothing(arg: Arg) -> Arg {
    match arg.get_env().and_then(std::env::var_os) {
        Some(value) if value.is_empty() => arg.env(Resettable::Reset),
        _ => arg,
    }
}

/// Whether `train` has an option of this long name.
pub fn is_train_flag(name: &str) -> bool {
    command().find_subcommand(CONFIGURABLE).is_some_and(|train| {
        train.get_arguments().any(|arg| arg.get_long() == Some(name) && name != "config")
    })
}

/// Lets `--flag` also be written `--flag=false`, so that a file's or the environment's `true` can be overruled.
fn switch_off(arg: Arg) -> Arg {
    match arg.get_action() {
        ArgAction::SetTrue => switch(arg),
        _ => arg,
    }
}

fn switch(arg: Arg) -> Arg {
    arg.action(ArgAction::Set)
        .value_parser(BoolishValueParser::new())
        .num_args(0..=1)
        .require_equals(true)
        .default_value("false")
        .default_missing_value("true")
        .value_name("BOOL")
        .hide_default_value(true)
        .hide_possible_values(true)
}

/// Reads flags of `train` that another command hands on.
///
/// # Errors
/// What is wrong with them, as the caller's mistake.
pub fn train(flags: &[String]) -> anyhow::Result<commands::TrainArgs> {
    let wrong = |e: clap::Error| {
        let said = one_line(&e);
        usage(anyhow::anyhow!("flags of train: {}", said.strip_prefix("error: ").unwrap_or(&said)))
    };
    let mut command = command();
    let argv = ["layoutlm-cli", CONFIGURABLE].into_iter().map(String::from).chain(flags.iter().cloned());
    let matches = command.try_get_matches_from_mut(argv).map_err(wrong)?;
    let parsed = Cli::from_arg_matches(&matches).map_err(wrong)?;
    match (parsed.command, matches.subcommand(), command.find_subcommand(CONFIGURABLE)) {
        (commands::Command::Train(mut args), Some((_, given)), Some(train)) => {
            args.effective = Effective::of(train, given, &Settings::default());
            Ok(*args)
        }
        _ => Err(usage(anyhow::anyhow!("flags of train: they name another command"))),
    }
}

/// Prints a parse error on one line, with the file of `--config` where that holds the value, and help as it is.
fn complain(error: &clap::Error, from_file: &Settings) -> ! {
    let full = [
        ErrorKind::DisplayHelp,
        ErrorKind::DisplayVersion,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
    ];
    if full.contains(&error.kind()) {
        error.exit();
    }
    let mut said = one_line(error);
    if from_file.holds(error) {
        said = said.replacen("error: ", &format!("error: {}: ", config_file::flag(&from_file.path)), 1);
    }
    eprintln!("{said}");
    crate::sagemaker::refused(&said);
    std::process::exit(error.exit_code());
}

/// What is wrong, without the usage that follows it.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:"))
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .collect();
    said.join(" ")
}
