//! `netglass diff` on a database that two hosts have filled.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, SystemTime},
};

use netglass_model::{
    Attribution, Direction, Endpoint, Failures, FlowCounters, Host, HostAddress, HostFlow, HostId,
    NamespaceInode, NetworkNamespace, Observations, Port, Process, Protocol, Timestamp,
};
use netglass_store::{Access, DatabaseUrl, Settings};
use netglass_testing::{Ended, Place, flush};

const NAMESPACE: NamespaceInode = NamespaceInode(4_026_531_840);

/// What a host saw at one time.
struct Sight {
    host: &'static str,
    address: &'static str,
    ago: Duration,
    flows: Vec<HostFlow>,
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

fn ago(duration: Duration) -> Timestamp {
    Timestamp::from(SystemTime::now()).saturating_sub(duration)
}

fn endpoint(text: &str) -> Endpoint {
    let (address, port) = text.rsplit_once(':').unwrap();
    Endpoint::new(address.parse().unwrap(), port.parse().map_or(Port::Many, Port::Number))
}

fn flow(direction: Direction, local: &str, peer: &str, (comm, pgid): (&str, u32)) -> HostFlow {
    let process = Process {
        pid: pgid,
        start_time: Timestamp::from_nanoseconds(1_700_000_000_000_000_000),
        pgid,
        ppid: 1,
        family: pgid,
        uid: Some(0),
        gid: Some(0),
        comm: comm.to_owned(),
        exe: Some(format!("/opt/{comm}-{pgid}/bin/{comm}")),
        cgroup: None,
        container: None,
        command_line: None,
    };
    HostFlow {
        namespace: NAMESPACE,
        protocol: Protocol::Tcp,
        direction,
        local: endpoint(local),
        peer: endpoint(peer),
        process: Some(Arc::new(process)),
        attribution: Attribution::Socket,
        counters: FlowCounters { connections: 4, opened: 4, ..FlowCounters::default() },
        first_seen: Timestamp::default(),
        last_seen: Timestamp::default(),
    }
}

fn connects(to: &str, process: (&str, u32)) -> HostFlow {
    flow(Direction::Active, "10.0.0.1:many", to, process)
}

/// `app` on host `back`, by its process group, as it is asked by host `front`.
fn serves(pgid: u32) -> HostFlow {
    flow(Direction::Passive, "10.0.0.2:8080", "10.0.0.1:many", ("app", pgid))
}

fn front(minutes_ago: u64, flows: Vec<HostFlow>) -> Sight {
    Sight { host: "front", address: "10.0.0.1", ago: minutes(minutes_ago), flows }
}

fn back(minutes_ago: u64, flows: Vec<HostFlow>) -> Sight {
    Sight { host: "back", address: "10.0.0.2", ago: minutes(minutes_ago), flows }
}

/// A database in a place of its own.
struct Filled {
    place: Place,
}

impl Filled {
    fn with(sights: Vec<Sight>) -> Self {
        let place = Place::new();
        let url = DatabaseUrl::Sqlite(place.path("netglass.db"));
        let mut database = netglass_store::open(&url, Access::Write, Settings::default()).unwrap();
        for Sight { host, address, ago: long_ago, mut flows } in sights {
            let at = ago(long_ago);
            for flow in &mut flows {
                (flow.first_seen, flow.last_seen) = (at, at);
            }
            let address = HostAddress { namespace: NAMESPACE, address: address.parse().unwrap() };
            let id = HostId { machine_id: format!("{host:0<32}"), hostname: host.to_owned() };
            let mut flush = flush(&Observations {
                host: Host { id, namespace: NAMESPACE, addresses: vec![address] },
                namespaces: vec![NetworkNamespace { inode: NAMESPACE, name: None }],
                flows,
                translations: Vec::new(),
                listeners: Vec::new(),
            });
            flush.at = at;
            database.write(&flush).unwrap();
        }
        Self { place }
    }

    /// Status, standard output and standard error.
    fn diff(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netglass"));
        command.arg("diff");
        let mut command = self.place.prepare(command, arguments);
        command.env("NETGLASS_DB", self.place.path("netglass.db"));
        let Ended { status, stdout, stderr } = Ended::by(&mut command);
        (status, stdout, stderr)
    }

    /// The edge of each line after the heading.
    #[track_caller]
    fn edges(&self, arguments: &[&str]) -> Vec<String> {
        let (status, stdout, stderr) = self.diff(arguments);
        assert_eq!((status, stderr.as_str()), (0, ""));
        let edge = |line: &str| line.split("  ").next().unwrap_or_default().to_owned();
        stdout.lines().skip(1).map(edge).collect()
    }
}

/// A day ago nginx asked the app and a cache. Since then the app was deployed anew, the cache went,
/// and a database came, which refuses.
fn fleet() -> Filled {
    let (nginx, old_nginx) = (("nginx", 200), ("nginx", 100));
    let mut refused = connects("10.0.0.2:5432", nginx);
    refused.counters.failed = Failures { refused: 3, ..Failures::default() };
    Filled::with(vec![
        front(
            24 * 60,
            vec![connects("10.0.0.2:8080", old_nginx), connects("10.0.0.3:6379", old_nginx)],
        ),
        back(24 * 60, vec![serves(300)]),
        front(5, vec![connects("10.0.0.2:8080", nginx), refused]),
        back(5, vec![serves(900)]),
    ])
}

const DAY: [&str; 2] = ["--from", "23h50m"];

#[test]
fn what_came_and_what_went_is_shown_and_a_restart_is_not() {
    let fleet = fleet();
    let appeared = "+ 10.0.0.1:many ('nginx', pgid=200) → 10.0.0.2:5432 (process unknown)";
    let vanished = "- 10.0.0.1:many ('nginx', pgid=100) → 10.0.0.3:6379 (process unknown)";
    assert_eq!(fleet.edges(&DAY), [appeared, vanished]);
    assert_eq!(fleet.edges(&[&DAY[..], &["--port", "6379"]].concat()), [vanished]);
    assert_eq!(fleet.edges(&[&["nginx"], &DAY[..]].concat()).len(), 2);
    assert_eq!(fleet.edges(&[&["10.0.0.3"], &DAY[..]].concat()), [vanished]);
    assert_eq!(fleet.edges(&[&["front"], &DAY[..]].concat()).len(), 2);
    let (status, stdout, _) = fleet.diff(&[&["app"], &DAY[..]].concat());
    assert_eq!((status, stdout.as_str()), (0, "nothing appeared, vanished, or began to fail\n"));
}

#[test]
fn what_began_to_fail_is_shown() {
    let works = connects("10.0.0.2:8080", ("nginx", 1));
    let mut fails = works.clone();
    fails.counters.failed = Failures { timed_out: 2, ..Failures::default() };
    let filled = Filled::with(vec![front(90, vec![works]), front(5, vec![fails])]);
    let edges = filled.edges(&["--from", "1h"]);
    assert_eq!(edges, ["! 10.0.0.1:many ('nginx', pgid=1) → 10.0.0.2:8080 (process unknown)"]);
}

#[test]
fn every_format_has_the_same_edges() {
    let fleet = fleet();
    let (status, json, _) = fleet.diff(&[&DAY[..], &["--format", "json"]].concat());
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!((status, kinds), (0, vec!["windows", "appeared", "vanished"]));
    assert_eq!(lines[1]["after"]["failures"]["refused"], 3);
    assert!(lines[1]["before"].is_null() && lines.iter().all(|line| line["version"] == 1));
    let (_, csv, _) = fleet.diff(&[&DAY[..], &["--format", "csv"]].concat());
    let kinds: Vec<_> = csv.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert_eq!(kinds, ["appeared", "vanished"]);
}

#[test]
fn a_host_that_did_not_report_is_told_and_its_edges_are_no_change() {
    let app = || serves(300);
    let filled = Filled::with(vec![
        front(90, vec![connects("10.0.0.3:6379", ("nginx", 1))]),
        back(90, vec![app()]),
        back(5, vec![app()]),
    ]);
    let (status, stdout, _) = filled.diff(&["--from", "1h"]);
    assert_eq!(status, 0);
    assert!(stdout.starts_with("nothing appeared"), "{stdout}");
    assert!(stdout.contains("note: host 'front' did not report between 20"), "{stdout}");
    let (_, csv, stderr) = filled.diff(&["--from", "1h", "--format", "csv"]);
    assert_eq!(csv.lines().count(), 1, "{csv}");
    assert!(stderr.contains("netglass: host 'front' did not report"), "{stderr}");
}

#[test]
fn a_window_never_reaches_the_other_moment() {
    let at = |port: u16, minutes_ago| {
        front(minutes_ago, vec![connects(&format!("10.0.0.3:{port}"), ("nginx", 1))])
    };
    let filled = Filled::with(vec![at(1, 25), at(2, 15), at(3, 5)]);
    let to = |line: &String| line.split_once("10.0.0.3").unwrap().1[..2].to_owned();
    let edges: Vec<_> = filled.edges(&["--from", "10m"]).iter().map(to).collect();
    assert_eq!(edges, [":3", ":2"]);
    let edges: Vec<_> = filled.edges(&["--from", "20m", "--to", "10m"]).iter().map(to).collect();
    assert_eq!(edges, [":2", ":1"]);
}

#[test]
fn what_cannot_be_compared_is_an_error_that_says_so() {
    let fleet = fleet();
    for (question, says) in [
        (&["--from", "3h"] as &[_], "no host reported to sqlite:"),
        (&["--from", "23h50m", "--to", "3h"], "try other moments"),
        (&["ngin", "--from", "23h50m"], "nothing is known of host or process 'ngin' between 20"),
    ] {
        let (status, stdout, stderr) = fleet.diff(question);
        assert_eq!((status, stdout.as_str()), (1, ""), "{question:?}");
        assert!(stderr.contains(says), "{question:?}: {stderr}");
    }
}
