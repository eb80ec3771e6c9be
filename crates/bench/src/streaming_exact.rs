//! Whether each connection is counted, and once: the kernel has counted them too.

use std::{
    cmp::Ordering,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};

use crate::{
    bench::{Bench, Effort},
    churn::{Churn, Opens},
    goal::Goal,
    netglass::{Ledger, Mode, Probe},
    report::{Report, grouped, seconds_per_million},
    table::Table,
};

const CONNECTIONS: u64 = 1_000_000;
/// Pairs of a client and a server.
const PAIRS: u16 = 4;

/// The bench of this file.
pub(crate) fn benches(effort: Effort) -> Vec<Bench> {
    let connections = effort.scaled(CONNECTIONS, u64::from(PAIRS));
    vec![Bench {
        name: "streaming-exact".to_owned(),
        about: format!(
            "{} connections, opened and closed at once by {PAIRS} pairs of processes",
            grouped(connections)
        ),
        measure: Box::new(move || measure(connections)),
    }]
}

fn measure(connections: u64) -> Result<Report> {
    let mut churn = Churn::prepare(PAIRS, connections)?;
    Ok(match observe(&mut churn) {
        Ok(counts) => counts.report(connections),
        Err(error) => Report {
            table: header(),
            notes: Vec::new(),
            failures: vec![(Mode::Streaming.name(), format!("{error:#}"))],
            goals: goals(None),
        },
    })
}

/// What was counted, by whom.
#[derive(Debug)]
struct Counts {
    kernel: Opens,
    database: Opens,
    look: u64,
    /// Those of `look` with the process at both ends.
    attributed: u64,
    failed: u64,
    ledger: Ledger,
    wall: Duration,
    cpu: Duration,
    said: String,
}

fn observe(churn: &mut Churn) -> Result<Counts> {
    let probe = Probe::start(Mode::Streaming)?;
    let (opens, cpu, start) = (churn.opens()?, probe.cpu_time(), Instant::now());
    churn.start();
    churn.wait_until_done()?;
    let wall = start.elapsed();
    let after = churn.opens()?;
    let stored = probe.end()?;
    let mut counts = Counts {
        kernel: Opens {
            active: after.active - opens.active,
            passive: after.passive - opens.passive,
        },
        database: in_database(&stored.path(), churn.namespaces())?,
        look: 0,
        attributed: 0,
        failed: 0,
        ledger: stored.ledger,
        wall,
        cpu: stored.cpu.saturating_sub(cpu),
        said: stored.said.clone(),
    };
    for edge in stored.edges()?.iter().filter(|edge| churn.is_ours(edge)) {
        let connections = edge["connections"].as_u64().context("an edge counts connections")?;
        let is_known = |end: &str| edge[end]["process"]["comm"].as_str() == Some("netglass-load");
        counts.look += connections;
        counts.attributed += if is_known("client") && is_known("server") { connections } else { 0 };
        counts.failed += edge["failed"].as_u64().context("an edge counts failures")?;
    }
    Ok(counts)
}

impl Counts {
    fn report(self, connections: u64) -> Report {
        let mut table = header();
        let mut row = |name: &str, active: u64, passive: u64| {
            table.push([name.to_owned(), grouped(active), grouped(passive)]);
        };
        row("kernel: ActiveOpens, PassiveOpens", self.kernel.active, self.kernel.passive);
        row("netglass: its database", self.database.active, self.database.passive);
        row("netglass look: both ends joined", self.look, self.look);
        row("… with the process at both ends", self.attributed, self.attributed);
        row("… failed", self.failed, self.failed);
        let per_connection = self.wall.as_secs_f64() * 1e6 / connections as f64;
        let per_million = seconds_per_million(self.cpu, connections);
        let Ledger { seen, stored, pending, skipped } = self.ledger;
        let mut notes = vec![
            format!("{per_connection:.1} µs from one connection to the next"),
            format!("{per_million} cpu seconds of netglass per million connections"),
            format!(
                "ledger: {seen} seen = {stored} stored + {pending} pending + {skipped} skipped"
            ),
        ];
        notes.extend(self.said.lines().map(str::to_owned));
        Report { table, notes, failures: Vec::new(), goals: goals(Some(&self)) }
    }
}

fn header() -> Table {
    Table::new(["counted by", "clients' end", "servers' end"])
}

fn goals(counts: Option<&Counts>) -> Vec<Goal> {
    let equal = |own: u64, kernel: u64| (own == kernel, difference(own, kernel));
    let goal =
        |aim: &str, judge: &dyn Fn(&Counts) -> (bool, String)| Goal::new(aim, counts.map(judge));
    vec![
        goal("connections of look = ActiveOpens", &|it| equal(it.look, it.kernel.active)),
        goal("connections of look = PassiveOpens", &|it| equal(it.look, it.kernel.passive)),
        goal("clients' ends in the database = ActiveOpens", &|it| {
            equal(it.database.active, it.kernel.active)
        }),
        goal("servers' ends in the database = PassiveOpens", &|it| {
            equal(it.database.passive, it.kernel.passive)
        }),
        goal("the ledger balances, with nothing pending", &|it| {
            let balances = it.ledger.balances() && it.ledger.pending == 0;
            (balances, if balances { "it does" } else { "it does not" }.to_owned())
        }),
    ]
}

fn difference(own: u64, kernel: u64) -> String {
    match own.cmp(&kernel) {
        Ordering::Less => format!("{} too few", grouped(kernel - own)),
        Ordering::Equal => "equal".to_owned(),
        Ordering::Greater => format!("{} too many", grouped(own - kernel)),
    }
}

/// The connections of TCP in the database, by the end that saw them.
///
/// The rows of a flow are put together by the rule of the schema: what lives through two buckets
/// is in both, and counts once.
fn in_database(path: &Path, namespaces: [u64; 2]) -> Result<Opens> {
    const ROWS: &str = "
        SELECT flow_id, direction, connections, opened
        FROM flow_observation JOIN flow USING (flow_id) JOIN namespace USING (namespace_id)
        WHERE resolution = 0 AND protocol = 6 AND inode IN (?1, ?2)
        ORDER BY flow_id, bucket";
    let open = || -> rusqlite::Result<Opens> {
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut statement = database.prepare(ROWS)?;
        let mut rows = statement.query(namespaces.map(u64::cast_signed))?;
        let mut sums = [0, 0];
        // The flow of the row before, and its connections so far.
        let mut last = (0, 0);
        while let Some(row) = rows.next()? {
            let (flow, is_passive): (i64, bool) = (row.get(0)?, row.get(1)?);
            let (connections, opened): (u32, u32) = (row.get(2)?, row.get(3)?);
            let so_far = if last.0 == flow { last.1 } else { 0 };
            let now = (so_far + u64::from(opened)).max(connections.into());
            sums[usize::from(is_passive)] += now - so_far;
            last = (flow, now);
        }
        Ok(Opens { active: sums[0], passive: sums[1] })
    };
    open().with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lives_through_two_buckets_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("netglass.db");
        Connection::open(&path)
            .unwrap()
            .execute_batch(
                "CREATE TABLE namespace (namespace_id, inode);
                 CREATE TABLE flow (flow_id, namespace_id, protocol, direction);
                 CREATE TABLE flow_observation
                    (resolution, bucket, flow_id, connections, opened);
                 INSERT INTO namespace VALUES (1, 11), (2, 22), (3, 33);
                 INSERT INTO flow VALUES (1, 1, 6, 0), (2, 2, 6, 1), (3, 3, 6, 0), (4, 1, 17, 0);
                 -- Two of the ten lived on in the second bucket, in which five were opened.
                 INSERT INTO flow_observation VALUES (0, 60, 1, 10, 10), (0, 120, 1, 7, 5);
                 INSERT INTO flow_observation VALUES (0, 60, 2, 20, 0), (0, 120, 2, 1, 1);
                 INSERT INTO flow_observation VALUES (0, 60, 3, 100, 100), (0, 60, 4, 100, 100);
                 -- The hour of the first one once more.
                 INSERT INTO flow_observation VALUES (1, 0, 1, 15, 15);",
            )
            .unwrap();
        let counted = in_database(&path, [11, 22]).unwrap();
        assert_eq!(counted, Opens { active: 15, passive: 21 });
    }

    #[test]
    fn one_connection_is_a_difference() {
        assert_eq!(difference(1_000_000, 1_000_000), "equal");
        assert_eq!(difference(999_999, 1_000_000), "1 too few");
        assert_eq!(difference(1_002_000, 1_000_000), "2,000 too many");
    }
}
