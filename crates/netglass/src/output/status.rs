//! How the probes of a fleet fare: a table for people, JSON Lines for programs (docs/status.md).

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use netglass_model::{HostId, Ledger, SpoolUsage, Timestamp, printable};
use serde::Serialize;

use super::{
    json::write_line,
    table::{Align, Cell, Table},
    tree::show_bytes,
};
use crate::{
    fleet::{Run, State},
    probing::LedgerObject,
    time::{age, rfc3339, show_duration},
};

/// The version of the JSON schema (docs/status.md).
const VERSION: u32 = 1;

/// How many hosts a note names.
const NAMED: usize = 5;

const HOST: Style = Style::new();
const REPORTING: Style = AnsiColor::Green.on_default();
const SILENT: Style = AnsiColor::Red.on_default().bold();
const OVER: Style = Style::new().dimmed();

/// Writes a line for each run, then notes on what is odd, with the styles of a terminal.
pub(crate) fn write_text(
    runs: &[&Run],
    now: Timestamp,
    silent_after: Duration,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut machines: BTreeMap<&str, &str> = BTreeMap::new();
    let ambiguous = runs.iter().any(|run| {
        let HostId { machine_id, hostname } = &run.status.host;
        *machines.entry(hostname).or_insert(machine_id) != machine_id
    });
    let mut columns = vec![("HOST", Align::Left)];
    columns.extend(ambiguous.then_some(("MACHINE-ID", Align::Left)));
    columns.extend([
        ("STATE", Align::Left),
        ("STARTED", Align::Right),
        ("LAST FLUSH", Align::Right),
        ("VERSION", Align::Left),
        ("SPOOL", Align::Left),
        ("SEEN", Align::Right),
        ("STORED", Align::Right),
        ("SPOOLED", Align::Right),
        ("SKIPPED", Align::Left),
    ]);
    let mut table = Table::new(columns);
    for run in runs {
        let status = &run.status;
        let mut cells = vec![Cell::new(printable(&status.host.hostname).into_owned(), HOST)];
        if ambiguous {
            let short: String = status.host.machine_id.chars().take(8).collect();
            cells.push(Cell::from(printable(&short).into_owned()));
        }
        let style = match run.state {
            State::Reporting => REPORTING,
            State::Silent => SILENT,
            State::Ended | State::Superseded => OVER,
        };
        cells.push(Cell::new(run.state.name().to_owned(), style));
        cells.extend(
            [
                age(now, status.probe.started),
                age(now, status.last_flush),
                printable(&status.probe.version).into_owned(),
                show_spool(&status.spool),
                status.ledger.seen.to_string(),
                status.ledger.stored.to_string(),
                none_or(status.ledger.spooled),
                show_skipped(&status.ledger),
            ]
            .map(Cell::from),
        );
        table.push(cells);
    }
    table.write(out)?;
    for note in notes(runs, now, silent_after) {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

fn none_or(count: u64) -> String {
    if count == 0 { "-".to_owned() } else { count.to_string() }
}

fn show_spool(spool: &SpoolUsage) -> String {
    let limit = show_bytes(spool.limit);
    match spool {
        SpoolUsage { flushes: 0, bytes: 0, limit: 0 } => "-".to_owned(),
        SpoolUsage { flushes: 0, .. } => format!("empty, of {limit}"),
        SpoolUsage { flushes, bytes, .. } => {
            let plural = if *flushes == 1 { "" } else { "es" };
            format!("{flushes} flush{plural}, {} of {limit}", show_bytes(*bytes))
        }
    }
}

fn show_skipped(ledger: &Ledger) -> String {
    let reasons: Vec<String> = ledger
        .skipped
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{count} {}", reason.name()))
        .collect();
    if reasons.is_empty() { "-".to_owned() } else { reasons.join(", ") }
}

/// What a reader would not see in the table.
fn notes(runs: &[&Run], now: Timestamp, silent_after: Duration) -> Vec<String> {
    let mut copies: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.clones > 0) {
        copies.entry(&run.status.host.machine_id).or_default().push(run);
    }
    let mut notes: Vec<String> = copies
        .into_iter()
        .map(|(machine_id, runs)| {
            let mut names: Vec<String> = (runs.iter().take(NAMED))
                .map(|run| format!("'{}'", printable(&run.status.host.hostname)))
                .collect();
            if runs.len() > NAMED {
                names.push(format!("{} more", runs.len() - NAMED));
            }
            format!(
                "the machine-id {} is that of several machines, copies of one disk: {}; give each an \
                 id of its own (systemd-machine-id-setup)",
                printable(machine_id),
                names.join(", ")
            )
        })
        .collect();
    let ahead = runs.iter().filter(|run| run.status.last_flush.since(now) > silent_after);
    notes.extend(ahead.map(|run| {
        format!(
            "the last flush of '{}' was made {} from now: its clock is ahead, or this one's behind",
            printable(&run.status.host.hostname),
            show_duration(Duration::from_secs(run.status.last_flush.since(now).as_secs())),
        )
    }));
    notes
}

#[derive(Serialize)]
struct ProbeLine<'a> {
    version: u32,
    kind: &'static str,
    host: &'a str,
    machine_id: &'a str,
    state: &'static str,
    probe: String,
    boot_id: Option<&'a str>,
    netglass_version: &'a str,
    started: String,
    first_flush: String,
    last_flush: String,
    flushes: u64,
    clones: usize,
    spool: SpoolUsage,
    ledger: LedgerObject,
}

/// Writes a line for each run.
pub(crate) fn write_json(runs: &[&Run], out: &mut impl Write) -> io::Result<()> {
    for run in runs {
        let status = &run.status;
        let boot_id = status.probe.boot_id.as_str();
        let line = ProbeLine {
            version: VERSION,
            kind: "probe",
            host: &status.host.hostname,
            machine_id: &status.host.machine_id,
            state: run.state.name(),
            probe: status.probe.id.to_string(),
            boot_id: Some(boot_id).filter(|id| !id.is_empty()),
            netglass_version: &status.probe.version,
            started: rfc3339(status.probe.started),
            first_flush: rfc3339(status.first_flush),
            last_flush: rfc3339(status.last_flush),
            flushes: status.sequence,
            clones: run.clones,
            spool: status.spool,
            ledger: LedgerObject::of(&status.ledger),
        };
        write_line(&line, out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use netglass_model::{ProbeStatus, Skip};

    use super::*;
    use crate::{
        fixtures::{now, probe_status},
        fleet::assess,
    };

    const SILENT_AFTER: Duration = Duration::from_secs(120);

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.pend(1_200);
        ledger.skip(Skip::Filter, 40);
        ledger.skip(Skip::MapFull, 5);
        ledger
    }

    fn fleet() -> Vec<ProbeStatus> {
        let spool = SpoolUsage { flushes: 12, bytes: 3_500_000, limit: 256 << 20 };
        let twin = |boot_id: &str, machine_id: &str| {
            let mut status = probe_status("web", 7_200, 3);
            status.probe.boot_id = boot_id.to_owned();
            status.host.machine_id = machine_id.repeat(16);
            status
        };
        let ended = ProbeStatus { ended: true, ..probe_status("old", 200_000, 90_000) };
        let ahead = ProbeStatus {
            last_flush: now().saturating_add(Duration::from_secs(300)),
            ..probe_status("skewed", 60, 0)
        };
        vec![
            ProbeStatus { ledger: ledger(), spool, ..probe_status("db\u{1b}", 86_400, 600) },
            ended,
            ahead,
            twin("a", "0a"),
            twin("b", "0a"),
            twin("c", "f1"),
        ]
    }

    fn text(probes: &[ProbeStatus]) -> String {
        let runs = assess(probes, now(), SILENT_AFTER);
        let mut out = Vec::new();
        write_text(&runs.iter().collect::<Vec<_>>(), now(), SILENT_AFTER, &mut out).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
    }

    #[test]
    fn each_probe_is_a_line_and_what_is_odd_a_note() {
        insta::assert_snapshot!(text(&fleet()), @r"
        HOST      MACHINE-ID  STATE      STARTED  LAST FLUSH  VERSION  SPOOL                             SEEN  STORED  SPOOLED  SKIPPED
        db\u{1b}  30000000    silent     24h ago     10m ago  0.1.0    12 flushes, 3.3 MiB of 256.0 MiB  1245    1200        -  40 filter, 5 map_full
        old       30000000    ended       2d ago     25h ago  0.1.0    -                                    0       0        -  -
        skewed    60000000    reporting   1m ago      0s ago  0.1.0    -                                    0       0        -  -
        web       0a0a0a0a    reporting   2h ago      3s ago  0.1.0    -                                    0       0        -  -
        web       0a0a0a0a    reporting   2h ago      3s ago  0.1.0    -                                    0       0        -  -
        web       f1f1f1f1    reporting   2h ago      3s ago  0.1.0    -                                    0       0        -  -
        note: the machine-id 0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a is that of several machines, copies of one disk: 'web', 'web'; give each an id of its own (systemd-machine-id-setup)
        note: the last flush of 'skewed' was made 5m from now: its clock is ahead, or this one's behind
        ");
    }

    #[test]
    fn machine_ids_are_shown_where_names_do_not_tell() {
        let web = probe_status("web", 60, 1);
        insta::assert_snapshot!(text(&[web]), @r"
        HOST  STATE      STARTED  LAST FLUSH  VERSION  SPOOL  SEEN  STORED  SPOOLED  SKIPPED
        web   reporting   1m ago      1s ago  0.1.0    -         0       0        -  -
        ");
    }

    #[test]
    fn many_copies_are_counted_not_named() {
        let copies = (0..100).map(|index| {
            let mut status = probe_status(&format!("web-{index:02}"), 7_200, 3);
            status.probe.boot_id = index.to_string();
            status.host.machine_id = "0a".repeat(16);
            status
        });
        let text = text(&copies.collect::<Vec<_>>());
        let note = text.lines().last().unwrap();
        assert!(note.contains("'web-04', 95 more;") && !note.contains("web-05"), "{note}");
    }

    #[test]
    fn each_probe_is_one_object() {
        let runs = assess(&fleet(), now(), SILENT_AFTER);
        let mut out = Vec::new();
        write_json(&runs.iter().take(1).collect::<Vec<_>>(), &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        {"version":1,"kind":"probe","host":"db\u001b","machine_id":"30000000000000000000000000000000","state":"silent","probe":"01890a5d-ac96-774b-bcce-b302099a8057","boot_id":"b9d20b0f-0b7a-4a0f-8d57-3a6c3d0a5f11","netglass_version":"0.1.0","started":"2023-11-13T22:13:20.000000Z","first_flush":"2023-11-13T22:13:20.000000Z","last_flush":"2023-11-14T22:03:20.000000Z","flushes":7,"clones":0,"spool":{"flushes":12,"bytes":3500000,"limit":268435456},"ledger":{"seen":1245,"stored":1200,"spooled":0,"pending":0,"skipped":{"database":0,"filter":40,"loopback":0,"malformed":0,"map_busy":0,"map_full":5,"no_peer":0,"spool_damaged":0,"spool_full":0,"table_full":0,"unaccounted":0,"untracked":0},"lacking":{"process_buffer_full":0,"process_forgotten":0,"process_vanished":0,"translation_events_lost":0,"translation_table_full":0}}}
        "#);
    }
}
