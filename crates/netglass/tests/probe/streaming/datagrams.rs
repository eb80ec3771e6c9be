//! UDP: who talks to whom, and how much.

use std::net::UdpSocket;

use netglass_testing::{Dnsmasq, Namespace, Running, Signal, require};

use super::{Hosts, NEVER, Watch, assert_processes};
use crate::support::{Database, Ledger, Probing, load, only_edge_to};

/// `netglass-load udp-exchanges` asks with so many bytes, and is answered with the same.
const QUESTION: u64 = 9;
const COUNT: u16 = 10_000;

/// Exchanges datagrams over a link, on each port with the server bound to one of `addresses`, with
/// connected and with unconnected clients.
#[track_caller]
fn count_exchanges(from: &str, to: &str, addresses: [&str; 2]) {
    let hosts = Hosts::new();
    let database = Database::new();
    let mut pairs = Vec::new();
    for (index, listen) in addresses.into_iter().enumerate() {
        for (port, option) in
            (7000 + 2 * u16::try_from(index).unwrap()..).zip(["", "--unconnected"])
        {
            let server = load(&hosts.server, &format!("udp-server --listen {listen}:{port}"));
            let ask = format!("udp-exchanges --to {to}:{port} --count {COUNT} {option}");
            pairs.push((port, load(&hosts.client, &ask), server));
        }
    }
    let watch = Watch::new("200ms", &database, &hosts.both());
    for (_, client, _) in &mut pairs {
        client.write_stdin(b"\n");
    }
    let mut ids = Vec::new();
    for (port, client, server) in pairs {
        client.wait_for_line(&format!("done {COUNT}"));
        ids.push((port, client.id(), server.id()));
        // The server is through with its last answer when it has ended.
        drop(server);
    }
    let (edges, _) = watch.end();
    for (port, client, server) in ids {
        let edge = only_edge_to(&edges, port);
        assert_eq!(edge.text("protocol"), "udp");
        assert_processes(edge, client, server);
        let to = to.trim_matches(['[', ']']);
        assert_eq!(edge.text("server/address"), to);
        assert_eq!(edge.text("client/address"), from);
        assert_eq!((edge.number("connections"), edge.number("failed")), (u64::from(COUNT), 0));
        for count in ["bytes_sent", "bytes_received"] {
            assert_eq!(edge.number(count), QUESTION * u64::from(COUNT), "{count} of {edge:?}");
        }
        for count in ["segments_sent", "segments_received"] {
            assert_eq!(edge.number(count), u64::from(COUNT), "{count} of {edge:?}");
        }
    }
    assert_eq!(edges.len(), 4, "{edges:#?}");
}

#[test]
fn ten_thousand_exchanges_with_each_kind_of_client_and_server_over_ipv4() {
    require!(root, ebpf);
    count_exchanges(Hosts::CLIENT_V4, Hosts::SERVER_V4, [Hosts::SERVER_V4, "0.0.0.0"]);
}

#[test]
fn ten_thousand_exchanges_with_each_kind_of_client_and_server_over_ipv6() {
    require!(root, ebpf);
    let address = format!("[{}]", Hosts::SERVER_V6);
    count_exchanges(Hosts::CLIENT_V6, &address, [&address, "[::]"]);
}

#[test]
fn questions_to_a_name_server_have_their_processes_at_both_ends() {
    require!(root, ebpf, command("dnsmasq"), command("dig"));
    let host = Namespace::new("host");
    let dnsmasq = Dnsmasq::new("127.0.0.1").host("name.test", "10.1.2.3").start(&host);
    let database = Database::new();
    let watch = Watch::new("50ms", &database, &[&host]);
    let mut askers = Vec::new();
    for round in 0..20 {
        let mut dig = host.command("dig");
        dig.args(["@127.0.0.1", "name.test", "+short", "+tries=1"]);
        // Over TCP, dnsmasq forks for each connection.
        dig.arg(if round % 2 == 0 { "+notcp" } else { "+tcp" });
        let dig = Running::spawn(dig);
        askers.push((u64::from(dig.id()), if round % 2 == 0 { "udp" } else { "tcp" }));
        let finished = dig.wait();
        assert_eq!(String::from_utf8_lossy(&finished.stdout), "10.1.2.3\n", "{finished:?}");
    }
    let id = dnsmasq.running().id();
    drop(dnsmasq);
    let (edges, _) = watch.end();
    assert_eq!(edges.len(), askers.len(), "{edges:#?}");
    for edge in &edges {
        assert_eq!(edge.ends(), "127.0.0.1 -> 127.0.0.1:53");
        assert_eq!((edge.number("connections"), edge.number("failed")), (1, 0));
        assert_eq!(edge.number("server/process/pid"), u64::from(id), "{edge:?}");
        assert_eq!(edge.text("server/process/comm"), "dnsmasq");
        assert!(edge.text("client/process/exe").ends_with("/dig"), "{edge:?}");
        assert!(edge.number("bytes_sent") > 0 && edge.number("bytes_received") > 0, "{edge:?}");
        let asker = (edge.number("client/process/pid"), edge.text("protocol"));
        let found = askers.iter().position(|known| *known == asker);
        askers.remove(found.unwrap_or_else(|| panic!("{asker:?} did not ask once")));
    }
}

#[test]
fn a_datagram_taken_without_asking_who_sent_it_is_told_to_be_missing() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let database = Database::new();
    let probe = Probing::stream(NEVER, &database, &host, &["--flush-interval", NEVER]);
    host.inside(|| {
        let server = UdpSocket::bind("127.0.0.1:7000").unwrap();
        let client = UdpSocket::bind("127.0.0.1:7001").unwrap();
        for _ in 0..5 {
            client.send_to(b"hello", "127.0.0.1:7000").unwrap();
            assert_eq!(server.recv(&mut [0; 10]).unwrap(), 5);
        }
    });
    let finished = probe.end(Signal::TERM);
    let ledger = Ledger::read(&finished.stdout);
    assert_eq!((ledger.skipped("no_peer"), ledger.skipped_total()), (5, 5), "{ledger:?}");
    // The sender's end is known.
    let edges = database.edges(&host, &[]);
    let edge = only_edge_to(&edges, 7000);
    assert_eq!((edge.number("connections"), edge.number("segments_sent")), (1, 5));
    assert_eq!((edge.number("bytes_sent"), edge.number("bytes_received")), (25, 0));
}

#[test]
fn a_datagram_that_is_looked_at_before_it_is_taken_counts_once() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let database = Database::new();
    let watch = Watch::new(NEVER, &database, &[&host]);
    host.inside(|| {
        let server = UdpSocket::bind("127.0.0.1:7000").unwrap();
        let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
        connected.connect("127.0.0.1:7000").unwrap();
        for _ in 0..5 {
            connected.send(b"hello").unwrap();
            for _ in 0..3 {
                server.peek_from(&mut [0; 10]).unwrap();
            }
            let (length, client) = server.recv_from(&mut [0; 10]).unwrap();
            assert_eq!(length, 5);
            server.send_to(b"hi", client).unwrap();
            for _ in 0..3 {
                connected.peek(&mut [0; 10]).unwrap();
            }
            assert_eq!(connected.recv(&mut [0; 10]).unwrap(), 2);
        }
    });
    let (edges, ledgers) = watch.end();
    let edge = only_edge_to(&edges, 7000);
    assert_eq!(edges.len(), 1, "{edges:#?}");
    assert_processes(edge, std::process::id(), std::process::id());
    assert_eq!(edge.number("connections"), 1);
    assert_eq!((edge.number("segments_sent"), edge.number("segments_received")), (5, 5));
    assert_eq!((edge.number("bytes_sent"), edge.number("bytes_received")), (25, 10));
    // Each of ten datagrams was sent and taken.
    assert_eq!(ledgers[0].count("seen"), 20, "{ledgers:?}");
    // Each end by itself, which the edge shows one of.
    let stored = rusqlite::Connection::open(database.path()).unwrap();
    let received = "SELECT direction, segments_received, bytes_received
                    FROM flow JOIN flow_observation USING (flow_id)
                    WHERE resolution = 0 ORDER BY direction";
    let mut statement = stored.prepare(received).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let rows: Vec<(i64, i64, i64)> = rows.collect::<Result<_, _>>().unwrap();
    assert_eq!(rows, [(0, 5, 10), (1, 5, 25)]);
}

#[test]
fn a_socket_that_is_connected_to_one_peer_after_the_other_is_a_conversation_with_each() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let database = Database::new();
    let watch = Watch::new(NEVER, &database, &[&host]);
    host.inside(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for port in [7001, 7002, 7003] {
            let server = UdpSocket::bind(("127.0.0.1", port)).unwrap();
            socket.connect(("127.0.0.1", port)).unwrap();
            socket.send(b"hello").unwrap();
            assert_eq!(server.recv_from(&mut [0; 10]).unwrap().0, 5);
        }
    });
    let (edges, _) = watch.end();
    let client = "SELECT count(*), sum(o.connections), sum(opened)
                  FROM flow JOIN flow_observation o USING (flow_id)
                  WHERE resolution = 0 AND direction = 0";
    let stored = rusqlite::Connection::open(database.path()).unwrap();
    let row = stored.query_row(client, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let row: (i64, i64, i64) = row.unwrap();
    assert_eq!(row, (3, 3, 3), "what the client's end knows");
    for port in [7001, 7002, 7003] {
        assert_eq!(only_edge_to(&edges, port).number("connections"), 1);
    }
}
