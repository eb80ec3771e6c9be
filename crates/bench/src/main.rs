//! `netglass-bench`: Netglass and its peers side by side, in one run, on this machine.
//!
//! A number that is not a ratio measured in the same run is not a result: every bench runs its
//! contestants in turn, round after round, and prints how they compare. The exit status is 1 when
//! a contestant that must run does not; a goal that is missed is printed as such.

mod bench;
mod goal;
mod measurement;
mod race;
mod socket_scan;
mod table;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Result, bail, ensure};
use clap::Parser;
use netglass_testing::requirement;

use crate::bench::Bench;

/// Runs Netglass side by side with its peers and prints the ratios.
#[derive(Debug, Parser)]
struct Cli {
    /// Only the benches whose name contains this
    filter: Option<String>,
    /// How often each contestant is measured
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Only print the names of the benches
    #[arg(long)]
    list: bool,
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    ensure!(cli.rounds > 0, "a bench needs at least one round");
    let filter = cli.filter.unwrap_or_default();
    let benches: Vec<Bench> =
        socket_scan::benches().into_iter().filter(|bench| bench.name.contains(&filter)).collect();
    ensure!(!benches.is_empty(), "no bench has a name with {filter:?} in it; see --list");

    let mut out = io::stdout();
    if cli.list {
        for bench in benches {
            writeln!(out, "{}  {}", bench.name, bench.about)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(missing) = requirement::root().missing() {
        bail!("the benches make network namespaces and need {missing}");
    }
    let mut all_ran = true;
    for bench in benches {
        all_ran &= bench.run(cli.rounds, &mut out)?;
    }
    Ok(if all_ran { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
