//! `netglass-bench`: Netglass and its peers side by side, in one run, on this machine.
//!
//! A number that is not a ratio measured in the same run is not a result: a bench of speed runs its
//! contestants in turn, round after round, and prints how they compare; a bench of counts compares
//! them with the kernel's own. The exit status is 1 when a contestant that must run does not; a
//! goal that is missed is printed as such.

mod bench;
mod bpftrace;
mod capture_contestants;
mod capture_file;
mod capture_frames;
mod capture_live;
mod capture_public;
mod capture_random;
mod capture_reading;
mod capture_realistic;
mod capture_sender;
mod capture_small;
mod capture_watchers;
mod churn;
mod command;
mod empty_programs;
mod fleet;
mod fleet_database;
mod fleet_flush;
mod fleet_look;
mod goal;
mod kernel_program;
mod measurement;
mod monitor_kernel;
mod monitor_rendering;
mod netglass;
mod plain_calls;
mod plain_flows;
mod race;
mod rate;
mod report;
mod row_by_row;
mod socket_scan;
mod stream_overhead;
mod streaming_exact;
mod streaming_memory;
mod streaming_overhead;
mod table;
mod trace_requests;
mod wait;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Result, bail, ensure};
use clap::Parser;
use netglass_testing::requirement;

use crate::bench::{Bench, Effort};

/// Runs Netglass side by side with its peers and prints the ratios.
#[derive(Debug, Parser)]
struct Cli {
    /// Only the benches whose name contains this
    filter: Option<String>,
    #[command(flatten)]
    effort: Effort,
    /// Only print the names of the benches
    #[arg(long)]
    list: bool,
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let filter = cli.filter.unwrap_or_default();
    let all = [
        socket_scan::benches,
        streaming_overhead::benches,
        streaming_exact::benches,
        streaming_memory::benches,
        stream_overhead::benches,
        fleet_flush::benches,
        fleet_look::benches,
        capture_reading::benches,
        capture_live::benches,
        monitor_rendering::benches,
        monitor_kernel::benches,
        trace_requests::benches,
    ];
    let benches: Vec<Bench> = all
        .into_iter()
        .flat_map(|benches: fn(Effort) -> Vec<Bench>| benches(cli.effort))
        .filter(|bench| bench.name.contains(&filter))
        .collect();
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
        all_ran &= bench.run(&mut out)?;
    }
    Ok(if all_ran { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
