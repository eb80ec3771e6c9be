//! Calls that are added up: who talks to whom.

use std::{ffi::OsStr, process::Command};

use netglass_testing::{Running, require};
use serde_json::Value;

use crate::support::{Place, Streamed};

const ROUNDS: u64 = 50;

/// A server in another process, which is asked 50 times over a connection each, and once where
/// nobody listens.
const SCRIPT: &str = "
import os, socket, sys
listener = socket.create_server(('127.0.0.1', 0))
address = listener.getsockname()
if os.fork() == 0:
    open('/proc/self/comm', 'w').write('summed-server')
    for _ in range(50):
        server, _ = listener.accept()
        server.send(server.recv(100) * 2)
        server.close()
    os._exit(0)
open('/proc/self/comm', 'w').write('summed-client')
for _ in range(50):
    client = socket.create_connection(address)
    client.send(b'hello')
    while client.recv(100):
        pass
    client.close()
listener.close()
os.wait()
assert socket.socket().connect_ex(address) == 111
";

fn summed(place: &Place, options: &[&str]) -> Streamed {
    let command: Vec<&OsStr> = ["python3", "-c", SCRIPT].iter().map(OsStr::new).collect();
    let streamed = place.follow(options, &command);
    assert_eq!(streamed.status, Some(0), "{}", streamed.stderr);
    streamed
}

#[track_caller]
fn end<'a>(streamed: &'a Streamed, comm: &str, direction: &str) -> &'a Value {
    let found = streamed
        .calls
        .iter()
        .find(|end| end["process"]["comm"] == comm && end["direction"] == direction);
    found.unwrap_or_else(|| panic!("{comm} is no {direction} end: {streamed:#?}"))
}

#[test]
fn both_ends_are_joined_and_all_calls_are_accounted_for() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let streamed = summed(&place, &["--summary"]);
    let client = end(&streamed, "summed-client", "active");
    let server = end(&streamed, "summed-server", "passive");
    for (own, peer) in [(client, "summed-server"), (server, "summed-client")] {
        let peers: Vec<_> = own["peers"].as_array().unwrap().iter().collect();
        assert_eq!(peers.len(), 1, "{streamed:#?}");
        assert_eq!(peers[0]["comm"], peer);
    }
    assert_eq!(client["remote"], server["local"]);
    assert_eq!((&client["bytes_sent"], &client["bytes_received"]), (&250.into(), &500.into()));
    assert_eq!((&server["bytes_sent"], &server["bytes_received"]), (&500.into(), &250.into()));
    let sent = &client["by_call"]["sendto"];
    assert_eq!((&sent["calls"], &sent["bytes_sent"]), (&ROUNDS.into(), &250.into()));
    assert!(
        sent["p50_ns"].as_u64().unwrap() > 0 && sent["p99_ns"].as_u64() >= sent["p50_ns"].as_u64()
    );
    let connects = &client["by_call"]["connect"];
    assert_eq!((&connects["calls"], &connects["errors"]["ECONNREFUSED"]), (&51.into(), &1.into()));
    assert_eq!(server["by_call"]["accept4"]["calls"], ROUNDS);

    let total: u64 = streamed.calls.iter().map(|end| end["calls"].as_u64().unwrap()).sum();
    let [seen, added_up, filtered, lost] = streamed.ledger();
    assert_eq!((seen, total, lost), (added_up + filtered, added_up, 0), "{}", streamed.stderr);
}

#[test]
fn a_summary_of_each_interval_tells_what_is_new() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let script = "
import socket, sys, time
a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
a.bind(('127.0.0.1', 0))
a.connect(a.getsockname())
for _ in range(6):
    a.send(b'x')
    time.sleep(0.25)
";
    let arguments = ["python3", "-c", script];
    let command: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    let streamed = place.follow(&["--summary", "300ms", "--call", "send"], &command);
    let counts: Vec<u64> =
        streamed.calls.iter().map(|end| end["calls"].as_u64().unwrap()).collect();
    assert!(counts.len() > 2 && counts.iter().sum::<u64>() == 6, "{streamed:#?}");
    let mut last = 0;
    for end in &streamed.calls {
        let (since, until) = (end["since_ns"].as_u64().unwrap(), end["until_ns"].as_u64().unwrap());
        assert!(last <= since && since < until, "{streamed:#?}");
        last = until;
    }
}

#[test]
fn with_a_database_it_is_stored_as_what_a_probe_sees() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let database = format!("sqlite:{}", place.path("calls.db").display());
    summed(&place, &["--summary", "--db", &database]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_netglass"));
    command
        .args(["look", "--format", "json", "--db", &database])
        .env("NETGLASS_CONFIG", place.path("empty.toml"));
    let looked = Running::spawn(command).wait();
    let text = String::from_utf8(looked.stdout).unwrap();
    let edges: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_joined = |edge: &&Value| {
        edge["client"]["process"]["comm"] == "summed-client"
            && edge["server"]["process"]["comm"] == "summed-server"
    };
    let edge = edges.iter().find(is_joined).unwrap_or_else(|| panic!("not joined: {text}"));
    assert_eq!((&edge["bytes_sent"], &edge["bytes_received"]), (&250.into(), &500.into()));
    assert_eq!((&edge["connections"], &edge["failures"]["refused"]), (&ROUNDS.into(), &1.into()));
}

#[test]
fn options_that_have_no_meaning_with_it_are_refused() {
    require!(root, ebpf);
    let place = Place::new();
    for (arguments, part) in [
        (&["--summary", "--phases"][..], "--phases"),
        (&["--summary", "--format", "csv"], "a table or JSON"),
        (&["--summary", "1s", "--payload", "10"], "--payload"),
        (&["--on-overload", "aggregate", "--phases"], "--on-overload aggregate"),
    ] {
        let finished = Running::spawn(place.stream(arguments)).wait();
        let stderr = String::from_utf8(finished.stderr).unwrap();
        assert_eq!(finished.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
    }
}

/// Many calls in little room.
const LOAD: &str = "
import socket, time
a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
a.bind(('127.0.0.1', 0))
a.connect(a.getsockname())
for _ in range(40000):
    a.send(b'x')
    a.recv(1)
time.sleep(3)
for _ in range(5):
    a.send(b'yy')
    time.sleep(0.1)
";

#[test]
fn what_there_is_no_room_for_is_added_up_until_there_is_again() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let options =
        ["--buffer-size", "16KiB", "--call", "sendto,recvfrom", "--on-overload", "aggregate"];
    let arguments = ["python3", "-c", LOAD];
    let command: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    let streamed = place.follow(&options, &command);
    assert_eq!(streamed.status, Some(0), "{}", streamed.stderr);
    let line = streamed.stderr.lines().rfind(|line| line.contains("ledger: ")).unwrap();
    let numbers: Vec<u64> =
        line.split(|it: char| !it.is_ascii_digit()).filter_map(|it| it.parse().ok()).collect();
    let [seen, written, added_up, filtered, lost] = numbers[..] else { panic!("{line}") };
    assert_eq!((seen, written + added_up, filtered, lost), (80_005, 80_005, 0, 0), "{line}");

    let (sums, others): (Vec<_>, Vec<_>) =
        streamed.calls.iter().partition(|it| it["added_up"].is_u64());
    let in_sums: u64 = sums.iter().map(|sum| sum["added_up"].as_u64().unwrap()).sum();
    assert_eq!(in_sums, added_up);
    assert!(sums.iter().all(|sum| sum["fd"].is_u64() && sum["comm"] == "python3"), "{sums:#?}");
    let bytes: u64 = sums
        .iter()
        .chain(others.iter().filter(|it| it["call"].is_string()))
        .map(|it| it["bytes"].as_u64().or(it["return"].as_u64()).unwrap())
        .sum();
    assert_eq!(bytes, 80_010);
    let changes: Vec<_> = others.iter().filter_map(|it| it["overload"].as_bool()).collect();
    assert_eq!(changes, [true, false], "{}", streamed.stderr);
    // Those are told of one by one.
    let last: Vec<_> = others.iter().rev().take(5).map(|it| it["return"].clone()).collect();
    assert_eq!(last, vec![Value::from(2); 5]);
    assert!(streamed.stderr.contains("one by one again"), "{}", streamed.stderr);
}
