//! `netglass up`: probes this host and shows its live map.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::Args;
use netglass_kernel::Sightings;
use netglass_model::Timestamp;
use netglass_store::{Window, dependencies};

use crate::{
    database::{DatabaseArguments, StorageArguments},
    output,
    probing::{Event, LedgerFormat, Prober, ScanArguments, Schedule, Signals, print_ledger},
    query::Query,
    screen::Screen,
    time::parse_duration,
    tree::{Extent, Tree},
};

/// Probes this host and shows its live dependency map
///
/// What is seen is kept in the database, for `netglass look`. Ends with Ctrl-C, and then prints the
/// ledger: what was seen, and what became of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  netglass up                       this host, refreshed each second
  netglass up --all-namespaces      containers too
  netglass up --depth 3             with what is behind what this host depends on
  netglass up --loopback exclude    without connections of this host to itself")]
pub(crate) struct Arguments {
    /// How many steps are followed from each node
    #[arg(long, env = "NETGLASS_DEPTH", value_name = "N", default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    depth: u32,

    /// How long a dependency stays on the map after it was last seen
    #[arg(long, env = "NETGLASS_LINGER", value_name = "DURATION", default_value = "1m")]
    #[arg(value_parser = parse_duration)]
    linger: Duration,

    #[command(flatten)]
    scan: ScanArguments,

    #[command(flatten)]
    storage: StorageArguments,
}

/// Shows the map until it is told to end.
pub(crate) fn run(arguments: &Arguments, database: &DatabaseArguments) -> anyhow::Result<()> {
    // First of all, so that from the start no signal ends the program with something unwritten.
    let signals = Signals::listen()?;
    let settings = arguments.storage.settings();
    let url = database.url()?;
    let database = database.open_to_write(settings)?;
    let mut prober = Prober::new(&arguments.scan, Sightings::Repeated, database, settings.bucket)?;

    let mut screen = Screen::open(format!("netglass up: {url}, Ctrl-C ends"));
    let shown = show(&mut prober, signals, &mut screen, arguments);
    let stored = prober.finish();
    screen.note(prober.take_notes());
    screen.close();
    print_ledger(prober.ledger(), LedgerFormat::Text)?;
    shown.and(stored)
}

fn show(
    prober: &mut Prober,
    signals: Signals,
    screen: &mut Screen,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let interval = arguments.scan.interval;
    let mut schedule = Schedule::new(signals, interval, interval);
    loop {
        match schedule.next() {
            Event::Scan => {
                prober.scan()?;
                prober.flush();
                screen.note(prober.take_notes());
                draw(prober, screen, arguments)?;
            }
            // Each scan is flushed at once.
            Event::Flush => {}
            Event::Report => screen.note(vec![prober.ledger().to_string()]),
            Event::End => return Ok(()),
        }
    }
}

fn draw(prober: &mut Prober, screen: &mut Screen, arguments: &Arguments) -> anyhow::Result<()> {
    let now = Timestamp::from(SystemTime::now());
    let window = Window { since: now.saturating_sub(arguments.linger), until: now };
    let known = dependencies(prober.database(), window).context("reading the dependencies")?;
    let query = Query::host(prober.host().clone());
    let extent = Extent { depth: arguments.depth, listening: false };
    let mut map = Vec::new();
    output::tree::render(&Tree::build(&known, &query, extent), now, &mut map)?;
    screen.draw(&map).context("showing the map")
}
