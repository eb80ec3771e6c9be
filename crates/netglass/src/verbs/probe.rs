//! `netglass probe`: keeps what the sockets of this host tell in the database.

use std::time::Duration;

use clap::{Args, builder::BoolishValueParser};
use netglass_kernel::Sightings;

use crate::{
    database::{DatabaseArguments, StorageArguments},
    probing::{
        Event, LedgerFormat, Prober, RegisteredSignals, ScanArguments, Schedule, Signals,
        print_ledger, tell,
    },
    time::{parse_duration, show_duration},
    usage::UsageError,
};

/// Watches the sockets of this host and keeps what it sees in the database
///
/// Runs until it is interrupted, then writes what it still holds and prints the ledger: what was
/// seen, and what became of it. SIGUSR1 prints the ledger at any time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  netglass probe                                  scan each second, write each ten
  netglass probe --once                           one scan, then `netglass look`
  netglass probe --all-namespaces                 containers too
  netglass probe --interval 5s --flush-interval 1m --retention 30d
  netglass probe --filter public --format json    peers on the internet; ledger for programs")]
pub(crate) struct Arguments {
    /// Scan once, write, and end
    #[arg(long, env = "NETGLASS_ONCE", value_parser = BoolishValueParser::new())]
    once: bool,

    /// Time from one write to the next, at least the scans' interval
    #[arg(long, env = "NETGLASS_FLUSH_INTERVAL", value_name = "DURATION", default_value = "10s")]
    #[arg(value_parser = parse_duration)]
    flush_interval: Duration,

    #[command(flatten)]
    scan: ScanArguments,

    #[command(flatten)]
    storage: StorageArguments,

    /// How the ledger is printed
    #[arg(long, env = "NETGLASS_LEDGER_FORMAT", value_name = "FORMAT", default_value = "text")]
    format: LedgerFormat,
}

/// Probes until it is told to end.
pub(crate) fn run(arguments: &Arguments, database: &DatabaseArguments) -> anyhow::Result<()> {
    if !arguments.once && arguments.scan.interval > arguments.flush_interval {
        return Err(UsageError(format!(
            "--interval ({}) is longer than --flush-interval ({}): some writes would have nothing \
             to write",
            show_duration(arguments.scan.interval),
            show_duration(arguments.flush_interval)
        ))
        .into());
    }
    // First of all, so that from the start no signal ends the program with something unwritten.
    let signals = RegisteredSignals::new()?;
    let sightings = if arguments.once { Sightings::One } else { Sightings::Repeated };
    let mut prober = Prober::new(&arguments.scan, sightings, database, &arguments.storage)?;
    let signals = signals.listen()?;

    let probed =
        if arguments.once { prober.look() } else { watch(&mut prober, signals, arguments) };
    let stored = prober.finish();
    tell(&prober.take_notes());
    print_ledger(&prober.ledger(), arguments.format)?;
    probed.and(stored)
}

fn watch(prober: &mut Prober, signals: Signals, arguments: &Arguments) -> anyhow::Result<()> {
    let mut schedule = Schedule::new(signals, arguments.scan.interval, arguments.flush_interval);
    loop {
        match schedule.next() {
            Event::Scan => prober.look()?,
            Event::Flush => {
                prober.flush();
            }
            Event::Report => print_ledger(&prober.ledger(), arguments.format)?,
            Event::End | Event::HangUp => return Ok(()),
        }
        tell(&prober.take_notes());
    }
}
