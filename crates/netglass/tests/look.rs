//! `netglass look` on a database that two hosts have filled.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{
    net::IpAddr,
    process::Command,
    sync::Arc,
    time::{Duration, SystemTime},
};

use netglass_model::{
    Attribution, Direction, Endpoint, FlowCounters, Host, HostAddress, HostFlow, HostId, Listener,
    NamespaceInode, NetworkNamespace, Observations, Port, Process, Protocol, Timestamp,
};
use netglass_store::{Access, DatabaseUrl, Settings};
use netglass_testing::{Ended, Place, flush};

const NAMESPACE: NamespaceInode = NamespaceInode(4_026_531_840);
const MINUTE: Duration = Duration::from_secs(60);

/// A database in a place of its own.
struct Filled {
    place: Place,
    now: Timestamp,
}

impl Filled {
    fn with(observations: &[Observations]) -> Self {
        let place = Place::new();
        let url = DatabaseUrl::Sqlite(place.path("netglass.db"));
        let mut database = netglass_store::open(&url, Access::Write, Settings::default()).unwrap();
        for observation in observations {
            database.write(&flush(observation)).unwrap();
        }
        Self { place, now: now() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netglass"));
        command.arg("look");
        let mut command = self.place.prepare(command, arguments);
        command.env("NETGLASS_DB", self.place.path("netglass.db"));
        command
    }

    /// Status, standard output and standard error.
    fn look(&self, arguments: &[&str]) -> (i32, String, String) {
        let Ended { status, stdout, stderr } = Ended::by(&mut self.command(arguments));
        (status, stdout, stderr)
    }

    /// The node's text of each line after the heading.
    #[track_caller]
    fn nodes(&self, arguments: &[&str]) -> Vec<String> {
        let (status, stdout, stderr) = self.look(arguments);
        assert_eq!(status, 0, "{stderr}");
        stdout
            .lines()
            .skip(1)
            .map(|line| line.split_once(')').map_or(line, |(node, _)| node).to_owned() + ")")
            .collect()
    }
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

fn observations(name: &str, address: &str, flows: Vec<HostFlow>) -> Observations {
    let address: IpAddr = address.parse().unwrap();
    Observations {
        host: Host {
            id: HostId { machine_id: format!("{name:0<32}"), hostname: name.to_owned() },
            namespace: NAMESPACE,
            addresses: vec![HostAddress { namespace: NAMESPACE, address }],
        },
        namespaces: vec![NetworkNamespace { inode: NAMESPACE, name: None }],
        flows,
        translations: vec![],
        listeners: Vec::new(),
    }
}

fn flow(direction: Direction, local: Endpoint, peer: Endpoint, comm: &str, pgid: u32) -> HostFlow {
    HostFlow {
        namespace: NAMESPACE,
        protocol: Protocol::Tcp,
        direction,
        local,
        peer,
        process: Some(Arc::new(process(comm, pgid))),
        attribution: Attribution::Socket,
        counters: FlowCounters { connections: 4, opened: 4, ..FlowCounters::default() },
        first_seen: now().saturating_sub(MINUTE),
        last_seen: now().saturating_sub(MINUTE),
    }
}

fn process(comm: &str, pgid: u32) -> Process {
    Process {
        pid: pgid,
        start_time: Timestamp::from_nanoseconds(1_700_000_000_000_000_000),
        pgid,
        ppid: 1,
        family: pgid,
        uid: Some(0),
        gid: Some(0),
        comm: comm.to_owned(),
        exe: None,
        cgroup: None,
        container: None,
        command_line: None,
    }
}

fn endpoint(text: &str) -> Endpoint {
    let (address, port) = text.rsplit_once(':').unwrap();
    Endpoint::new(address.parse().unwrap(), port.parse().map_or(Port::Many, Port::Number))
}

/// curl on host `front` → nginx on host `front` → app on host `back`.
fn fleet() -> Filled {
    let (active, passive) = (Direction::Active, Direction::Passive);
    let (curl, nginx) = (endpoint("10.0.0.9:many"), endpoint("10.0.0.1:80"));
    let (proxy, app) = (endpoint("10.0.0.1:many"), endpoint("10.0.0.2:8080"));
    let mut back = observations("back", "10.0.0.2", vec![flow(passive, app, proxy, "app", 300)]);
    back.listeners.push(Listener {
        namespace: NAMESPACE,
        protocol: Protocol::Tcp,
        local: endpoint("0.0.0.0:22"),
        process: Some(Arc::new(process("sshd", 400))),
        first_seen: now().saturating_sub(MINUTE),
        last_seen: now().saturating_sub(MINUTE),
    });
    Filled::with(&[
        observations("client", "10.0.0.9", vec![flow(active, curl, nginx, "curl", 100)]),
        observations(
            "front",
            "10.0.0.1",
            vec![flow(passive, nginx, curl, "nginx", 200), flow(active, proxy, app, "nginx", 200)],
        ),
        back,
    ])
}

#[test]
fn an_address_a_host_and_a_process_find_the_same_node() {
    let fleet = fleet();
    let expected = [
        "10.0.0.1:80 ('nginx', pgid=200)",
        "└<-- 10.0.0.9:many ('curl', pgid=100)",
        "└--> 10.0.0.2:8080 ('app', pgid=300)",
    ];
    for question in [
        &["10.0.0.1"] as &[_],
        &["--ipv4", "10.0.0.1"],
        &["front"],
        &[&format!("{:0<32}", "front")],
        &["nginx"],
        &["nginx", "--ipv4", "10.0.0.1"],
    ] {
        assert_eq!(fleet.nodes(question), expected, "{question:?}");
    }
}

#[test]
fn a_chain_across_hosts_is_followed() {
    let fleet = fleet();
    let expected = [
        "10.0.0.9:many ('curl', pgid=100)",
        "└--> 10.0.0.1:80 ('nginx', pgid=200)",
        "    └--> 10.0.0.2:8080 ('app', pgid=300)",
    ];
    assert_eq!(fleet.nodes(&["curl", "--depth", "3"]), expected);
    let (_, json, _) = fleet.look(&["curl", "--depth", "3", "--format", "json"]);
    assert_eq!(json.lines().count(), 2, "{json}");
    for line in json.lines() {
        let edge: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(edge["connections"], 4);
        assert_eq!(edge["version"], 1);
    }
}

#[test]
fn a_port_finds_its_servers() {
    let expected = ["10.0.0.2:8080 ('app', pgid=300)", "└<-- 10.0.0.1:many ('nginx', pgid=200)"];
    assert_eq!(fleet().nodes(&["--port", "8080"]), expected);
}

#[test]
fn idle_listeners_are_shown_when_asked_for() {
    let fleet = fleet();
    assert!(
        fleet.nodes(&["back", "--listening"]).contains(&"0.0.0.0:22 ('sshd', pgid=400)".into())
    );
    assert_eq!(fleet.nodes(&["sshd", "--listening"]).len(), 1);
    assert_eq!(fleet.look(&["sshd"]).0, 1);
}

#[test]
fn what_is_not_there_is_said_with_what_was_looked_for() {
    let fleet = fleet();
    for (question, says) in [
        (&["ngin"] as &[_], "host or process 'ngin' between 20"),
        (&["10.9.9.9"], "address 10.9.9.9"),
        (&["nginx", "--port", "443"], "'nginx', port 443"),
        (&["nginx", "--since", "3h", "--until", "2h"], "'nginx'"),
    ] {
        let (status, stdout, stderr) = fleet.look(question);
        assert_eq!((status, stdout.as_str()), (1, ""), "{question:?}");
        assert!(stderr.starts_with("netglass: nothing is known of"), "{stderr}");
        assert!(stderr.contains(says) && stderr.contains("try an earlier --since"), "{stderr}");
        assert!(stderr.contains("netglass.db"), "{stderr}");
    }
}

#[test]
fn a_database_without_this_host_says_which_ones_it_has() {
    let (status, _, stderr) = fleet().look(&[]);
    assert_eq!(status, 1);
    assert!(stderr.contains("back, client, front"), "{stderr}");
}

#[test]
fn the_only_host_of_a_database_is_shown_and_named() {
    let active =
        flow(Direction::Active, endpoint("10.0.0.9:many"), endpoint("10.0.0.1:80"), "curl", 1);
    let filled = Filled::with(&[observations("elsewhere", "10.0.0.9", vec![active])]);
    let (status, stdout, stderr) = filled.look(&[]);
    assert_eq!(status, 0, "{stderr}");
    assert!(stdout.contains("10.0.0.9:many ('curl', pgid=1)"), "{stdout}");
    assert!(stderr.contains("showing the only one that is, 'elsewhere'"), "{stderr}");
}

#[test]
fn time_stamps_bound_the_answer() {
    let fleet = fleet();
    let stamp = |moment: Timestamp| {
        jiff::Timestamp::from_nanosecond(moment.as_nanoseconds().into()).unwrap().to_string()
    };
    let (before, after) = (fleet.now.saturating_sub(10 * MINUTE), fleet.now.saturating_add(MINUTE));
    let answer = fleet.nodes(&["nginx", "--since", &stamp(before), "--until", &stamp(after)]);
    assert_eq!(answer.len(), 3);
    let earlier = stamp(before.saturating_sub(10 * MINUTE));
    assert_eq!(fleet.look(&["nginx", "--since", &earlier, "--until", &stamp(before)]).0, 1);
}

#[test]
fn the_answer_has_no_colours_where_nobody_sees_them() {
    let fleet = fleet();
    for format in ["tree", "json", "dot", "mermaid", "csv"] {
        let (status, stdout, _) = fleet.look(&["nginx", "--format", format]);
        assert_eq!(status, 0);
        assert!(!stdout.contains('\u{1b}') && !stdout.is_empty(), "{format}: {stdout:?}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let fleet = fleet();
    for format in ["tree", "json", "csv"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = fleet.command(&["nginx", "--format", format]).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{format}");
        assert!(output.stderr.is_empty(), "{format}");
    }
}
