//! `netglass status` on a database that probes of several hosts have filled.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{
    process::Command,
    time::{Duration, SystemTime},
};

use netglass_model::{
    Flush, Host, HostId, Ledger, NamespaceInode, Observations, Probe, Skip, Timestamp,
};
use netglass_store::{Access, DatabaseUrl, Settings};
use netglass_testing::{Ended, Place, flush};

/// A flush of a probe that was started so many seconds ago, made so many seconds ago.
fn flushed(host: &str, started: u64, at: u64) -> Flush {
    let ago = |seconds| Timestamp::from(SystemTime::now() - Duration::from_secs(seconds));
    let id = HostId { machine_id: format!("{host:0<32}"), hostname: host.to_owned() };
    let namespace = NamespaceInode(4_026_531_840);
    let empty = flush(&Observations {
        host: Host { id, namespace, addresses: Vec::new() },
        namespaces: Vec::new(),
        flows: Vec::new(),
        translations: Vec::new(),
        listeners: Vec::new(),
    });
    let mut ledger = Ledger::default();
    ledger.pend(10);
    ledger.skip(Skip::Filter, 2);
    Flush { probe: Probe { started: ago(started), ..empty.probe }, at: ago(at), ledger, ..empty }
}

fn status(flushes: &[Flush], arguments: &[&str]) -> (i32, String, String) {
    let place = Place::new();
    let file = place.path("netglass.db");
    let url = DatabaseUrl::Sqlite(file.clone());
    let mut database = netglass_store::open(&url, Access::Write, Settings::default()).unwrap();
    for flush in flushes {
        database.write(flush).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_netglass"));
    command.arg("status");
    let mut command = place.prepare(command, arguments);
    let Ended { status, stdout, stderr } = Ended::by(command.env("NETGLASS_DB", file));
    (status, stdout, stderr)
}

/// The host and the state in each line after the heading.
fn states(stdout: &str) -> Vec<(&str, &str)> {
    stdout
        .lines()
        .skip(1)
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap(), words.next().unwrap())
        })
        .collect()
}

#[test]
fn a_silent_host_is_shown_and_is_status_1() {
    let flushes = [flushed("db", 900, 600), flushed("web", 900, 5)];
    let (code, stdout, stderr) = status(&flushes, &[]);
    assert_eq!((code, stderr.as_str()), (1, ""));
    assert_eq!(states(&stdout), [("db", "silent"), ("web", "reporting")], "{stdout}");
    assert!(stdout.contains("2 filter"), "{stdout}");
    let patient = status(&flushes, &["--silent-after", "1h"]);
    assert_eq!(patient.0, 0, "{patient:?}");
}

#[test]
fn a_host_that_ended_is_not_silent() {
    let ended = Flush { last: true, ..flushed("db", 900, 600) };
    let (code, stdout, _) = status(&[ended], &[]);
    assert_eq!((code, states(&stdout)), (0, vec![("db", "ended")]));
}

#[test]
fn earlier_runs_are_shown_when_asked_for() {
    let flushes = [flushed("db", 900, 600), flushed("db", 500, 5)];
    let (code, stdout, _) = status(&flushes, &[]);
    assert_eq!((code, states(&stdout)), (0, vec![("db", "reporting")]));
    let (code, stdout, _) = status(&flushes, &["--all"]);
    assert_eq!(
        (code, states(&stdout)),
        (0, vec![("db", "reporting"), ("db", "superseded")]),
        "{stdout}"
    );
}

#[test]
fn programs_get_one_object_for_each_probe() {
    let (code, stdout, _) =
        status(&[flushed("db", 900, 600), flushed("web", 900, 5)], &["--format", "json"]);
    assert_eq!(code, 1);
    let lines: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["host"], &lines[0]["state"]), (&"db".into(), &"silent".into()));
    assert_eq!(lines[1]["ledger"]["stored"], 10, "what came with the last flush is stored");
    assert_eq!(lines[1]["ledger"]["seen"], 12);
    assert_eq!(lines[1]["version"], 1);
}

#[test]
fn a_database_to_which_nobody_reports_is_an_error_that_says_so() {
    let (code, stdout, stderr) = status(&[], &[]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("no probe has reported to sqlite:"), "{stderr}");
    assert!(stderr.contains("run `netglass probe`"), "{stderr}");
}
