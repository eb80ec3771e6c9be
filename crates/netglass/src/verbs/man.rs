//! `netglass man`: the man pages, made from the command line's own description.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man;

use crate::cli::Cli;

/// Writes the man pages
///
/// Without a directory, the main page goes to standard output.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  netglass man | man -l -
  netglass man /usr/local/share/man/man1")]
pub(crate) struct Arguments {
    /// Directory for the pages, one for netglass and one for each verb; made where it is missing
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Writes the pages.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    match &arguments.directory {
        None => Ok(io::stdout().lock().write_all(&page(command)?)?),
        Some(directory) => write_pages(&command, directory),
    }
}

fn write_pages(command: &Command, directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("creating the directory {}", directory.display()))?;
    let mut out = io::stdout().lock();
    for command in named(command.clone(), command.get_name().to_owned()) {
        let file = directory.join(format!("{}.1", command.get_name()));
        fs::write(&file, page(command)?)
            .with_context(|| format!("writing the man page {}", file.display()))?;
        writeln!(out, "{}", file.display())?;
    }
    Ok(())
}

/// A command and all verbs below it, each with the name of its page.
fn named(command: Command, name: String) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for verb in command.get_subcommands() {
        let below = named(verb.clone(), format!("{name}-{}", verb.get_name()));
        commands.extend(below.into_iter().map(|verb| verb.version(env!("CARGO_PKG_VERSION"))));
    }
    commands.insert(0, command.display_name(name.clone()).name(name));
    commands
}

fn page(command: Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}
