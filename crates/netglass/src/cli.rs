//! The command line: its verbs, what all of them share, and how the program ends.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, error::ErrorKind};

use crate::{config, database::DatabaseArguments, secrets, usage::UsageError, verbs};

/// Shows who talks to whom on this host, and on a fleet of hosts.
#[derive(Debug, Parser)]
#[command(
    name = "netglass",
    version,
    arg_required_else_help = true,
    override_usage = "netglass VERB [OPTIONS]",
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    max_term_width = 100,
    after_help = "\
Every option can also be given as its environment variable, or by its long name in a TOML file: \
options of every verb at the top, those of one verb in a table of its name. A flag wins over the \
environment, the environment over the file, the file over the default.

Exit status: 0 done, 1 failed, 2 wrong usage.

Examples:
  netglass up                           probe this host and show its live map
  netglass probe --once                 take one look at the sockets of this host
  netglass look --depth 3               what this host depends on, and who depends on it
  netglass look 10.0.0.10 --since 1d    the same of one address, for the last day
  netglass capture -i eth0              who exchanges how much with whom, from when to when
  netglass stream -- wget example.org   every network system call of a command
  netglass monitor --kernel             why packets are dropped, and whose"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,

    #[arg(long, global = true, env = config::VARIABLE, value_name = "FILE")]
    #[arg(help = "\
        File with the options' defaults [default: /etc/netglass/netglass.toml and over it \
        $XDG_CONFIG_HOME/netglass/netglass.toml, where they exist]")]
    #[arg(hide_env_values = true, help_heading = "Options of every verb")]
    pub(crate) config: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What can be done; each in its own file under `verbs/`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Probe(verbs::probe::Arguments),
    Up(verbs::up::Arguments),
    Look(verbs::look::Arguments),
    Diff(verbs::diff::Arguments),
    Capture(Box<verbs::capture::Arguments>),
    #[cfg(feature = "ebpf")]
    Stream(Box<verbs::stream::Arguments>),
    Monitor(Box<verbs::monitor::Arguments>),
    #[cfg(feature = "trace")]
    Trace(Box<verbs::trace::Arguments>),
    #[cfg(all(feature = "capture", feature = "ebpf"))]
    Explain(verbs::explain::Arguments),
    Status(verbs::status::Arguments),
    #[command(visible_alias = "create-schema")]
    CreateScheme(verbs::create_scheme::Arguments),
    Doctor(verbs::doctor::Arguments),
    Man(verbs::man::Arguments),
    Completions(verbs::completions::Arguments),
}

/// Runs the program with its arguments, the program's name first.
pub(crate) fn main(arguments: Vec<OsString>) -> ExitCode {
    #[cfg(feature = "trace")]
    let arguments = secrets::unmask(arguments);
    if let Err(error) = secrets::hide(&arguments) {
        return end(Err(error));
    }
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(Refusal::Clap(error)) => {
            // Nobody is left to be told when even this cannot be written.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
        Err(Refusal::Config(error)) => return end(Err(error)),
    };
    end(run(&cli))
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.verb {
        Verb::Probe(arguments) => verbs::probe::run(arguments, &cli.database)?,
        Verb::Up(arguments) => verbs::up::run(arguments, &cli.database)?,
        Verb::Look(arguments) => verbs::look::run(arguments, &cli.database)?,
        Verb::Capture(arguments) => verbs::capture::run(arguments, &cli.database)?,
        #[cfg(feature = "ebpf")]
        Verb::Stream(arguments) => return verbs::stream::run(arguments, &cli.database),
        Verb::Monitor(arguments) => verbs::monitor::run(arguments)?,
        #[cfg(feature = "trace")]
        Verb::Trace(arguments) => return verbs::trace::run(arguments),
        #[cfg(all(feature = "capture", feature = "ebpf"))]
        Verb::Explain(arguments) => verbs::explain::run(arguments)?,
        Verb::Diff(arguments) => verbs::diff::run(arguments, &cli.database)?,
        Verb::Status(arguments) => return verbs::status::run(arguments, &cli.database),
        Verb::CreateScheme(arguments) => verbs::create_scheme::run(arguments, &cli.database)?,
        Verb::Doctor(arguments) => return verbs::doctor::run(arguments),
        Verb::Man(arguments) => verbs::man::run(arguments)?,
        Verb::Completions(arguments) => verbs::completions::run(arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Why the command line was not understood.
enum Refusal {
    Clap(clap::Error),
    Config(anyhow::Error),
}

/// Understands the arguments, with the configuration files' values as defaults.
fn parse(arguments: Vec<OsString>) -> Result<Cli, Refusal> {
    let command = match config::configure(Cli::command(), &arguments) {
        Ok(command) => command,
        Err(error) => {
            // Help must not depend on a file that only help explains how to mend.
            return match Cli::command().try_get_matches_from(arguments) {
                Err(help) if is_help(&help) => Err(Refusal::Clap(help)),
                _ => Err(Refusal::Config(error)),
            };
        }
    };
    let with_usage = |error: clap::Error| error.format(&mut command.clone());
    command
        .clone()
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches).map_err(with_usage))
        .map_err(Refusal::Clap)
}

fn is_help(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

/// Reports what went wrong, if anything did, and gives the exit status.
fn end(result: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match result {
        Ok(status) => return status,
        Err(error) => error,
    };
    if is_broken_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    // Nobody is left to be told when even this cannot be written.
    let _ = writeln!(io::stderr().lock(), "netglass: {error:#}");
    ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
}

/// Whether the reader of our output has seen enough, as `head` does: no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_has_an_environment_variable() {
        let mut cli = Cli::command();
        cli.build();
        for verb in cli.get_subcommands().filter(|verb| verb.get_name() != "help") {
            for option in verb
                .get_opts()
                .filter(|option| !matches!(option.get_id().as_str(), "help" | "version"))
            {
                let variable = option.get_env().map(|name| name.to_string_lossy().into_owned());
                let name = match (verb.get_name(), option.get_long()) {
                    // Its values are others than those of the answer's format.
                    ("probe", Some("format")) => Some("ledger-format"),
                    ("capture", Some("format")) => Some("capture-format"),
                    // Endpoints, not moments, and a list.
                    ("monitor", Some("from")) => Some("monitor-from"),
                    ("monitor", Some("to")) => Some("monitor-to"),
                    ("monitor", Some("port")) => Some("monitor-port"),
                    // They go with --kernel alone.
                    ("monitor", Some("interface")) => Some("monitor-interface"),
                    ("monitor", Some("netns")) => Some("monitor-netns"),
                    ("diff", Some("format")) => Some("diff-format"),
                    ("doctor", Some("format")) => Some("doctor-format"),
                    ("status", Some("format")) => Some("status-format"),
                    ("stream", Some("format")) => Some("stream-format"),
                    // A name or address to send from, a file for a body, and flags.
                    ("trace", Some("interface")) => Some("trace-interface"),
                    ("trace", Some("output")) => Some("trace-output"),
                    ("trace", Some("ipv4")) => Some("trace-ipv4"),
                    ("trace", Some("ipv6")) => Some("trace-ipv6"),
                    ("trace", Some("verbose")) => Some("trace-verbose"),
                    ("trace", Some("interval")) => Some("trace-interval"),
                    ("trace", Some("format")) => Some("trace-format"),
                    // A dot cannot be part of a variable's name.
                    ("trace", Some("http1.1")) => Some("http1-1"),
                    (_, name) => name,
                };
                let expected =
                    name.map(|name| format!("NETGLASS_{}", name.replace('-', "_").to_uppercase()));
                assert_eq!(variable, expected, "netglass {} {option}", verb.get_name());
            }
        }
    }

    #[test]
    fn the_help_of_every_verb_has_examples() {
        for verb in Cli::command().get_subcommands() {
            let examples = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(examples.contains("Examples:\n  netglass "), "{}", verb.get_name());
        }
    }
}
