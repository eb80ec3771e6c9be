//! `netglass up`: probes this host and shows its live map.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::Args;
use netglass_kernel::{Needs, Sightings};
use netglass_model::Timestamp;
use netglass_store::{Database, Error, SpoolError, Window, dependencies};

use crate::{
    database::{DatabaseArguments, StorageArguments},
    host::this_host_id,
    output,
    probing::{
        Event, LedgerFormat, Prober, RegisteredSignals, ScanArguments, Schedule, Signals,
        drop_privileges, print_ledger,
    },
    query::Query,
    screen::Screen,
    time::parse_duration,
    tree::{Extent, Tree},
};

/// Probes this host and shows its live dependency map
///
/// What is seen is kept in the database, for `netglass look`. Ends with Ctrl-C, and then prints the
/// ledger: what was seen, and what became of it. Where a probe of this host runs already, its map is
/// shown instead.
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
    let signals = RegisteredSignals::new()?;
    let url = database.url()?;
    let (mut source, notes) = Source::open(arguments, database)?;
    let signals = signals.listen()?;
    let mut screen = Screen::open(format!("netglass up: {url}, Ctrl-C ends"));
    screen.note(notes);
    if let Source::Stored(_) = source {
        let note = format!("another probe of this host writes to {url}: showing what it stores");
        screen.note(vec![note]);
    }
    let shown = show(&mut source, signals, &mut screen, arguments);
    let Source::Probe(mut prober) = source else { return shown };
    let stored = prober.finish();
    screen.note(prober.take_notes());
    screen.close();
    print_ledger(&prober.ledger(), LedgerFormat::Text)?;
    shown.and(stored)
}

/// Where what is shown comes from.
enum Source {
    /// Our own probe.
    Probe(Box<Prober>),
    /// Another probe, by what it writes into the database.
    Stored(Box<dyn Database>),
}

impl Source {
    /// Opens it, and gives up all privileges that it does not need. Beside it stands what the user
    /// should know.
    fn open(
        arguments: &Arguments,
        database: &DatabaseArguments,
    ) -> anyhow::Result<(Self, Vec<String>)> {
        match Prober::new(&arguments.scan, Sightings::Repeated, database, &arguments.storage) {
            Ok(mut prober) => {
                let notes = prober.take_notes();
                Ok((Self::Probe(Box::new(prober)), notes))
            }
            Err(error) if is_claimed(&error) => {
                let opened = database.open_to_read()?;
                let needs = Needs { foreign_files: database.is_foreign()?, ..Needs::default() };
                let dropped = drop_privileges(needs, || true, || true);
                Ok((Self::Stored(opened), dropped.into_iter().collect()))
            }
            Err(error) => Err(error),
        }
    }

    /// Reads what was stored; none where the database is away for our own probe.
    fn read<T>(
        &mut self,
        ask: impl FnOnce(&mut dyn Database) -> Result<T, Error>,
    ) -> anyhow::Result<Option<T>> {
        let read = match self {
            Self::Probe(prober) => prober.read(ask),
            Self::Stored(database) => ask(database.as_mut()).map(Some),
        };
        read.context("reading the dependencies")
    }
}

fn is_claimed(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Claimed { .. }))
        || matches!(error.downcast_ref(), Some(SpoolError::Locked { .. }))
}

fn show(
    source: &mut Source,
    signals: Signals,
    screen: &mut Screen,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let interval = arguments.scan.interval;
    let mut schedule = Schedule::new(signals, interval, interval);
    loop {
        match (schedule.next(), &mut *source) {
            (Event::Scan, Source::Probe(prober)) => {
                prober.look()?;
                prober.flush();
                screen.note(prober.take_notes());
                draw(source, screen, arguments)?;
            }
            (Event::Scan, Source::Stored(_)) => draw(source, screen, arguments)?,
            // Each scan is flushed at once.
            (Event::Flush, _) | (Event::Report, Source::Stored(_)) => {}
            (Event::Report, Source::Probe(prober)) => {
                screen.note(vec![prober.ledger().to_string()]);
            }
            (Event::End | Event::HangUp, _) => return Ok(()),
        }
    }
}

fn draw(source: &mut Source, screen: &mut Screen, arguments: &Arguments) -> anyhow::Result<()> {
    let now = Timestamp::from(SystemTime::now());
    let window = Window { since: now.saturating_sub(arguments.linger), until: now };
    let query = Query::host(this_host_id());
    let interest = query.interest(arguments.depth);
    let known = source
        .read(|database| dependencies(database.snapshot(window)?.as_mut(), interest.as_ref()))?;
    let Some(known) = known else { return Ok(()) };
    let extent = Extent { depth: arguments.depth, listening: false };
    let mut map = Vec::new();
    output::tree::render(&Tree::build(&known, &query, extent), now, &mut map)?;
    screen.draw(&map).context("showing the map")
}
