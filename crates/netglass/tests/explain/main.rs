//! `netglass explain` on a network of namespaces with one between that translates addresses.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use netglass_testing::{Link, Namespace, Place, Running, Signal, link, require};
use serde_json::Value;

/// A client, a server, and a router that translates both of their addresses: 10.N.0.2 is the client, which
/// knows the server 10.N.1.2:8080 as 10.N.0.1:80.
struct Network {
    number: u8,
    client: Namespace,
    router: Namespace,
    server: Namespace,
    near: Link,
    far: Link,
    place: Place,
}

impl Network {
    /// Tests that run beside each other have other numbers: addresses tell connections apart.
    fn new(number: u8) -> Self {
        let [client, router, server] = ["client", "router", "server"].map(Namespace::new);
        let address = |rest: &str| format!("10.{number}.{rest}");
        let near = link(&client, &address("0.2/24"), &router, &address("0.1/24"));
        let far = link(&router, &address("1.1/24"), &server, &address("1.2/24"));
        router.forward();
        router.nft(&format!(
            "table ip nat {{
                chain before {{
                    type nat hook prerouting priority dstnat;
                    tcp dport 80 dnat to {};
                }}
                chain behind {{
                    type nat hook postrouting priority srcnat;
                    ip daddr {} masquerade;
                }}
            }}",
            address("1.2:8080"),
            address("1.0/24"),
        ));
        let place = Place::new();
        Self { number, client, router, server, near, far, place }
    }

    fn address(&self, rest: &str) -> String {
        format!("10.{}.{rest}", self.number)
    }

    /// What the client knows the server as.
    fn service(&self) -> SocketAddr {
        self.address("0.1:80").parse().unwrap()
    }

    fn netglass(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netglass"));
        command.arg("explain");
        self.place.prepare(command, arguments)
    }

    /// `netglass explain`, as soon as it sees packets, until it is told to end.
    fn explain(&self, arguments: &[&str]) -> Running {
        let running = Running::spawn(self.netglass(&[arguments, &["--for", "5m"]].concat()));
        running.wait_for_line("the kernel tells of packets in");
        running
    }

    /// A connection through the router by which something is said and answered, and who listens.
    fn talk(&self) -> (TcpStream, TcpStream, TcpListener) {
        let listener = self.server.inside(|| TcpListener::bind(self.address("1.2:8080")).unwrap());
        let mut near = self.client.inside(|| TcpStream::connect(self.service()).unwrap());
        let (mut far, _) = listener.accept().unwrap();
        near.write_all(b"question").unwrap();
        far.read_exact(&mut [0; 8]).unwrap();
        far.write_all(b"answer").unwrap();
        near.read_exact(&mut [0; 6]).unwrap();
        (near, far, listener)
    }
}

#[track_caller]
fn end(running: Running) -> (String, String) {
    running.signal(Signal::INT);
    let ended = running.wait();
    let [stdout, stderr] =
        [ended.stdout, ended.stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(ended.status.code(), Some(0), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    (stdout, stderr)
}

fn objects(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The steps of a way, each in a few words.
fn steps(way: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let step = |it: &Value| {
        let place = text(&it["network_namespace"]["name"]);
        match it["step"].as_str().unwrap() {
            "nat" => format!("nat {place}"),
            "drop" => format!("drop {place} {} {}", text(&it["interface"]), text(&it["reason"])),
            step => format!("{step} {place} {}", text(&it["interface"])),
        }
    };
    way["steps"].as_array().unwrap().iter().map(step).collect()
}

#[test]
fn a_connection_is_one_path_through_translated_addresses() {
    require!(root, ebpf, command("nft"));
    let network = Network::new(84);
    // By what the client has, and by what the server has, it is the same.
    let service = network.service().to_string();
    let targets = [service.clone(), network.address("1.2:8080")];
    let running = targets.map(|target| network.explain(&[&target, "-j"]));
    let as_text = network.explain(&[&network.address("0.2")]);
    let sockets = network.talk();
    let client = sockets.0.local_addr().unwrap();
    let (near, far) = (&network.near, &network.far);
    let [of_client, of_router, of_server] =
        [&network.client, &network.router, &network.server].map(Namespace::name);
    let there = [
        format!("out {of_client} {}", near.first),
        format!("in {of_router} {}", near.second),
        format!("nat {of_router}"),
        format!("out {of_router} {}", far.first),
        format!("in {of_server} {}", far.second),
    ];
    let back = [
        format!("out {of_server} {}", far.second),
        format!("in {of_router} {}", far.first),
        format!("nat {of_router}"),
        format!("out {of_router} {}", near.second),
        format!("in {of_client} {}", near.first),
    ];
    for running in running {
        let (stdout, stderr) = end(running);
        let objects = objects(&stdout);
        let [object] = &objects[..] else { panic!("{stdout}\n{stderr}") };
        assert_eq!((&object["v"], &object["type"]), (&1.into(), &"path".into()));
        assert_eq!(object["protocol"], "tcp");
        assert_eq!(object["client"]["address"], network.address("0.2"));
        assert_eq!(object["client"]["port"], client.port());
        assert_eq!(object["server"]["address"], network.address("0.1"));
        assert_eq!(object["server"]["port"], 80);
        for end in ["client", "server"] {
            assert_eq!(object[end]["process"]["pid"], std::process::id(), "{object:#}");
        }
        assert_eq!(steps(&object["there"]), there, "{object:#}");
        assert_eq!(steps(&object["back"]), back, "{object:#}");
        let nat = &object["there"]["steps"][2];
        assert_eq!(nat["before"]["destination"], service);
        assert_eq!(nat["after"]["destination"], network.address("1.2:8080"));
        let after = nat["after"]["source"].as_str().unwrap();
        assert!(after.starts_with(&network.address("1.1:")), "{nat}");
        assert!(object["there"]["packets"].as_u64().unwrap() >= 3, "{object:#}");
        assert!(stderr.contains("; 0 lost before they came; in the kernel: "), "{stderr}");
    }
    let (stdout, _) = end(as_text);
    let summary = format!("tcp {client} -> {service}: ");
    assert!(stdout.starts_with(&summary), "{stdout}");
    for part in [
        format!("    -> {} of {of_client}: ", near.first),
        format!("    ~~ NAT in {of_router}: {client} -> {service} becomes "),
        format!("    <- {} of {of_server}: ", far.second),
    ] {
        assert!(stdout.contains(&part), "{part:?} is not in {stdout}");
    }
}

#[test]
fn a_path_ends_where_its_packets_are_dropped() {
    require!(root, ebpf, command("nft"));
    let network = Network::new(86);
    network.server.nft(
        "add table ip t
         add chain ip t i { type filter hook input priority 0; }
         add rule ip t i tcp dport 8080 drop",
    );
    let running = network.explain(&["10.86.0.2-10.86.0.1:80", "-j"]);
    let patience = Duration::from_millis(300);
    network
        .client
        .inside(|| TcpStream::connect_timeout(&network.service(), patience).map(drop).unwrap_err());
    let (stdout, _) = end(running);
    let objects = objects(&stdout);
    let [object] = &objects[..] else { panic!("{stdout}") };
    let last = steps(&object["there"]).pop().unwrap();
    let expected = format!("drop {} {} NETFILTER_DROP", network.server.name(), network.far.second);
    assert_eq!(last, expected, "{object:#}");
    assert_eq!(object["back"]["packets"], 0);
    assert!(object["back"]["steps"].as_array().unwrap().is_empty());
}

#[test]
fn what_nobody_asked_for_is_counted_and_what_was_not_seen_is_said() {
    require!(root, ebpf, command("nft"));
    let network = Network::new(88);
    let running = network.explain(&["10.88.0.77"]);
    let _sockets = network.talk();
    let (stdout, stderr) = end(running);
    assert_eq!(stdout, "nothing was seen of 10.88.0.77\n");
    assert!(stderr.contains(" packets = 0 explained + "), "{stderr}");
    let wrong = network.netglass(&["host"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("neither an address"));
}
