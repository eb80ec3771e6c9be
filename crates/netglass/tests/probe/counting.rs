//! How much of what: connections, attempts, bytes, over one scan and over many.

use netglass_testing::{Namespace, Signal, link, require};

use crate::support::{Database, Ledger, Probing, clients, load, only_edge_to, server};

#[test]
fn ports_of_clients_collapse_into_many_and_connections_are_counted() {
    require!(root);
    let host = Namespace::new("host");
    let _server = server(&host, "127.0.0.1:8080");
    let _clients = clients(&host, "127.0.0.1:8080", 500);
    let database = Database::new();
    // Both ends of each connection, and the listener.
    let ledger = database.ledger_of_one_scan(&host, &[]);
    assert_eq!((ledger.count("seen"), ledger.count("stored")), (1001, 1001));
    let edges = database.edges(&host, &[]);
    assert_eq!(edges.len(), 1, "{edges:#?}");
    assert_eq!(edges[0].number("connections"), 500);
    let tree = database.tree(&host, &[]);
    assert!(tree.contains("└<-- 127.0.0.1:many ('netglass-load', pgid="), "{tree}");
}

#[test]
fn attempts_are_counted_apart_from_connections() {
    require!(root);
    let host = Namespace::new("host");
    host.add_black_hole("10.9.5.1/24");
    let attempts = load(&host, "syn-sent --to 10.9.5.9:81 --count 7");
    let database = Database::new();
    database.probe_once(&host, &[]);
    let edges = database.edges(&host, &[]);
    let edge = only_edge_to(&edges, 81);
    assert_eq!((edge.number("connections"), edge.number("failed")), (0, 7));
    assert_eq!(edge.number("client/process/pgid"), u64::from(attempts.id()));
}

#[test]
fn requests_that_wait_for_the_last_step_of_the_handshake_are_attempts_without_process() {
    require!(root, command("nft"));
    let (client, host) = (Namespace::new("client"), Namespace::new("server"));
    link(&client, "10.9.6.1/24", &host, "10.9.6.2/24");
    let _server = server(&host, "10.9.6.2:8080");
    // The client never sees the server's answer.
    netglass_testing::run(client.command("nft").arg(
        "table inet filter {
            chain input {
                type filter hook input priority 0
                tcp flags syn,ack drop
            }
        }",
    ));
    let _attempts = load(&client, "syn-sent --to 10.9.6.2:8080 --count 3");
    let database = Database::new();
    database.probe_once(&host, &[]);
    let edges = database.edges(&host, &[]);
    let edge = only_edge_to(&edges, 8080);
    assert_eq!((edge.number("connections"), edge.number("failed")), (0, 3));
    assert_eq!(edge.ends(), "10.9.6.1 -> 10.9.6.2:8080");
}

#[test]
fn bytes_and_round_trip_times_are_told_of_both_ways() {
    require!(root);
    let host = Namespace::new("host");
    let _server = server(&host, "127.0.0.1:8080");
    let _clients = load(&host, "hold-clients --to 127.0.0.1:8080 --connections 4 --send 1000");
    let database = Database::new();
    database.probe_once(&host, &[]);
    let edges = database.edges(&host, &[]);
    let edge = only_edge_to(&edges, 8080);
    assert_eq!(edge.number("bytes_sent"), 4000);
    assert_eq!(edge.number("bytes_received"), 0);
    // Of each connection at least SYN, ACK and the data, and SYN-ACK.
    assert!(edge.number("segments_sent") >= 12, "{edge:?}");
    assert!(edge.number("segments_received") >= 4, "{edge:?}");
    assert!(edge.number("rtt_us") > 0);
}

#[test]
fn what_each_scan_saw_between_two_flushes_is_merged() {
    require!(root);
    let host = Namespace::new("host");
    let _server = server(&host, "127.0.0.1:8080");
    let database = Database::new();
    let probe = Probing::start(&database, &host, &["--flush-interval", "1h"]);
    // Each has gone before the next one comes, and all before the only flush.
    for _ in 0..3 {
        let client = clients(&host, "127.0.0.1:8080", 5);
        // Enough for one whole scan: a listener and both ends of each, at least once.
        let seen_before = probe.ledger().count("seen");
        probe.wait_until_seen(seen_before + 22);
        drop(client);
    }
    let finished = probe.end(Signal::TERM);
    assert!(finished.status.success(), "{finished:?}");
    let ledger = Ledger::read(&finished.stdout);
    assert_eq!((ledger.count("pending"), ledger.skipped_total()), (0, 0));
    assert_eq!(ledger.count("seen"), ledger.count("stored"));
    let edges = database.edges(&host, &[]);
    let with_process: Vec<_> =
        edges.iter().filter(|edge| !edge.get("client/process").is_null()).collect();
    let connections: u64 = with_process.iter().map(|edge| edge.number("connections")).sum();
    assert_eq!(connections, 15, "{edges:#?}");
    assert!(ledger.count("seen") > 30);
}

#[test]
fn a_connection_that_lives_through_many_flushes_counts_once() {
    require!(root);
    let host = Namespace::new("host");
    let _server = server(&host, "127.0.0.1:8080");
    let _clients = load(&host, "hold-clients --to 127.0.0.1:8080 --connections 5 --send 100");
    let database = Database::new();
    let probe = Probing::start(&database, &host, &["--flush-interval", "20ms", "--bucket", "50ms"]);
    probe.wait_until_seen(1000);
    assert!(probe.end(Signal::INT).status.success());
    let edges = database.edges(&host, &[]);
    let edge = only_edge_to(&edges, 8080);
    assert_eq!(edge.number("connections"), 5);
    assert_eq!(edge.number("bytes_sent"), 0, "what was sent before the probe came");
}
