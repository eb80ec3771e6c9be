//! `netglass`: makes the network of a Linux host, and of a fleet of hosts, visible.

mod bytes;
mod capturing;
mod cli;
mod comparison;
mod config;
mod database;
#[cfg(all(feature = "capture", feature = "ebpf"))]
mod explaining;
#[cfg(test)]
mod fixtures;
mod fleet;
mod graph;
mod host;
mod monitoring;
mod output;
mod probing;
mod query;
mod screen;
mod secrets;
#[cfg(feature = "ebpf")]
mod streaming;
mod time;
#[cfg(feature = "trace")]
mod tracing;
mod tree;
mod usage;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(std::env::args_os().collect())
}
