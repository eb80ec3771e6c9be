//! How long it takes to look at a host and at what is around it, in a database full of others.

use std::{
    io::{BufRead as _, BufReader},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use netglass_model::Timestamp;

use crate::{
    bench::{Bench, Effort},
    fleet::{FLOWS, Fleet},
    fleet_database::{Backend, FleetDatabase},
    fleet_flush::write,
    goal::{Goal, megabytes},
    measurement::Measurement,
    netglass,
    report::{Report, grouped},
    table::Table,
};

const MINUTE: Duration = Duration::from_secs(60);
const AT_MOST: Duration = Duration::from_millis(50);
const WRITERS: u32 = 4;
/// How many minutes are made before they are written.
const AT_ONCE: usize = 5;
/// The host that is looked at.
const HOST: u32 = 17;
/// The dependencies within two steps of a host: of each of its ten processes five to others and
/// five from others, and of each of those five more the same way.
const EDGES: usize = 10 * 2 * (5 + 25);

/// The benches of this file.
pub(crate) fn benches(effort: Effort) -> Vec<Bench> {
    [Backend::PostgreSql, Backend::Sqlite]
        .into_iter()
        .map(|backend| {
            let hosts = u32::try_from(backend.hosts()).unwrap_or(u32::MAX);
            let observations = effort.scaled(backend.observations(), u64::from(hosts * FLOWS));
            Bench {
                name: format!("fleet-look-{}", backend.name()),
                about: format!(
                    "`netglass look {}` with {} observations of {hosts} hosts stored",
                    Fleet::new(hosts).address(HOST),
                    grouped(observations)
                ),
                measure: Box::new(move || measure(backend, hosts, observations, effort.rounds)),
            }
        })
        .collect()
}

fn measure(backend: Backend, hosts: u32, observations: u64, rounds: u32) -> Result<Report> {
    let database = FleetDatabase::new(backend)?;
    let fleet = Fleet::new(hosts);
    fill(backend, &database, &fleet, observations / u64::from(hosts * FLOWS))?;
    database.settle();
    let mut table = Table::new(["", "wall", "from … to", "cpu", "peak memory", "dependencies"]);
    let mut reached = None;
    // Whole hours, and an hour that begins within one.
    for (depth, since) in [(1, None), (2, None), (3, None), (2, Some("1h"))] {
        let mut runs = Vec::new();
        let mut edges = 0;
        for _ in 0..rounds {
            let (measured, output) =
                Measurement::with_output(look(&database, &fleet, depth, since))?;
            edges = BufReader::new(output).lines().count();
            runs.push(measured);
        }
        runs.sort_by_key(|run| run.wall);
        let middle = runs.get(runs.len() / 2).context("there are no runs")?;
        let milliseconds = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        let (first, last) = (runs[0].wall, runs[runs.len() - 1].wall);
        table.push([
            since.map_or_else(
                || format!("netglass look --depth {depth}"),
                |since| format!("the same --depth {depth} --since {since}"),
            ),
            milliseconds(middle.wall),
            format!("{:.1} … {:.1}", first.as_secs_f64() * 1e3, last.as_secs_f64() * 1e3),
            milliseconds(middle.cpu),
            megabytes(middle.peak_memory),
            grouped(edges as u64),
        ]);
        if depth == 2 && since.is_none() {
            ensure!(edges == EDGES, "{edges} dependencies are told instead of {EDGES}");
            reached = Some((middle.wall < AT_MOST, milliseconds(middle.wall)));
        }
    }
    let goals = vec![Goal::new(format!("--depth 2 under {} ms", AT_MOST.as_millis()), reached)];
    Ok(Report { table, notes: Vec::new(), failures: Vec::new(), goals })
}

fn look(database: &FleetDatabase, fleet: &Fleet, depth: u32, since: Option<&str>) -> Command {
    let mut command = Command::new(netglass::netglass_program());
    command
        .args(["look", &fleet.address(HOST).to_string(), "--format", "json"])
        .args(["--depth", &depth.to_string()])
        .env("NETGLASS_DB", database.text())
        .args(since.map(|since| format!("--since={since}")))
        .env("NETGLASS_CONFIG", "/dev/null");
    command
}

/// Each host reports once a minute, up to now.
fn fill(backend: Backend, database: &FleetDatabase, fleet: &Fleet, minutes: u64) -> Result<()> {
    let url = database.url()?;
    let before = MINUTE * u32::try_from(minutes)?;
    let start = Timestamp::from(SystemTime::now()).saturating_sub(before);
    for first in (1..=minutes).step_by(AT_ONCE) {
        let last = minutes.min(first + AT_ONCE as u64 - 1);
        write(&url, fleet, backend.writers(WRITERS), (start, MINUTE), first..=last)?;
    }
    Ok(())
}
