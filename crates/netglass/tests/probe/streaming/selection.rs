//! Which connections are kept.

use netglass_testing::{Namespace, Signal, require};

use super::{Hosts, NEVER, run_load, wait_until_closed};
use crate::support::{Database, Edge, Ledger, Probing, load, only_edge_to};

/// Streams while 10 connections are made over loopback, 20 of the host to an address of its own,
/// and 30 to each of another host's private and public address; UDP has one exchange for each.
fn stream_with(options: &[&str]) -> (Ledger, Vec<Edge>) {
    let hosts = Hosts::new();
    let (client, server) = (&hosts.client, &hosts.server);
    client.ip("route add 198.41.0.0/24 via 10.9.20.2");
    server.add_address("lo", "198.41.0.4/32");
    let _servers = [
        load(client, "churn-server --listen 0.0.0.0:5000"),
        load(server, "churn-server --listen 0.0.0.0:5000"),
        load(client, "udp-server --listen 127.0.0.1:7000"),
    ];
    let database = Database::new();
    let options = [&["--flush-interval", NEVER], options].concat();
    let probe = Probing::stream(NEVER, &database, client, &options);
    for (to, count) in
        [("127.0.0.1", 10), (Hosts::CLIENT_V4, 20), (Hosts::SERVER_V4, 30), ("198.41.0.4", 30)]
    {
        let churn = format!("churn-clients --to {to}:5000 --connections {count}");
        run_load(&mut load(client, &churn), count);
    }
    run_load(&mut load(client, "udp-exchanges --to 127.0.0.1:7000 --count 5"), 5);
    wait_until_closed(client);
    let finished = probe.end(Signal::TERM);
    assert!(finished.status.success(), "{finished:?}");
    (Ledger::read(&finished.stdout), database.edges(client, &[]))
}

fn servers(edges: &[Edge]) -> Vec<(&str, u64, u64)> {
    let server = |edge: &Edge| (edge.number("server/port"), edge.number("connections"));
    let mut servers: Vec<_> = edges
        .iter()
        .map(|edge| (edge.text("server/address"), server(edge).0, server(edge).1))
        .collect();
    servers.sort_unstable();
    servers
}

const LOOPBACK: [(&str, u64, u64); 2] = [("127.0.0.1", 5000, 10), ("127.0.0.1", 7000, 5)];
const OWN: (&str, u64, u64) = (Hosts::CLIENT_V4, 5000, 20);
const PRIVATE: (&str, u64, u64) = (Hosts::SERVER_V4, 5000, 30);
const PUBLIC: (&str, u64, u64) = ("198.41.0.4", 5000, 30);

#[test]
fn everything_is_kept_by_default() {
    require!(root, ebpf);
    let (ledger, edges) = stream_with(&[]);
    assert_eq!(servers(&edges), [OWN, PRIVATE, LOOPBACK[0], LOOPBACK[1], PUBLIC]);
    assert_eq!(ledger.skipped_total(), 0, "{ledger:?}");
}

#[test]
fn loopback_can_be_left_out_and_is_counted_as_such() {
    require!(root, ebpf);
    let (ledger, edges) = stream_with(&["--loopback", "exclude"]);
    assert_eq!(servers(&edges), [OWN, PRIVATE, PUBLIC]);
    // Both ends of ten connections; of five exchanges two datagrams, sent and received.
    assert_eq!((ledger.skipped("loopback"), ledger.skipped_total()), (40, 40), "{ledger:?}");
}

#[test]
fn peers_are_kept_by_where_their_addresses_are() {
    require!(root, ebpf);
    let (ledger, edges) = stream_with(&["--filter", "public"]);
    assert_eq!(servers(&edges), [PUBLIC]);
    // As above, and both ends of 20 more, and our end of 30.
    assert_eq!((ledger.skipped("filter"), ledger.skipped_total()), (110, 110), "{ledger:?}");
    let (ledger, edges) = stream_with(&["--filter", "private"]);
    assert_eq!(servers(&edges), [OWN, PRIVATE, LOOPBACK[0], LOOPBACK[1]]);
    assert_eq!((ledger.skipped("filter"), ledger.skipped_total()), (30, 30), "{ledger:?}");
}

#[test]
fn only_the_own_namespace_is_watched_unless_all_are_asked_for() {
    require!(root, ebpf);
    let (own, other) = (Namespace::new("own"), Namespace::new("other"));
    let both = [&own, &other];
    let _servers = both.map(|host| {
        [
            load(host, "churn-server --listen 127.0.0.1:5000"),
            load(host, "udp-server --listen [::]:7000"),
        ]
    });
    for all in [false, true] {
        let database = Database::new();
        let flush = ["--flush-interval", NEVER];
        let options = [&flush[..], if all { &["--all-namespaces"] } else { &[] }].concat();
        let probe = Probing::stream(NEVER, &database, &own, &options);
        for host in both {
            let churn = load(host, "churn-clients --to 127.0.0.1:5000 --connections 10");
            let failed = load(host, "failed-attempts --kind refused --to 127.0.0.1:1 --count 3");
            let no_route = load(host, "failed-attempts --kind no-route --to 10.1.1.1:2 --count 2");
            let udp = load(host, "udp-exchanges --to [::1]:7000 --count 5 --unconnected");
            for (mut load, count) in [(churn, 10), (failed, 3), (no_route, 2), (udp, 5)] {
                run_load(&mut load, count);
            }
            wait_until_closed(host);
        }
        assert!(probe.end(Signal::TERM).status.success());
        let edges = database.edges(&own, &["--listening"]);
        for (host, is_watched) in [(&own, true), (&other, all)] {
            let inode = host.inode();
            let of_host = |edge: &&Edge| {
                let at = |end: &str| edge.get(&format!("{end}/netns")).as_u64() == Some(inode);
                at("client") || at("listener")
            };
            let found: Vec<_> = edges.iter().filter(of_host).collect();
            assert_eq!(found.len(), if is_watched { 4 } else { 0 }, "{edges:#?}");
            for edge in found {
                assert_eq!(edge.text("client/netns_name"), host.name());
            }
        }
        if !all {
            assert_eq!(only_edge_to(&edges, 5000).number("connections"), 10);
            assert_eq!(only_edge_to(&edges, 7000).number("connections"), 5);
            assert_eq!(only_edge_to(&edges, 1).number("failed"), 3);
            assert_eq!(only_edge_to(&edges, 2).number("failed"), 2);
        }
    }
}

#[test]
fn processes_of_other_namespaces_are_not_even_looked_at() {
    require!(root, ebpf);
    let (own, other) = (Namespace::new("own"), Namespace::new("other"));
    let database = Database::new();
    let probe = Probing::stream(NEVER, &database, &own, &["--flush-interval", NEVER]);
    let server = load(&other, "churn-server --listen 127.0.0.1:5000");
    let udp_server = load(&other, "udp-server --listen 127.0.0.1:7000");
    let loads = [
        "churn-clients --to 127.0.0.1:5000 --connections 1",
        "udp-exchanges --to 127.0.0.1:7000 --count 1",
        "udp-exchanges --to 127.0.0.1:7000 --count 1 --unconnected",
        "failed-attempts --kind refused --to 127.0.0.1:1 --count 1",
        "failed-attempts --kind no-route --to 10.1.1.1:1 --count 1",
    ];
    for arguments in loads {
        run_load(&mut load(&other, arguments), 1);
    }
    drop((server, udp_server));
    let finished = probe.end(Signal::TERM);
    let ledger = Ledger::read(&finished.stdout);
    assert_eq!(ledger.count("seen"), 0, "{ledger:?}");
    assert_eq!(ledger.lacking("process_vanished"), 0, "{ledger:?}");
}
