//! How many flows a second a database takes from a fleet, and how many it takes row by row.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use netglass_model::{Flush, Timestamp};
use netglass_store::{Access, DatabaseUrl, Settings, Window, open};

use crate::{
    bench::{Bench, Effort},
    fleet::{FLOWS, Fleet, INTERVAL},
    fleet_database::{Backend, FleetDatabase},
    goal::Goal,
    report::{Report, grouped},
    row_by_row,
    table::Table,
};

/// How many write at the same time: a server's work, done by as many as keep it busy.
const WRITERS: u32 = 8;
/// How many flushes of each host are measured: those of two time buckets.
const FLUSHES: u64 = 12;
/// How many flows are written row by row, in all.
const ROW_BY_ROW: u32 = 4_000;

/// The benches of this file.
pub(crate) fn benches(effort: Effort) -> Vec<Bench> {
    [Backend::PostgreSql, Backend::Sqlite]
        .into_iter()
        .map(|backend| {
            let hosts = u32::try_from(effort.scaled(backend.hosts(), 20)).unwrap_or(u32::MAX);
            Bench {
                name: format!("fleet-flush-{}", backend.name()),
                about: format!(
                    "{hosts} simulated hosts with {FLOWS} flows each, written by {} connections",
                    backend.writers(WRITERS)
                ),
                measure: Box::new(move || measure(backend, hosts)),
            }
        })
        .collect()
}

fn measure(backend: Backend, hosts: u32) -> Result<Report> {
    let database = FleetDatabase::new(backend)?;
    let url = database.url()?;
    let fleet = Fleet::new(hosts);
    let flows = u64::from(hosts) * u64::from(FLOWS);
    let start = Timestamp::from_nanoseconds(1_790_000_040_000_000_000);
    let writers = backend.writers(WRITERS);
    let first = write(&url, &fleet, writers, start, 1..=1)?;
    let later = write(&url, &fleet, writers, start, 2..=FLUSHES + 1)?;
    check(&url, flows)?;

    let rate = |flows: u64, took: Duration| flows as f64 / took.as_secs_f64();
    let later_rate = rate(flows * FLUSHES, later);
    let mut table = Table::new(["", "flows", "seconds", "flows/s", "× row by row"]);
    let mut row = |name: &str, flows: u64, took: Duration, base: Option<f64>| {
        let rate = rate(flows, took);
        let ratio = base.map_or("-".to_owned(), |base| format!("{:.1}", rate / base));
        table.push([
            name.to_owned(),
            grouped(flows),
            format!("{:.2}", took.as_secs_f64()),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
            grouped(rate as u64),
            ratio,
        ]);
    };
    let base = match backend {
        Backend::PostgreSql => {
            let rows = ROW_BY_ROW.min(hosts * FLOWS);
            let took = row_by_row::write(&database, &fleet, WRITERS, rows / FLOWS, start)?;
            row("row by row, as shawk does", u64::from(rows), took, None);
            Some(rate(u64::from(rows), took))
        }
        Backend::Sqlite => None,
    };
    row("netglass, first flush of each host", flows, first, base);
    row("netglass, later flushes", flows * FLUSHES, later, base);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
    let reached = grouped(later_rate as u64);
    let goal = backend.flows_a_second();
    let goals = vec![Goal::new(
        format!("≥ {} flows/s", grouped(goal)),
        Some((later_rate >= goal as f64, reached)),
    )];
    let notes = vec![format!(
        "each host flushes every {} s: six flushes fall into one time bucket",
        INTERVAL.as_secs()
    )];
    Ok(Report { table, notes, failures: Vec::new(), goals })
}

/// Writes these flushes of every host, and returns how long that took. What the hosts would do, to
/// make them, is not counted.
fn write(
    url: &DatabaseUrl,
    fleet: &Fleet,
    writers: u32,
    start: Timestamp,
    sequences: std::ops::RangeInclusive<u64>,
) -> Result<Duration> {
    let mut databases = (0..writers)
        .map(|_| open(url, Access::Write, Settings::default()))
        .collect::<Result<Vec<_>, _>>()?;
    let mut took = Duration::ZERO;
    for sequence in sequences {
        let flushes: Vec<Vec<Flush>> = (0..writers)
            .map(|writer| {
                let hosts = (writer..fleet.hosts()).step_by(writers as usize);
                hosts.map(|host| fleet.flush(host, sequence, start, INTERVAL)).collect()
            })
            .collect();
        let begin = Instant::now();
        thread::scope(|scope| {
            let writing: Vec<_> = flushes
                .iter()
                .zip(&mut databases)
                .map(|(flushes, database)| {
                    scope.spawn(move || flushes.iter().try_for_each(|flush| database.write(flush)))
                })
                .collect();
            for writer in writing {
                writer.join().map_err(|_| anyhow!("a writer has panicked"))??;
            }
            anyhow::Ok(())
        })
        .with_context(|| format!("writing flush {sequence} of each host"))?;
        took += begin.elapsed();
    }
    Ok(took)
}

/// Whether what was written is there, all of it and once.
fn check(url: &DatabaseUrl, flows: u64) -> Result<()> {
    let mut database = open(url, Access::Read, Settings::default())?;
    let mut opened = 0;
    let always = Window { since: Timestamp::MIN, until: Timestamp::MAX };
    database.flows(always, None, &mut |_, flow| opened += flow.counters.opened)?;
    let expected = flows * (FLUSHES + 1) * 3;
    ensure!(opened == expected, "{opened} connections are stored instead of {expected}");
    Ok(())
}
