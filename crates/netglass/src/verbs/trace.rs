//! `netglass trace`: a request, and every network operation behind it.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::tracing::{
    self, ConnectionArguments, OutputArguments, Recorded, RequestArguments, TlsArguments,
};

/// Makes a request and shows every network operation behind it: lookups, connections, handshakes
///
/// The options are those of curl where it has them. A failure is told in a sentence: what failed, in which
/// layer, against whom, and what to look at next. Passwords, tokens and cookies are not shown.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(disable_help_subcommand = true)]
#[command(subcommand_value_name = "VERB", subcommand_help_heading = "Recorded traces")]
#[command(after_help = "\
Exit status: 0 all requests were answered, whatever the answer; else the layer in which the first one \
failed: 3 name lookup, 4 connect, 5 proxy, 6 TLS handshake, 7 request, 8 response body, 9 interrupted; \
2 wrong usage, 1 anything else.

Examples:
  netglass trace https://example.org/                   where the time goes
  netglass trace -L --repeat 20 example.org             percentiles of each phase
  netglass trace --resolve example.org:443:192.0.2.1 https://example.org/
  netglass trace --format har https://example.org/ > example.har
  netglass trace --format json https://example.org/ > before.json
  netglass trace diff before.json after.json            what is different since then
  netglass trace --collector http://localhost:4318 https://example.org/")]
pub(crate) struct Arguments {
    #[command(flatten)]
    request: Option<RequestArguments>,

    #[command(flatten)]
    connection: ConnectionArguments,

    #[command(flatten)]
    tls: TlsArguments,

    #[command(flatten)]
    output: OutputArguments,

    #[command(subcommand)]
    recorded: Option<Recorded>,
}

/// Makes the requests, or reads recorded ones.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { request, connection, tls, output, recorded } = arguments;
    if let Some(recorded) = recorded {
        tracing::run_recorded(recorded)?;
        return Ok(ExitCode::SUCCESS);
    }
    let request = request.as_ref().context("there is no URL")?;
    tracing::run(request, connection, tls, output)
}
