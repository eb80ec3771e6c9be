//! Connections that are gone before anybody could look at them.

use netglass_testing::{Namespace, require};

use super::{Hosts, Watch, assert_processes, run_load, tcp_counter, wait_until_closed};
use crate::support::{Database, load, only_edge_to, wait_for};

const COUNT: u16 = 10_000;
const PORT: u16 = 5000;

/// Opens connections that live for a millisecond, from `client` to `server`.
#[track_caller]
fn count_short_lives(client: &Namespace, server: &Namespace, address: &str) {
    let database = Database::new();
    let of_load = load(server, &format!("churn-server --listen {address}"));
    let mut clients = load(
        client,
        &format!("churn-clients --to {address} --connections {COUNT} --life 1 --send 7"),
    );
    let mut namespaces = vec![client, server];
    namespaces.dedup_by_key(|namespace| namespace.inode());
    let flush = ["--flush-interval", "300ms"];
    let watch = Watch::with("100ms", &database, &namespaces, &flush);
    run_load(&mut clients, COUNT.into());
    // The last step of a handshake reaches the server after the client has done.
    wait_for(|| (tcp_counter(server, "PassiveOpens") >= COUNT.into()).then_some(()));
    for namespace in &namespaces {
        wait_until_closed(namespace);
    }
    let (edges, ledgers) = watch.end();

    let edge = only_edge_to(&edges, PORT);
    assert_eq!(edge.number("connections"), u64::from(COUNT));
    assert_eq!(edge.number("connections"), tcp_counter(client, "ActiveOpens"));
    assert_eq!(edge.number("connections"), tcp_counter(server, "PassiveOpens"));
    assert_eq!(edge.number("failed"), 0);
    assert_eq!(edge.number("bytes_sent"), 7 * u64::from(COUNT));
    assert_eq!(edge.number("bytes_received"), 0);
    assert_processes(edge, clients.id(), of_load.id());
    assert_eq!(edges.len(), 1, "{edges:#?}");
    // Each end of each connection was seen.
    let seen: u64 = ledgers.iter().map(|ledger| ledger.count("seen")).sum();
    assert!(seen >= 2 * u64::from(COUNT), "{ledgers:?}");
}

#[test]
fn over_a_link_with_ipv4() {
    require!(root, ebpf);
    let hosts = Hosts::new();
    count_short_lives(&hosts.client, &hosts.server, &format!("{}:{PORT}", Hosts::SERVER_V4));
}

#[test]
fn over_a_link_with_ipv6() {
    require!(root, ebpf);
    let hosts = Hosts::new();
    count_short_lives(&hosts.client, &hosts.server, &format!("[{}]:{PORT}", Hosts::SERVER_V6));
}

#[test]
fn over_loopback_with_ipv4() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    count_short_lives(&host, &host, &format!("127.0.0.1:{PORT}"));
}

#[test]
fn over_loopback_with_ipv6() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    count_short_lives(&host, &host, &format!("[::1]:{PORT}"));
}

#[test]
fn to_servers_of_several_processes_from_clients_of_several_processes() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let database = Database::new();
    let to = format!("127.0.0.1:{PORT}");
    let _servers = load(&host, &format!("churn-server --listen {to} --processes 3 --answer 100"));
    let mut clients = load(
        &host,
        &format!("churn-clients --to {to} --processes 3 --connections 3000 --await-end --send 10"),
    );
    let watch = Watch::new("20ms", &database, &[&host]);
    run_load(&mut clients, 3000);
    wait_until_closed(&host);
    let (edges, _) = watch.end();
    let mut pids = Vec::new();
    for port in PORT..PORT + 3 {
        let edge = only_edge_to(&edges, port);
        assert_eq!((edge.number("connections"), edge.number("failed")), (1000, 0));
        assert_eq!(edge.number("bytes_sent"), 10_000);
        assert_eq!(edge.number("bytes_received"), 100_000);
        pids.extend([edge.number("client/process/pid"), edge.number("server/process/pid")]);
    }
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 6, "each is another process");
}
