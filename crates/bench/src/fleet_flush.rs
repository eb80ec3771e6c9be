//! How many flows a second a database takes from a fleet, and how many it takes row by row.

use std::{
    ops::RangeInclusive,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use netglass_model::{Flush, Timestamp};
use netglass_store::{Access, DatabaseUrl, Maintenance, Settings, Window, open};

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
/// How many flushes of each host are measured: those of five time buckets, so that what is put away
/// after the last one weighs as little as it does in a database that goes on for ever.
const FLUSHES: u64 = 30;
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
    let start = Timestamp::from_nanoseconds(1_790_000_080_000_000_000);
    let times = (start, INTERVAL);
    let writers = backend.writers(WRITERS);
    let first = write(&url, &fleet, writers, times, 1..=1)?;
    let later = write(&url, &fleet, writers, times, 2..=FLUSHES + 1)?;
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

/// Writes these flushes of every host, while somebody maintains the database as a probe does, and
/// returns how long that took: until all that was written is put away. What the hosts would do, to
/// make them, is not counted.
pub(crate) fn write(
    url: &DatabaseUrl,
    fleet: &Fleet,
    writers: u32,
    (start, interval): (Timestamp, Duration),
    sequences: RangeInclusive<u64>,
) -> Result<Duration> {
    let settings = Settings::default();
    let open = || open(url, Access::Write, settings);
    let mut databases = (0..writers).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
    let mut maintained = open()?;
    let mut rounds = Vec::new();
    for sequence in sequences {
        let now = start.saturating_add(interval * u32::try_from(sequence)?);
        let of_writer = |writer| -> Vec<Flush> {
            let hosts = (writer..fleet.hosts()).step_by(writers as usize);
            hosts.map(|host| fleet.flush(host, sequence, start, interval)).collect()
        };
        rounds.push((now, (0..writers).map(of_writer).collect::<Vec<_>>()));
    }
    let last = rounds.last().map_or(start, |(now, _)| *now).saturating_add(settings.bucket * 2);

    let begin = Instant::now();
    thread::scope(|scope| {
        let (written, to_maintain) = mpsc::channel();
        let maintaining = scope.spawn(move || {
            let mut maintenance = Maintenance::new(settings.bucket);
            to_maintain
                .into_iter()
                .try_for_each(|now| maintenance.after_write(maintained.as_mut(), now))?;
            maintained.maintain(last)
        });
        for (now, flushes) in &rounds {
            thread::scope(|scope| {
                let writing: Vec<_> = flushes
                    .iter()
                    .zip(&mut databases)
                    .map(|(flushes, database)| {
                        scope.spawn(|| flushes.iter().try_for_each(|flush| database.write(flush)))
                    })
                    .collect();
                for writer in writing {
                    writer.join().map_err(|_| anyhow!("a writer has panicked"))??;
                }
                anyhow::Ok(())
            })
            .with_context(|| format!("writing what the hosts flush at {now:?}"))?;
            // Nobody listens where it has failed, which is told in the end.
            let _ = written.send(*now);
        }
        drop(written);
        maintaining.join().map_err(|_| anyhow!("who maintains the database has panicked"))??;
        anyhow::Ok(())
    })?;
    Ok(begin.elapsed())
}

/// Whether what was written is there, all of it and once.
fn check(url: &DatabaseUrl, flows: u64) -> Result<()> {
    let mut database = open(url, Access::Read, Settings::default())?;
    let mut opened = 0;
    let always = Window { since: Timestamp::MIN, until: Timestamp::MAX };
    database.snapshot(always)?.flows(None, &mut |_, flow| opened += flow.counters.opened)?;
    let expected = flows * (FLUSHES + 1) * 3;
    ensure!(opened == expected, "{opened} connections are stored instead of {expected}");
    Ok(())
}
