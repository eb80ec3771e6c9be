//! Configuration files: the values in them become the defaults of the command line's options, so
//! that a flag and an environment variable win over a file by clap's own rules.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Arg, ArgAction, Command, builder::OsStr as ClapStr, error::ErrorKind};
use toml::{Table, Value};

use crate::usage::UsageError;
use netglass_model::printable;

/// The environment variable that names the file.
pub(crate) const VARIABLE: &str = "NETGLASS_CONFIG";

const SYSTEM_FILE: &str = "/etc/netglass/netglass.toml";

/// `command` with the values of the configuration files as its defaults. `arguments` are searched
/// for the file's name only.
pub(crate) fn configure(mut command: Command, arguments: &[OsString]) -> anyhow::Result<Command> {
    if let Some(file) = named_file(arguments) {
        let text = fs::read_to_string(&file)
            .with_context(|| format!("reading the configuration file {}", file.display()))?;
        return apply(command, &file, &text).map_err(Into::into);
    }
    for file in default_files() {
        match fs::read_to_string(&file) {
            Ok(text) => command = apply(command, &file, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // A home that this user may not enter holds no configuration of theirs.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("reading the configuration file {}", file.display()));
            }
        }
    }
    Ok(command)
}

/// The file that the arguments or the environment name. It is needed before the command line can
/// be understood, since that depends on it.
fn named_file(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter().skip(1).take_while(|argument| *argument != "--");
    let mut named = None;
    while let Some(argument) = arguments.next() {
        if argument == "--config" {
            named = arguments.next().map(PathBuf::from).or(named);
        } else if let Some(file) = strip_prefix(argument, "--config=") {
            named = Some(PathBuf::from(file));
        }
    }
    named.or_else(|| env::var_os(VARIABLE).map(PathBuf::from))
}

fn strip_prefix<'a>(text: &'a OsStr, prefix: &str) -> Option<&'a OsStr> {
    use std::os::unix::ffi::OsStrExt as _;
    text.as_bytes().strip_prefix(prefix.as_bytes()).map(OsStr::from_bytes)
}

/// The files that are read when none is named; a later one wins over an earlier one.
fn default_files() -> Vec<PathBuf> {
    let user = user_directory("XDG_CONFIG_HOME", ".config");
    let user_file = user.map(|directory| directory.join("netglass/netglass.toml"));
    [Some(PathBuf::from(SYSTEM_FILE)), user_file].into_iter().flatten().collect()
}

/// A base directory of this user, after the XDG Base Directory Specification: `variable` counts
/// only where it is an absolute path.
pub(crate) fn user_directory(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    env::var_os(variable)
        .and_then(absolute)
        .or_else(|| env::var_os("HOME").and_then(absolute).map(|home| home.join(below_home)))
}

/// Makes the values of one file the defaults of `command`.
fn apply(mut command: Command, file: &Path, text: &str) -> Result<Command, UsageError> {
    let wrong = |what: String| UsageError(format!("{}: {what}", file.display()));
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| wrong(error.to_string().trim_end().to_owned()))?;
    for (key, value) in &table {
        if let Value::Table(options) = value {
            let Some(verb) = command.find_subcommand(key) else {
                return Err(wrong(unknown("table", key, &verb_names(&command))));
            };
            let verb = verb.get_name().to_owned();
            for (option, value) in options {
                let path = format!("{key}.{option}");
                command = set_default(command, Some(&verb), option, value, &path).map_err(wrong)?;
            }
        } else {
            command = set_default(command, None, key, value, key).map_err(wrong)?;
        }
    }
    Ok(command)
}

/// Makes `value` the default of one option, of `verb` or of every verb.
fn set_default(
    command: Command,
    verb: Option<&str>,
    key: &str,
    value: &Value,
    path: &str,
) -> Result<Command, String> {
    let owner = verb.map_or(Some(&command), |verb| command.find_subcommand(verb));
    let options: Vec<&Arg> = owner.into_iter().flat_map(configurable).collect();
    let Some(option) = options.iter().find(|option| option.get_long() == Some(key)) else {
        let names: Vec<&str> = options.iter().filter_map(|option| option.get_long()).collect();
        let mut message = unknown("key", path, &names);
        if verb.is_none() {
            message.push_str("; options of one verb belong into a table of its name");
        }
        return Err(message);
    };
    let values = default_values(option, value)
        .map_err(|allowed| format!("{} must be {allowed}, not {}", printable(path), kind(value)))?;
    for value in &values {
        check(&command, verb, option, value)
            .map_err(|reason| format!("{}: '{}': {reason}", printable(path), printable(value)))?;
    }
    let id = option.get_id().clone();
    let values: Vec<ClapStr> = values.into_iter().map(ClapStr::from).collect();
    let with_default = |option: Arg| option.required(false).default_values(values);
    Ok(match verb {
        Some(verb) => command.mut_subcommand(verb, |verb| verb.mut_arg(id, with_default)),
        None => command.mut_arg(id, with_default),
    })
}

/// The options of a command that a file may hold.
fn configurable(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_opts().filter(|option| {
        let shows_something = matches!(
            option.get_action(),
            ArgAction::Help | ArgAction::HelpLong | ArgAction::HelpShort | ArgAction::Version
        );
        !shows_something && option.get_long() != Some("config")
    })
}

/// The texts by which clap knows `value`, or what is allowed instead.
fn default_values(option: &Arg, value: &Value) -> Result<Vec<String>, &'static str> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Datetime(time) => Some(time.to_string()),
        Value::Boolean(_) | Value::Array(_) | Value::Table(_) => None,
    };
    match (option.get_action(), value) {
        (ArgAction::SetTrue | ArgAction::SetFalse, Value::Boolean(flag)) => {
            Ok(vec![flag.to_string()])
        }
        (ArgAction::SetTrue | ArgAction::SetFalse, _) => Err("true or false"),
        (ArgAction::Append, Value::Array(values)) => {
            values.iter().map(scalar).collect::<Option<_>>().ok_or("an array of texts or numbers")
        }
        (ArgAction::Append, value) => {
            scalar(value).map(|text| vec![text]).ok_or("a text, a number, or an array of them")
        }
        (_, value) => scalar(value).map(|text| vec![text]).ok_or("a text or a number"),
    }
}

/// Whether the option takes `value`, found out by giving it on a command line.
fn check(command: &Command, verb: Option<&str>, option: &Arg, value: &str) -> Result<(), String> {
    if !option.get_action().takes_values() {
        return Ok(());
    }
    let flag = format!("--{}={value}", option.get_long().unwrap_or_default());
    let line = [Some("netglass"), verb, Some(&flag)].into_iter().flatten();
    let Err(error) = command.clone().try_get_matches_from(line) else { return Ok(()) };
    match error.kind() {
        ErrorKind::InvalidValue => {
            let names: Vec<String> = option
                .get_possible_values()
                .iter()
                .map(|possible| possible.get_name().to_owned())
                .collect();
            Err(if names.is_empty() {
                "a value is missing".to_owned()
            } else {
                format!("allowed are {}", names.join(", "))
            })
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidUtf8 => {
            let source = std::error::Error::source(&error);
            Err(source.map_or_else(|| "not understood".to_owned(), ToString::to_string))
        }
        // Whatever else is wrong with this made-up line, it is not the value.
        _ => Ok(()),
    }
}

fn verb_names(command: &Command) -> Vec<&str> {
    command.get_subcommands().map(Command::get_name).collect()
}

fn unknown(what: &str, name: &str, allowed: &[&str]) -> String {
    let name = printable(name);
    if allowed.is_empty() {
        return format!("unknown {what} '{name}'; none is allowed here");
    }
    format!("unknown {what} '{name}'; allowed here: {}", allowed.join(", "))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a time",
        Value::Array(_) => "an array",
        Value::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests;
