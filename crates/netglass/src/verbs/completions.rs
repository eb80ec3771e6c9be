//! `netglass completions`: what a shell needs to complete the command line.

use std::io::{self, Write as _};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::Cli;

/// Prints the completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  netglass completions bash > /etc/bash_completion.d/netglass
  netglass completions zsh > ~/.zfunc/_netglass
  netglass completions fish > ~/.config/fish/completions/netglass.fish")]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

/// Prints them.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // Straight into standard output it would panic when that cannot be written.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "netglass", &mut script);
    Ok(io::stdout().lock().write_all(&script)?)
}
